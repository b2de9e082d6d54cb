/** `sessions move CLIENT NODE`: takes a session to another node, with all that waits for it. */
import { argument, command } from "../command.js";
import { count, printable } from "../render.js";

export const sessionsMove = command({
  summary: "move a session whose client is away to another node",
  args: { client: argument("a client id"), node: argument("the node, name@host") },
  run: async ({ sessions }, { client, node }) => {
    const messages = await sessions.move(client, node);
    return { moved: client, to: node, messages };
  },
  text: ({ moved, to, messages }) =>
    `The session of ${printable(moved)} is at ${to} now, with ${count(messages, "message")}`,
});
