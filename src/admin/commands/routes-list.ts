/** `routes list [FILTER]`: which nodes have subscribers for which filters. */
import { command, limitOption, optionalArgument } from "../command.js";
import { members, pageTable } from "../render.js";

export const routesList = command({
  summary: "list which nodes have subscribers for which filters",
  args: { filter: optionalArgument("exactly this filter only"), limit: limitOption() },
  run: ({ routes }, { filter, limit }) => routes.list(filter, limit),
  text: (page) =>
    pageTable(page, ["filter", "node", "qos", "durable", "members"], (route) => [
      route.filter,
      route.node,
      route.qos,
      route.durable ? "yes" : "no",
      members(route.members),
    ]),
});
