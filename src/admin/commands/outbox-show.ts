/** `outbox show NODE`: the messages that wait in this node for another one. */
import { argument, command, limitOption, textOption } from "../command.js";
import { pageTable } from "../render.js";

export const outboxShow = command({
  summary: "show the messages that wait in this node for another one",
  args: {
    node: argument("the member that they wait for, name@host"),
    limit: limitOption(),
    after: textOption("only those behind this number"),
  },
  run: ({ outbox }, { node, limit, after }) => outbox.show(node, limit, after),
  text: (page) =>
    pageTable(
      page,
      ["number", "topic", "qos", "bytes", "publisher", "since", "share groups"],
      (one) => [
        ...[one.number, one.topic, one.qos, one.bytes, one.publisher, one.since ?? "not known"],
        one.groups.join(" "),
      ],
    ),
});
