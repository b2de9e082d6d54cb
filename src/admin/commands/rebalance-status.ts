/** `rebalance status`: how far the rebalancing has come. */
import { command } from "../command.js";
import { record } from "../render.js";

export const rebalanceStatus = command({
  summary: "how far the rebalancing has come",
  args: {},
  run: ({ drain }) => drain.status(),
  text: (status) => record(status),
});
