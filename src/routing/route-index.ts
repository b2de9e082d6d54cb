/**
 * The one index of the node: our own subscribers, the rows of all peers and the share groups, found in
 * one match. Exact filters are in a flat map, those with wildcards in a trie. `generation` changes
 * with every change here: a match result of an older generation is stale. Who is in a group is not part
 * of a match: a group changes in place.
 */
import type { Qos } from "../protocol/publish.js";
import { Group } from "./group.js";
import {
  compact,
  type Entry,
  type LocalSubscription,
  type PackedPeer,
  packedDurable,
  packedIndex,
  packedQos,
  packedValue,
  packPeer,
  rowValue,
  setPeerRow,
  toLeaf,
} from "./leaf.js";
import {
  type Delivery,
  noGroups,
  type PeerTarget,
  type Subscriber,
  type Targets,
} from "./targets.js";
import { FilterTrie } from "./trie.js";

const isWild = (filter: string): boolean => filter.includes("+") || filter.includes("#");

export class RouteIndex {
  generation = 0;
  private readonly exact = new Map<string, Entry>();
  private readonly wild = new FilterTrie();
  /** By `$share/name/filter`. */
  private readonly shared = new Map<string, Group>();

  /** Adds or replaces a subscription. Returns the row that peers must hold afterwards. */
  setLocal(filter: string, subscriber: Subscriber, subscription: LocalSubscription): number {
    const leaf = toLeaf(this.get(filter));
    leaf.setLocal(subscriber, subscription);
    this.put(filter, leaf);
    return leaf.ownRow();
  }

  /** Returns the row that peers must hold afterwards, or undefined when there was none. */
  deleteLocal(filter: string, subscriber: Subscriber): number | undefined {
    const leaf = this.get(filter);
    if (leaf === undefined || typeof leaf === "number") return undefined;
    if (!leaf.deleteLocal(subscriber)) return undefined;
    const row = leaf.ownRow();
    this.put(filter, compact(leaf));
    return row;
  }

  /** Sets a peer's row (0 deletes it); returns the value it had, 0 for none. */
  setPeer(filter: string, peer: number, value: number): number {
    const { entry, before } = setPeerRow(this.get(filter), peer, value);
    if (before !== value) this.put(filter, compact(entry));
    return before;
  }

  /** The share group of a `$share/name/filter`. */
  group(key: string): Group | undefined {
    return this.shared.get(key);
  }

  get groupCount(): number {
    return this.shared.size;
  }

  /** All share groups, in no order. */
  groups(): Iterable<Group> {
    return this.shared.values();
  }

  /** Makes or replaces a member of a share group. Returns the row that peers must hold afterwards. */
  setMember(
    key: string,
    subscriber: Subscriber,
    subscription: LocalSubscription,
    online: boolean,
  ): number {
    const group = this.groupOf(key);
    group.setMember(subscriber, subscription, online);
    return group.ownRow();
  }

  /** Returns the row that peers must hold afterwards, or undefined when it was no member. */
  deleteMember(key: string, subscriber: Subscriber): number | undefined {
    const group = this.shared.get(key);
    if (group === undefined || !group.deleteMember(subscriber)) return undefined;
    this.dropEmpty(group);
    return group.ownRow();
  }

  /** Sets a peer's row of a share group (0 deletes it); returns the value it had, 0 for none. */
  setPeerGroup(key: string, peer: number, value: number): number {
    if (value === 0 && !this.shared.has(key)) return 0;
    const group = this.groupOf(key);
    const before = group.setPeer(peer, value);
    this.dropEmpty(group);
    return before;
  }

  /** Every row of one peer. Walks the whole index. */
  *peerRows(peer: number): Iterable<[filter: string, value: number]> {
    for (const [filter, entry] of this.entries()) {
      const packed = packedOf(entry, peer);
      if (packed !== undefined) yield [filter, packedValue(packed)];
    }
    for (const group of this.shared.values()) {
      for (const [index, value] of group.peerRows()) if (index === peer) yield [group.key, value];
    }
  }

  /** Every filter with what is subscribed to it, in no order. */
  *entries(): Iterable<[filter: string, entry: Entry]> {
    yield* this.exact;
    yield* this.wild.entries();
  }

