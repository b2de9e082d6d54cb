/** `drain status`: how far the drain has come. */
import { command } from "../command.js";
import { record } from "../render.js";

export const drainStatus = command({
  summary: "how far the drain has come",
  args: {},
  run: ({ drain }) => drain.status(),
  text: (status) => record(status),
});
