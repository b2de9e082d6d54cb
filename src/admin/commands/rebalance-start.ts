/** `rebalance start`: give sessions away until this node has its share. */
import { command } from "../command.js";
import { record } from "../render.js";

export const rebalanceStart = command({
  summary: "give sessions away until this node has its share",
  args: {},
  run: ({ drain }) => drain.balance(),
  text: (status) => record(status),
});
