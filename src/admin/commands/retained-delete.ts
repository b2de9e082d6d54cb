/** `retained delete TOPIC`: deletes a retained message on all nodes. */
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { printable } from "../render.js";

export const retainedDelete = command({
  summary: "delete the retained message of a topic on all nodes",
  args: { topic: argument("a topic name") },
  run: async ({ retained }, { topic }) => {
    if (await retained.delete(topic)) return { deleted: topic };
    throw new Refusal(`no message is retained on ${printable(topic)}`);
  },
  text: ({ deleted }) => `The retained message on ${printable(deleted)} has been deleted`,
});
