/** `metrics`: every counter and gauge of this node. */
import { command } from "../command.js";
import { table } from "../render.js";

export const metrics = command({
  summary: "show every counter and gauge of this node",
  args: {},
  run: (parts) => parts.metrics(),
  text: (values) => {
    const rows = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
    return table(["name", "value"], rows);
  },
});
