/** `store backup DIR`: a copy of all that is stored, as of one moment, while the node runs. */
import { isAbsolute } from "node:path";
import { Refusal } from "../../lib/refusal.js";
import { argument, command } from "../command.js";
import { count, printable } from "../render.js";

export const storeBackup = command({
  summary: "copy what this node has stored to a directory on which a node can start (--data)",
  args: {
    directory: argument(
      "an absolute path of a directory that is empty, or missing in one that exists",
    ),
  },
  run: async ({ store }, { directory }) => {
    // The node works in another directory than whoever asks.
    if (!isAbsolute(directory)) throw new Refusal("name the directory by an absolute path");
    return { directory, ...(await store.backup(directory)) };
  },
  text: ({ directory, records, files }) =>
    `${count(records, "record")} are in ${printable(directory)} (${files.join(", ")})`,
});
