/** `presence FILTER`: who is subscribed to a topic, in the whole cluster. */
import { argument, command, limitOption, textOption } from "../command.js";
import { pageTable } from "../render.js";

export const presence = command({
  summary: "show who is subscribed to a topic, in the whole cluster",
  args: {
    filter: argument(
      "a topic: everybody whose filter matches; a filter with wildcards: those who have just that one",
    ),
    limit: limitOption(),
    after: textOption("only client ids behind this one"),
  },
  run: ({ presence: asked }, { filter, limit, after }) => asked.subscribers(filter, limit, after),
  text: (page) => {
    const rows = pageTable(
      page,
      ["client", "user", "node", "qos", "connected", "filters"],
      (one) => [
        ...[one.clientId, one.user, one.node, one.qos, one.connected ? "yes" : "no"],
        one.filters.join(" "),
      ],
    );
    const { silent } = page;
    return silent.length === 0 ? rows : `${rows}\nnot reached: ${silent.join(", ")}`;
  },
});
