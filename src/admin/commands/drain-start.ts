/** `drain start`: take all clients and sessions away from this node; again: go on with it. */
import { command } from "../command.js";
import { record } from "../render.js";

export const drainStart = command({
  summary: "take all clients and sessions away from this node; again: go on with it",
  args: {},
  run: ({ drain }) => drain.start(),
  text: (status) => record(status),
});
