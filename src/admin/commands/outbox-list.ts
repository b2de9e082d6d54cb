/** `outbox list`: what waits in this node for each other member. */
import { command } from "../command.js";
import { table } from "../render.js";

export const outboxList = command({
  summary: "list how much waits in this node for each other member",
  args: {},
  run: ({ outbox }) => ({ items: outbox.list() }),
  text: ({ items }) => {
    if (items.length === 0) return "none: there is no other member";
    const rows = items.map((box) => [
      ...[box.node, box.lostData ? "lost its data" : box.state, box.messages, box.bytes],
      ...[box.oldest ?? "", box.messages === 0 ? "" : box.drains ? "yes" : "no"],
    ]);
    return table(["node", "state", "messages", "bytes", "oldest since", "drains"], rows);
  },
});
