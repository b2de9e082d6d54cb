/** `routes list [FILTER]`: which nodes have subscribers for which filters. */
import { limitOption, listCommand, optionalArgument } from "../command.js";
import { members } from "../render.js";

export const routesList = listCommand({
  summary: "list which nodes have subscribers for which filters",
  args: { filter: optionalArgument("exactly this filter only"), limit: limitOption() },
  list: ({ routes }, { filter }) => routes.list(filter),
  headings: ["filter", "node", "qos", "durable", "members"],
  row: (route) => [
    route.filter,
    route.node,
    route.qos,
    route.durable ? "yes" : "no",
    members(route.members),
  ],
});
