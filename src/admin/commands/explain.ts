/** `explain TOPIC`: who would get a message on TOPIC, and why; nothing is sent. */
import { argument, command, textOption } from "../command.js";
import type { Explanation } from "../parts.js";
import { members, printable, table } from "../render.js";

export const explain = command({
  summary: "say who would get a message on TOPIC, and why",
  args: {
    topic: argument("a topic name"),
    client: textOption("say whether this client id gets it, and why or why not"),
  },
  run: ({ explainer }, { topic, client }) => explainer.explain(topic, client),
  text: render,
});

function render({ topic, local, unnamed, peers, groups, denied, client }: Explanation): string {
  const parts = [`A message on ${printable(topic)} goes to`];
  if (local.length + peers.length + groups.length === 0) parts.push("nobody: no filter matches");
  if (local.length > 0) {
    const rows = local.map((target) => [
      target.clientId,
      target.filters.join(" "),
      target.qos,
      target.connected ? "yes" : "no",
    ]);
    parts.push(table(["client here", "filters", "qos", "connected"], rows));
    if (unnamed !== undefined) parts.push(`... and ${unnamed} more here (--client tells of one)`);
  }
  if (peers.length > 0) {
    const rows = peers.map((target) => [
      target.node,
      target.state,
      target.filters.join(" "),
      target.qos,
      target.durable ? "yes" : "no",
    ]);
    parts.push(table(["node", "state", "filters", "qos", "durable"], rows));
  }
  for (const group of groups)
    parts.push(`one member of ${printable(group.filter)}`, groupTable(group));
  for (const { clientId, because } of denied) {
    parts.push(`not to ${printable(clientId)}: ${because}`);
  }
  if (client !== undefined) {
    const verdict = client.delivered ? "gets it" : "does not get it";
    parts.push(`${printable(client.clientId)} ${verdict}: ${client.because}`);
  }
  return parts.join("\n");
}

function groupTable({ local, peers }: Explanation["groups"][number]): string {
  const here = local.map(({ clientId, qos, connected }) => [
    clientId,
    "here",
    qos,
    connected ? "yes" : "no",
  ]);
  const there = peers.map(({ node, state, qos, members: of }) => [node, state, qos, members(of)]);
  return table(["member or node", "state", "qos", "connected"], [...here, ...there]);
}
