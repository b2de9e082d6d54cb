/** `drain undo`: stop the drain and let clients in again. */
import { command } from "../command.js";
import { record } from "../render.js";

export const drainUndo = command({
  summary: "stop the drain and let clients in again",
  args: {},
  run: ({ drain }) => drain.undo(),
  text: (status) => record(status),
});
