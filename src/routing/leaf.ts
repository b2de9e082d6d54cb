/**
 * Everybody who subscribed one filter: our own subscribers and the peers that have some. A filter that
 * a single peer alone subscribed, by far the commonest on a big cluster, is a bare packed integer.
 */
import type { Qos } from "../protocol/publish.js";
import type { Group } from "./group.js";
import type { Subscriber, SubscriptionOptions } from "./targets.js";

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

export class Leaf {
  local: Map<Subscriber, LocalSubscription> | null = null;
  peers: PackedPeer[] = [];
  /** The share groups of this filter. */
  groups: Group[] | null = null;
  private readonly perQos = [0, 0, 0];
  private durableCount = 0;

  /** Adds or replaces our own subscriber. */
  setLocal(subscriber: Subscriber, subscription: LocalSubscription): void {
    this.local ??= new Map();
    const before = this.local.get(subscriber);
    if (before !== undefined) this.count(before, -1);
    this.local.set(subscriber, subscription);
    this.count(subscription, 1);
  }

  /** Returns false when it was not subscribed. */
  deleteLocal(subscriber: Subscriber): boolean {
    const before = this.local?.get(subscriber);
    if (this.local === null || before === undefined) return false;
    this.local.delete(subscriber);
    if (this.local.size === 0) this.local = null;
    this.count(before, -1);
    return true;
  }

  /** The row that our peers must hold for this filter; 0 when we have no subscriber. */
  ownRow(): number {
    if (this.local === null) return 0;
    const qos = this.perQos[2] !== 0 ? 2 : this.perQos[1] !== 0 ? 1 : 0;
    return rowValue(qos, this.durableCount > 0);
  }

  isEmpty(): boolean {
    return this.local === null && this.peers.length === 0 && this.groups === null;
  }

  private count(subscription: LocalSubscription, by: number): void {
    this.perQos[subscription.qos] = (this.perQos[subscription.qos] ?? 0) + by;
    // QoS 0 never waits for anyone, so a persistent session's QoS 0 filter needs no durable row.
    if (subscription.durable && subscription.qos > 0) this.durableCount += by;
  }
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
  if (before === undefined) {
    if (value !== 0) leaf.peers.push(packPeer(peer, value));
    return 0;
  }
  if (value === 0) leaf.peers.splice(at, 1);
  else leaf.peers[at] = packPeer(peer, value);
  return packedValue(before);
}

/** A leaf that our own subscriber can be put in, holding what the entry held. */
export function toLeaf(entry: Entry | undefined): Leaf {
  if (entry instanceof Leaf) return entry;
  const leaf = new Leaf();
  if (entry !== undefined) leaf.peers.push(entry);
  return leaf;
}

/** The most compact form of an entry: undefined when it is empty. */
export function compact(entry: Entry | undefined): Entry | undefined {
  if (!(entry instanceof Leaf)) return entry;
  if (entry.isEmpty()) return undefined;
  const bare = entry.local === null && entry.groups === null && entry.peers.length === 1;
  return bare ? entry.peers[0] : entry;
}
