/** `store stats`: where this node stores, what that takes up, and whether it takes everything. */
import { command } from "../command.js";
import { record } from "../render.js";

export const storeStats = command({
  summary: "show what this node has stored, and whether it can store more",
  args: {},
  run: ({ store }) => store.stats(),
  text: ({ kind, alarm, counters }) => record({ kind, alarm: alarm ?? "none", ...counters }),
});
