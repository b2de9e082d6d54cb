/** `report`: what the node said when it started; `broker start` asks for it. */
import { command } from "../command.js";
import { json } from "../render.js";

export const report = command({
  summary: "show the node's listeners and the members that it is connected to",
  args: {},
  run: (parts) => ({ ...parts.report(), pid: process.pid }),
  text: json,
});
