/** `routes verify`: compares our copies of the peers' rows with the peers' own. */
import { command } from "../command.js";
import { table } from "../render.js";

export const routesVerify = command({
  summary: "compare this node's copies of its peers' routes with the peers' own",
  args: {},
  run: async ({ routes }) => {
    const peers = await routes.verify();
    return { equal: peers.every(({ equal }) => equal), peers };
  },
  text: ({ peers }) => {
    if (peers.length === 0) return "no peers";
    return table(
      ["peer", "rows", "equal"],
      peers.map(({ peer, rows, equal }) => [peer, rows, equal ? "yes" : "no"]),
    );
  },
});
