/** `outbox discard NODE`: gives up what waits in this node for a member that is down. */
import { argument, command } from "../command.js";
import { count } from "../render.js";

export const outboxDiscard = command({
  summary: "give up what waits in this node for a member that is down",
  args: { node: argument("the member that it waits for, name@host") },
  question: ({ outbox, cluster }, { node }) => {
    const box = outbox.list().find((one) => one.node === node);
    // Nothing is lost, or it is refused.
    if (box === undefined || box.messages === 0 || box.drains) return undefined;
    return (
      `${count(box.messages, "message")} (${box.bytes} bytes, the oldest since ${box.oldest}) that wait at ` +
      `${cluster.name} for sessions of ${node} will be lost. Do you want to continue?`
    );
  },
  run: ({ outbox }, { node }) => ({ node, discarded: outbox.discard(node) }),
  text: ({ node, discarded }) => `${count(discarded, "message")} for ${node} have been given up`,
});
