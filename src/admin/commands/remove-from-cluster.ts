/** `remove_from_cluster NODE`: the members forget NODE, dead or alive, and refuse it from now on. */
import { argument, command } from "../command.js";
import { count } from "../render.js";

export const removeFromCluster = command({
  summary: "remove another node, which may be dead, from the cluster",
  args: { node: argument("the member to remove, name@host") },
  question: ({ cluster, holdings }, { node }) => {
    const member = cluster.status().members.find(({ name }) => name === node);
    // What is not a member is refused without a question.
    if (member === undefined || node === cluster.name) return undefined;
    const messages = holdings.waitingFor(node);
    return (
      `Removing the node ${node} (${member.state}) gives up its ${count(member.sessions, "session")} ` +
      `and ${count(messages, "message")} that wait for it here. Do you want to continue?`
    );
  },
  run: async ({ cluster }, { node }) => {
    await cluster.remove(node);
    return { node };
  },
  text: ({ node }) => `The node ${node} has been removed from the cluster`,
});
