/**
 * Who gets a message of a share group when the chosen member may not have it: the others of this node, then
 * those of other nodes, then members without connection in the same order. A node whose members were all asked is named in
 * the forward, so that every node is asked once and a message ends only when nobody may have it.
 */
import { type ClusterPort, ownIndex } from "../cluster/ports.js";
import type { Group, PeerStates } from "./group.js";
import type { Message } from "./message.js";
import type { SharedRoute } from "./shared-forward.js";
import { sharedRow } from "./shared-row.js";
import { type Delivery, mayTake } from "./targets.js";

/** One of our own, or a peer that is to look among its members. */
export type NextMember =
  | { readonly own: Delivery }
  | ({ readonly own?: undefined; readonly peer: number } & Asked);

type Asked = Pick<SharedRoute, "tried" | "waiting">;

export interface NextContext {
  readonly cluster: Pick<ClusterPort, "nameOf">;
  readonly stateOf: PeerStates;
  /** Where to begin to ask, as a fraction of all, so that not always the same gets it. */
  readonly start: number;
}

/** Null: nobody in the cluster may have it (of QoS 0: nobody who is connected). */
export function nextMember(
  group: Group,
  message: Message,
  asked: Asked,
  context: NextContext,
): NextMember | null {
  const connected = asked.waiting ? null : nextIn(group, message, asked, context);
  if (connected !== null || message.qos === 0) return connected;
  const tried = asked.waiting ? asked.tried : [];
  return nextIn(group, message, { tried, waiting: true }, context);
}

function nextIn(
  group: Group,
  message: Message,
  { tried, waiting }: Asked,
  { cluster, stateOf, start }: NextContext,
): NextMember | null {
  const self = cluster.nameOf(ownIndex);
  if (!tried.includes(self)) {
    const own = allowedMember(group, message, waiting, start);
    if (own !== undefined) return { own };
  }
  const peers: number[] = [];
  for (const [peer, value] of group.peerRows()) {
    const row = sharedRow(value);
    if ((waiting ? row.waiting : row.online) === 0 || stateOf(peer) !== "up") continue;
    if (!tried.includes(cluster.nameOf(peer))) peers.push(peer);
  }
  const peer = peers[Math.floor(start * peers.length)];
  if (peer === undefined) return null;
  return { peer, tried: tried.includes(self) ? tried : [...tried, self], waiting };
}

/** Our own member who may have it, from some place on and round. */
function allowedMember(
  group: Group,
  { topic }: Message,
  waiting: boolean,
  start: number,
): Delivery | undefined {
  const count = waiting ? group.waiting : group.online;
  const first = Math.floor(start * count);
  for (let i = 0; i < count; i++) {
    const member = waiting ? group.waitingAt(first + i) : group.onlineAt(first + i);
    if (member !== undefined && mayTake(member, topic)) return member;
  }
  return undefined;
}
