/** What waits for a node in all others: asked over the links (docs/wire.md, service `waiting`); and who has lost its data. */
import type { Cluster } from "../../cluster/cluster.js";
import { count } from "../render.js";

const service = "waiting";

/** Answers other nodes how many messages wait here for a node. */
export function offerWaiting(cluster: Cluster): void {
  cluster.services.offer(service, (_peer, body, reply) => {
    const answer = Buffer.alloc(8);
    answer.writeDoubleBE(waitingHere(cluster, body.toString()));
    reply(answer);
  });
}

/** Messages that wait for `node` here and at every other member; `silent`: members that could not be asked. */
export async function waitingFor(
  cluster: Cluster,
  node: string,
): Promise<{ messages: number; silent: number }> {
  const others = cluster.members.others().filter(({ name }) => name !== node);
  const question = Buffer.from(node);
  const answers = await Promise.all(others.map(({ name }) => cluster.ask(name, service, question)));
  let messages = waitingHere(cluster, node);
  let silent = 0;
  for (const answer of answers) {
    if (answer?.length === 8) messages += Buffer.from(answer).readDoubleBE(0);
    else silent++;
  }
  return { messages, silent };
}

const waitingHere = (cluster: Cluster, node: string): number =>
  cluster.peer(node)?.sender.length ?? 0;

/** A sentence for each member under whose name another data directory runs. */
export function lostAlarms(cluster: Cluster): string[] {
  const lost = cluster.members.lost().filter(({ name }) => cluster.state(name) !== "up");
  return lost.map(({ name, sinceMs }) => {
    const messages = count(waitingHere(cluster, name), "message");
    return (
      `${name} runs with another data directory since ${new Date(sinceMs).toISOString()}: it has lost its data and is ` +
      `not let in. ${messages} wait here for what it was: \`broker ctl outbox redirect ${name} NODE\` gives them to ` +
      `another node, \`outbox discard ${name}\` drops them; then \`remove_from_cluster ${name}\` lets it join`
    );
  });
}
