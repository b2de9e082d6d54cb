/** `sessions show CLIENT`: one session that lives in this node. */
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable, record } from "../render.js";

export const sessionsShow = command({
  summary: "show one session that lives in this node",
  args: { client: argument("a client id") },
  run: ({ sessions }, { client }) => {
    const found = sessions.show(client);
    if (found !== undefined) return found;
    throw new Refusal(`no session of ${printable(client)} lives in this node`);
  },
  text: record,
});
