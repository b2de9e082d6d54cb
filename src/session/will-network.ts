/** The holders of wills on a cluster: what they use of it, and what it tells them. */
import type { Cluster } from "../cluster/cluster.js";
import type { Clock } from "../lib/clock.js";
import { type WillHolders, willService } from "./will-holders.js";
import type { WillNetwork } from "./will-parts.js";

export function willNetwork(cluster: Cluster, clock: Clock): WillNetwork {
  return {
    self: cluster.name,
    clock,
    observe: (epoch) => cluster.observeStamp(epoch),
    incarnation: () => cluster.members.incarnation,
    live: () => cluster.liveMembers().sort(),
    linkOf: (node) => (cluster.state(node) === "up" ? (cluster.peer(node)?.link ?? null) : null),
    isMember: (node) => cluster.members.others().some(({ name }) => name === node),
    incarnationOf: (node) => cluster.peer(node)?.link?.peer.incarnation ?? 0,
    isGone: (node) => cluster.sides.isGone(node),
    isLargerSide: () => cluster.sides.isLarger(),
    size: () => cluster.members.others().length + 1,
    isWhole: () => cluster.sides.isWhole(),
    ask: (node, body) => cluster.ask(node, willService, body),
  };
}

/** Has the holders answer peers, and hear of members that come and go. Before the cluster starts. */
export function serveWills(cluster: Cluster, holders: WillHolders | null): void {
  if (holders === null) return;
  cluster.services.offer(willService, (peer, body, reply) => {
    const answer = holders.onQuestion(peer, body);
    if (answer instanceof Promise) void answer.then(reply);
    else reply(answer);
  });
  cluster.changes.watchers.add(() => holders.onMembersChanged());
}
