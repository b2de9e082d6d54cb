/**
 * Who gets a message of a share group when the chosen member may not have it: the others of this node, then
 * those of other nodes, then members without connection in the same order. A node whose members were all asked is named in
 * the forward, so that every node is asked once. What is left then is for nodes that are not up, whose members could
 * not be asked; a message ends only when nobody may have it.
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
  | ({ readonly own?: undefined; readonly peer: number; readonly durable: boolean } & Route);

type Asked = Pick<SharedRoute, "tried" | "waiting">;
export type Route = Asked & Pick<SharedRoute, "hops">;

/** Nodes that may pass a message on, one after the other, because its members are not there any more or not yet. */
export const hopsMax = 8;

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
  asked: Route,
  context: NextContext,
): NextMember | null {
  const connected = asked.waiting ? null : nextIn(group, message, asked, context);
  if (connected !== null || message.qos === 0) return connected;
  const { hops } = asked;
  const tried = asked.waiting ? asked.tried : [];
  const waiting = nextIn(group, message, { tried, waiting: true, hops }, context);
  return waiting ?? (hops < hopsMax ? nextAbsent(group, asked, context) : null);
}

/**
 * A node that may be going down or is just coming, else one that is down, where the message waits for it: of those that were asked
 * only if there is no other.
 */
function nextAbsent(
  group: Group,
  { hops, tried }: Route,
  { cluster, stateOf, start }: NextContext,
): NextMember | null {
  const unsure: number[] = [];
  const down: number[] = [];
  for (const [peer, value] of group.peerRows()) {
    const { online, waiting, durable } = sharedRow(value);
    const state = stateOf(peer);
    if (state === "down" && durable) down.push(peer);
    else if (state !== "up" && state !== "down" && online + waiting > 0) unsure.push(peer);
  }
  const isNew = (peer: number): boolean => !tried.includes(cluster.nameOf(peer));
  const tiers = [unsure.filter(isNew), down.filter(isNew), unsure, down];
  const peers = tiers.find(({ length }) => length > 0) ?? [];
  const peer = peers[Math.floor(start * peers.length)];
  if (peer === undefined) return null;
  const durable = stateOf(peer) === "down";
  return { peer, tried: [cluster.nameOf(ownIndex)], waiting: false, hops: hops + 1, durable };
}

function nextIn(
  group: Group,
  message: Message,
  { tried, waiting, hops }: Route,
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
  const asked = tried.includes(self) ? tried : [...tried, self];
  return { peer, tried: asked, waiting, hops, durable: false };
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