  /** Everything subscribed to one filter, to the letter. */
  get(filter: string): Entry | undefined {
    return isWild(filter) ? this.wild.get(filter) : this.exact.get(filter);
  }

  /** Who gets a message on this topic: each subscriber and each peer once. */
  match(topic: string): Targets {
    const merge = new TargetMerge();
    const exact = this.exact.get(topic);
    if (exact !== undefined) merge.add(exact);
    this.wild.match(topic, (entry) => merge.add(entry));
    return merge.targets();
  }

  /** The filters that match a topic, with what is subscribed to each: for those who ask why. */
  matchNamed(topic: string, visit: (entry: Entry, filter: string) => void): void {
    const exact = this.exact.get(topic);
    if (exact !== undefined) visit(exact, topic);
    this.wild.matchNamed(topic, visit);
  }

  private groupOf(key: string): Group {
    const known = this.shared.get(key);
    if (known !== undefined) return known;
    const group = new Group(key);
    this.shared.set(key, group);
    const leaf = toLeaf(this.get(group.filter));
    leaf.groups ??= [];
    leaf.groups.push(group);
    this.put(group.filter, leaf);
    return group;
  }

  private dropEmpty(group: Group): void {
    if (!group.isEmpty) return;
    this.shared.delete(group.key);
    const leaf = this.get(group.filter);
    if (leaf === undefined || typeof leaf === "number") return;
    const others = leaf.groups?.filter((other) => other !== group) ?? [];
    leaf.groups = others.length === 0 ? null : others;
    this.put(group.filter, compact(leaf));
  }

  private put(filter: string, entry: Entry | undefined): void {
    this.generation++;
    if (isWild(filter)) this.wild.set(filter, entry);
    else if (entry === undefined) this.exact.delete(filter);
    else this.exact.set(filter, entry);
  }
}

function packedOf(entry: Entry, peer: number): PackedPeer | undefined {
  if (typeof entry === "number") return packedIndex(entry) === peer ? entry : undefined;
  return entry.peers.find((packed) => packedIndex(packed) === peer);
}

/** Folds overlapping subscriptions: one copy a subscriber, at the highest QoS [MQTT-3.3.4-2]. */
class TargetMerge {
  private readonly local = new Map<Subscriber, Delivery>();
  private readonly peers = new Map<number, PackedPeer>();
  private groups: Group[] | null = null;

  add(entry: Entry): void {
    if (typeof entry === "number") {
      this.addPeer(entry);
      return;
    }
    for (const packed of entry.peers) this.addPeer(packed);
    if (entry.groups !== null) {
      this.groups ??= [];
      for (const group of entry.groups) this.groups.push(group);
    }
    if (entry.local === null) return;
    for (const [subscriber, subscription] of entry.local) this.addLocal(subscriber, subscription);
  }

  targets(): Targets {
    const peers: PeerTarget[] = [];
    for (const [peer, packed] of this.peers) {
      const qos = packedQos(packed);
      peers.push({ peer, qos, durable: packedDurable(packed), groups: noGroups });
    }
    return { local: [...this.local.values()], peers, groups: this.groups ?? noGroups };
  }

  private addPeer(packed: PackedPeer): void {
    const peer = packedIndex(packed);
    const before = this.peers.get(peer);
    if (before === undefined) {
      this.peers.set(peer, packed);
      return;
    }
    const qos = Math.max(packedQos(before), packedQos(packed));
    const durable = packedDurable(before) || packedDurable(packed);
    this.peers.set(peer, packPeer(peer, rowValue(qos, durable)));
  }

  private addLocal(subscriber: Subscriber, one: LocalSubscription): void {
    const before = this.local.get(subscriber);
    const ids = one.subscriptionId === 0 ? [] : [one.subscriptionId];
    const merged = before === undefined ? ids : [...(before.subscriptionIds ?? []), ...ids];
    // Both are QoS values.
    const qos = Math.max(before?.qos ?? 0, one.qos) as Qos;
    this.local.set(subscriber, {
      subscriber,
      qos,
      retainAsPublished: one.retainAsPublished || (before?.retainAsPublished ?? false),
      // An overlapping subscription that wants its own messages gets them.
      noLocal: one.noLocal && (before?.noLocal ?? true),
      subscriptionIds: merged.length === 0 ? null : merged,
      share: null,
    });
  }
}
