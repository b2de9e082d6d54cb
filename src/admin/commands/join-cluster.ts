/** `join_cluster NODE`: this node, with what it holds, becomes a member of NODE's cluster. */
import { argument, command, flagOption } from "../command.js";
import { count } from "../render.js";

export const joinCluster = command({
  summary: "join the cluster that NODE belongs to",
  args: {
    node: argument("a member of the cluster, name@host or name@host:port"),
    discard: flagOption("drop this node's sessions and retained messages first"),
  },
  question: ({ holdings }, { node, discard }) => {
    const { sessions, queued, retained } = holdings.local();
    if (sessions + queued + retained === 0) return undefined;
    const held =
      `${count(sessions, "persistent session")}, ${count(queued, "queued message")} and ` +
      count(retained, "retained message");
    return discard
      ? `This node's ${held} will be discarded. Do you want to continue?`
      : `This node holds ${held}, which will be merged into the cluster of ${node}. ` +
          "Do you want to continue?";
  },
  run: async ({ cluster }, { node, discard }) => {
    const { member } = await cluster.join(node, { discard });
    return { node: cluster.name, member };
  },
  text: ({ node, member }) =>
    `You have successfully joined the node ${node} to the cluster with node member ${member}`,
});
