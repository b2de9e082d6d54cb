/** `rebalance plan`: how many sessions this node would give away. */
import { command } from "../command.js";
import { record } from "../render.js";

export const rebalancePlan = command({
  summary: "how many sessions this node would give away",
  args: {},
  run: ({ drain }) => drain.plan(),
  text: ({ gives, nodes }) =>
    record({ gives, ...Object.fromEntries(nodes.map((one) => [one.name, one.sessions])) }),
});
