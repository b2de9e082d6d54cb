/** `outbox redirect NODE TO`: what waits for a member that is down goes to the sessions of another one. */
import { argument, command } from "../command.js";
import { count } from "../render.js";

export const outboxRedirect = command({
  summary: "give what waits in this node for a member that is down to the sessions of another one",
  args: {
    node: argument("the member that it waits for, name@host"),
    to: argument("the node whose matching sessions get it, name@host; may be this one"),
  },
  question: ({ outbox, cluster }, { node, to }) => {
    const box = outbox.list().find((one) => one.node === node);
    if (box === undefined || box.messages === 0 || box.drains) return undefined;
    return (
      `${count(box.messages, "message")} that wait at ${cluster.name} for sessions of ${node} go to the sessions ` +
      `of ${to} that match now, and not to ${node} any more. One there that has had its own copy gets a ` +
      "second one. Do you want to continue?"
    );
  },
  run: async ({ outbox }, { node, to }) => ({ to, redirected: await outbox.redirect(node, to) }),
  text: ({ to, redirected }) => `${count(redirected, "message")} have been given to ${to}`,
});
