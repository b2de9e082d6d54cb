/** `sessions delete CLIENT`: ends a session with all that waits for it. */
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable } from "../render.js";

export const sessionsDelete = command({
  summary: "end a session with its subscriptions and queue, and disconnect its client",
  args: { client: argument("a client id") },
  run: async ({ sessions }, { client }) => {
    if (await sessions.delete(client)) return { deleted: client };
    throw new Refusal(`no session of ${printable(client)} lives in this node`);
  },
  text: ({ deleted }) => `The session of ${printable(deleted)} has been deleted`,
});
