/**
 * Everybody who subscribed one filter: our own subscribers and the peers that have some. A filter that
 * a single peer alone subscribed, by far the commonest on a big cluster, is a bare packed integer.
 */
import type { Qos } from "../protocol/publish.js";
import type { Group } from "./group.js";
import type { Delivery, Subscriber, SubscriptionOptions } from "./targets.js";

/** A peer's row for one filter in one integer: peer index, then the four bits of the row value. */
export type PackedPeer = number;
export type Entry = PackedPeer | Leaf;

const presentBit = 8;
const durableBit = 4;
const qosMask = 3;

/** The value of a route row (docs/wire.md, "Rows"): never 0, which means "no row". */
export function rowValue(qos: number, durable: boolean): number {
  return presentBit | (durable ? durableBit : 0) | qos;
}

/** Is it a value that `rowValue` can give? */
export function isRowValue(value: number): boolean {
  if (!Number.isInteger(value) || value < presentBit || value >= 2 * presentBit) return false;
  return (value & qosMask) !== 3;
}

export const packPeer = (peer: number, value: number): PackedPeer => peer * 16 + value;
export const packedIndex = (packed: PackedPeer): number => Math.floor(packed / 16);
export const packedValue = (packed: PackedPeer): number => packed & 15;
// Two bits that rowValue filled from a Qos.
export const packedQos = (packed: PackedPeer): Qos => (packed & qosMask) as Qos;
export const packedDurable = (packed: PackedPeer): boolean => (packed & durableBit) !== 0;

export interface LocalSubscription extends SubscriptionOptions {
  readonly durable: boolean;
}

/** A subscription of our own, as matches give it out; it is replaced, never changed. */
export class OwnDelivery implements Delivery {
  constructor(
    readonly subscriber: Subscriber,
    readonly qos: Qos,
    readonly retainAsPublished: boolean,
    readonly noLocal: boolean,
    readonly subscriptionIds: readonly number[] | null,
    readonly share: string | null,
    /** Of a session that outlives its connection. */
    readonly durable: boolean,
  ) {}
}

/** Up to so many subscribers, looking through them is quicker and smaller than a map. */
const scanMax = 16;
const noPeers: readonly PackedPeer[] = [];

export class Leaf {
  /** Our own subscribers, each once; null: none. */
  local: OwnDelivery[] | null = null;
  peers: readonly PackedPeer[] = noPeers;
  /** The share groups of this filter. */
  groups: Group[] | null = null;
  /** Places in `local`, once it is long. */
  private places: Map<Subscriber, number> | null = null;
  private qos1 = 0;
  private qos2 = 0;
  private durableCount = 0;

  /** Adds or replaces our own subscriber. Returns false when it was subscribed just so. */
  setLocal(subscriber: Subscriber, subscription: LocalSubscription): boolean {
    const { qos, retainAsPublished, noLocal, subscriptionId, durable } = subscription;
    const { local } = this;
    const at = this.placeOf(subscriber);
    const before = local?.[at];
    if (before !== undefined) {
      if (isSame(before, subscription)) return false;
      this.count(before, -1);
    }
    const ids = subscriptionId === 0 ? null : [subscriptionId];
    const own = new OwnDelivery(subscriber, qos, retainAsPublished, noLocal, ids, null, durable);
    this.count(own, 1);
    // Most filters stay with one subscriber: a first `push` would make room for many.
    if (local === null) this.local = [own];
    else if (before !== undefined) local[at] = own;
    else this.append(local, own);
    return true;
  }

  /** Returns false when it was not subscribed. */
  deleteLocal(subscriber: Subscriber): boolean {
    const at = this.placeOf(subscriber);
    const before = this.local?.[at];
    if (this.local === null || before === undefined) return false;
    const last = this.local.pop();
    this.places?.delete(subscriber);
    if (last !== undefined && last !== before) {
      this.local[at] = last;
      this.places?.set(last.subscriber, at);
    }
    if (this.local.length === 0) this.local = null;
    if (this.local === null || this.local.length <= scanMax / 2) this.places = null;
    this.count(before, -1);
    return true;
  }

