/** `leave_cluster`: this node goes on alone. */
import { command } from "../command.js";
import { count } from "../render.js";

export const leaveCluster = command({
  summary: "leave the cluster and go on alone",
  args: {},
  question: ({ holdings, cluster }) => {
    const { sessions } = holdings.local();
    if (sessions === 0 || cluster.status().running.length > 1) return undefined;
    return (
      `${count(sessions, "persistent session")} of this node will not be found at the ` +
      "remaining nodes, as none of them is up. Do you want to continue?"
    );
  },
  run: async ({ cluster }) => {
    await cluster.leave();
    return { node: cluster.name };
  },
  text: ({ node }) => `You have successfully left the node ${node} from the cluster`,
});
