/** `remove_from_cluster NODE`: the members forget NODE, dead or alive, and refuse it from now on. */
import { argument, command } from "../command.js";
import { count } from "../render.js";

export const removeFromCluster = command({
  summary: "remove another node, which may be dead, from the cluster",
  args: { node: argument("the member to remove, name@host") },
  question: async ({ cluster, holdings }, { node }) => {
    const member = cluster.status().members.find(({ name }) => name === node);
    // What is not a member is refused without a question.
    if (member === undefined || node === cluster.name) return undefined;
    const { messages, silent } = await holdings.waitingFor(node);
    const unknown =
      silent === 0 ? "" : ` (${count(silent, "other member")} could not be asked how many more)`;
    return (
      `Removing the node ${node} (${member.state}) gives up its ${count(member.sessions, "session")} ` +
      `and ${count(messages, "message")} that wait for it in the cluster${unknown}. ` +
      "Do you want to continue?"
    );
  },
  run: async ({ cluster }, { node }) => {
    await cluster.remove(node);
    return { node };
  },
  text: ({ node }) => `The node ${node} has been removed from the cluster`,
});
