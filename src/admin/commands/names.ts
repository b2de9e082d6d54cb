/** `names [HOST]`: the nodes that answer on the link ports of a host. */
import { command, optionalArgument } from "../command.js";
import { table } from "../render.js";

export const names = command({
  summary: "list the nodes that answer on a host's link ports",
  args: { host: optionalArgument("a host name or address [default: this node's host]") },
  run: async ({ cluster }, { host }) => ({ nodes: await cluster.names(host) }),
  text: ({ nodes }) => {
    if (nodes.length === 0) return "none";
    return table(
      ["name", "host", "port"],
      nodes.map(({ name, host, port }) => [name, host, port]),
    );
  },
});
