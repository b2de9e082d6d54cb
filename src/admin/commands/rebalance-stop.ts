/** `rebalance stop`: stop the rebalancing. */
import { command } from "../command.js";
import { record } from "../render.js";

export const rebalanceStop = command({
  summary: "stop the rebalancing",
  args: {},
  run: ({ drain }) => drain.stopBalance(),
  text: (status) => record(status),
});
