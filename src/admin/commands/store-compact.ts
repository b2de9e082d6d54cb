/** `store compact`: writes the store's file anew without the space that was freed. */
import { formatSize } from "../../config/units.js";
import { command } from "../command.js";

export const storeCompact = command({
  summary: "give the store's freed space back to the disk; acknowledgements wait meanwhile",
  args: {},
  run: ({ store }) => store.compact(),
  text: ({ before, after }) =>
    `The file of the store has ${formatSize(after)} instead of ${formatSize(before)}`,
});