  /** The row that our peers must hold for this filter; 0 when we have no subscriber. */
  ownRow(): number {
    if (this.local === null) return 0;
    const qos = this.qos2 !== 0 ? 2 : this.qos1 !== 0 ? 1 : 0;
    return rowValue(qos, this.durableCount > 0);
  }

  isEmpty(): boolean {
    return this.local === null && this.peers.length === 0 && this.groups === null;
  }

  private append(local: OwnDelivery[], own: OwnDelivery): void {
    local.push(own);
    if (this.places !== null) this.places.set(own.subscriber, local.length - 1);
    else if (local.length > scanMax) {
      this.places = new Map();
      for (const [at, one] of local.entries()) this.places.set(one.subscriber, at);
    }
  }

  private placeOf(subscriber: Subscriber): number {
    const { local, places } = this;
    if (places !== null) return places.get(subscriber) ?? -1;
    if (local === null) return -1;
    for (let at = 0; at < local.length; at++) if (local[at]?.subscriber === subscriber) return at;
    return -1;
  }

  private count({ qos, durable }: OwnDelivery, by: number): void {
    if (qos === 0) return;
    if (qos === 2) this.qos2 += by;
    else this.qos1 += by;
    // QoS 0 never waits for anyone, so a persistent session's QoS 0 filter needs no durable row.
    if (durable) this.durableCount += by;
  }
}

function isSame(before: OwnDelivery, now: LocalSubscription): boolean {
  return (
    before.qos === now.qos &&
    before.durable === now.durable &&
    before.noLocal === now.noLocal &&
    before.retainAsPublished === now.retainAsPublished &&
    (before.subscriptionIds?.[0] ?? 0) === now.subscriptionId
  );
}

/** Sets a peer's row in an entry; value 0 deletes. Returns the new entry and the value before. */
export function setPeerRow(
  entry: Entry | undefined,
  peer: number,
  value: number,
): { entry: Entry | undefined; before: number } {
  if (entry === undefined) {
    return { entry: value === 0 ? undefined : packPeer(peer, value), before: 0 };
  }
  if (typeof entry === "number") {
    if (packedIndex(entry) === peer) {
      const packed = value === 0 ? undefined : packPeer(peer, value);
      return { entry: packed, before: packedValue(entry) };
    }
    if (value === 0) return { entry, before: 0 };
    const leaf = new Leaf();
    leaf.peers = [entry, packPeer(peer, value)];
    return { entry: leaf, before: 0 };
  }
  return { entry, before: setInLeaf(entry, peer, value) };
}

function setInLeaf(leaf: Leaf, peer: number, value: number): number {
  const at = leaf.peers.findIndex((packed) => packedIndex(packed) === peer);
  const before = leaf.peers[at];
  if (before === undefined && value === 0) return 0;
  const others = leaf.peers.filter((packed) => packed !== before);
  if (value !== 0) others.push(packPeer(peer, value));
  leaf.peers = others;
  return before === undefined ? 0 : packedValue(before);
}

/** A leaf that our own subscriber can be put in, holding what the entry held. */
export function toLeaf(entry: Entry | undefined): Leaf {
  if (entry instanceof Leaf) return entry;
  const leaf = new Leaf();
  if (entry !== undefined) leaf.peers = [entry];
  return leaf;
}

/** The most compact form of an entry: undefined when it is empty. */
export function compact(entry: Entry | undefined): Entry | undefined {
  if (!(entry instanceof Leaf)) return entry;
  if (entry.isEmpty()) return undefined;
  const bare = entry.local === null && entry.groups === null && entry.peers.length === 1;
  return bare ? entry.peers[0] : entry;
}
