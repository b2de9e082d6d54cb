/** This node's lease in the shared store, and what its peers tell it of theirs (service `lease` of docs/wire.md). */
import { Lease, type LeaseParts } from "../store/lease.js";
import type { Cluster } from "./cluster.js";

const service = "lease";
const answerBytes = 8;

/** The lease of a cluster's node, to be taken when its members are loaded. */
export function clusterLease(
  cluster: Cluster,
  parts: Omit<LeaseParts, "holder" | "isAlone" | "askPeers">,
): Lease {
  const { members, name: node } = cluster;
  const lease = new Lease({
    ...parts,
    holder: () => ({ node, dataId: members.id, incarnation: members.incarnation }),
    isAlone: () => members.others().length === 0,
    askPeers: (onAnswer) => askPeers(cluster, onAnswer),
  });
  cluster.services.offer(service, (_peer, _body, reply) => {
    const answer = Buffer.alloc(answerBytes);
    answer.writeDoubleBE(lease.ageMs);
    reply(answer);
  });
  return lease;
}

function askPeers(cluster: Cluster, onAnswer: (peer: string, ageMs: number) => void): void {
  for (const { name } of cluster.peers()) {
    if (cluster.state(name) !== "up") continue;
    void cluster.ask(name, service, Buffer.alloc(0)).then((body) => {
      if (body?.length !== answerBytes) return;
      const view = new DataView(body.buffer, body.byteOffset, answerBytes);
      onAnswer(name, view.getFloat64(0));
    });
  }
}
