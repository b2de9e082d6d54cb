/**
 * The one index of the node: our own subscribers, the rows of all peers and the share groups, found in
 * one match. Exact filters are in a flat table, those with wildcards in a trie. A topic keeps the result of
 * its match until a filter changes that may concern it (changes.ts); `generation` changes with every
 * change here. Who is in a group is not part of a match: a group changes in place.
 */
import { RouteChanges } from "./changes.js";
import { ExactTable } from "./exact-table.js";
import { Group } from "./group.js";
import {
  compact,
  type Entry,
  type LocalSubscription,
  type PackedPeer,
  packedIndex,
  packedValue,
  setPeerRow,
  toLeaf,
} from "./leaf.js";
import { LevelScan } from "./level-scan.js";
import { TargetMerge } from "./target-merge.js";
import type { Subscriber, Targets } from "./targets.js";
import { ownText } from "./text-hash.js";
import type { Topic } from "./topic.js";
import { FilterTrie } from "./trie.js";

export class RouteIndex {
  private readonly exact = new ExactTable();
  private readonly wild = new FilterTrie();
  private readonly changes = new RouteChanges();
  private readonly merge = new TargetMerge();
  /** The filter or topic that is being worked on. */
  private readonly scan = new LevelScan();
  /** By `$share/name/filter`. */
  private readonly shared = new Map<string, Group>();

  /** Changes with every change of a filter: see `targetsOf`. */
  get generation(): number {
    return this.changes.total;
  }

  /** Adds or replaces a subscription. Returns the row that peers must hold afterwards. */
  setLocal(filter: string, subscriber: Subscriber, subscription: LocalSubscription): number {
    const table = this.read(filter);
    const place = table.make(this.scan);
    const entry = table.get(place);
    const leaf = toLeaf(entry);
    const changed = leaf.setLocal(subscriber, subscription);
    if (changed) this.put(table, place, leaf);
    return leaf.ownRow();
  }

  /** Returns the row that peers must hold afterwards, or undefined when there was none. */
  deleteLocal(filter: string, subscriber: Subscriber): number | undefined {
    const table = this.read(filter);
    const place = table.find(this.scan);
    const leaf = table.get(place);
    if (leaf === undefined || typeof leaf === "number") return undefined;
    if (!leaf.deleteLocal(subscriber)) return undefined;
    const row = leaf.ownRow();
    this.put(table, place, compact(leaf));
    return row;
  }

  /** Sets a peer's row (0 deletes it); returns the value it had, 0 for none. */
  setPeer(filter: string, peer: number, value: number): number {
    const table = this.read(filter);
    const place = table.find(this.scan);
    const { entry, before } = setPeerRow(table.get(place), peer, value);
    if (before === value) return before;
    if (place !== -1) this.put(table, place, compact(entry));
    else {
      // The filter may be a part of the whole frame that it came in. Of those with wildcards only levels are kept.
      if (table === this.exact) this.scan.text = ownText(filter);
      this.put(table, table.make(this.scan), entry);
    }
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

  /** The keys of one peer's rows, and `undefined` for each place that was looked at in vain. */
  *peerKeys(peer: number): Iterable<string | undefined> {
    for (const table of [this.exact, this.wild]) {
      for (let place = 0; place < table.end; place++) {
        const entry = table.get(place);
        const has = entry !== undefined && packedOf(entry, peer) !== undefined;
        yield has ? table.filterAt(place) : undefined;
      }
    }
    for (const group of this.shared.values()) {
      yield group.peerRow(peer) === null ? undefined : group.key;
    }
  }

  /** Every filter with what is subscribed to it, in no order. */
  *entries(): Iterable<[filter: string, entry: Entry]> {
    for (const table of [this.exact, this.wild]) {
      for (let place = 0; place < table.end; place++) {
        const entry = table.get(place);
        if (entry !== undefined) yield [table.filterAt(place), entry];
      }
    }
  }

  /** Everything subscribed to one filter, to the letter. */
  get(filter: string): Entry | undefined {
    const table = this.read(filter);
    return table.get(table.find(this.scan));
  }

  /** Who gets a message on this topic: each subscriber and each peer once. */
  match(topic: string): Targets {
    const { scan, merge } = this;
    scan.read(topic);
    const exact = this.exact.get(this.exact.find(scan));
    if (exact !== undefined) merge.add(exact);
    this.wild.match(scan, merge);
    return merge.targets();
  }

  /** The same for a topic that keeps the result: it is matched only when something changed for it. */
  targetsOf(topic: Topic): Targets {
    let { targets } = topic;
    if (targets === null || !this.changes.isFresh(topic)) {
      targets = this.match(topic.name);
      topic.targets = targets;
      this.changes.remember(topic, this.scan);
    }
    topic.generation = this.generation;
    return targets;
  }

  /** The filters that match a topic, with what is subscribed to each: for those who ask why. */
  matchNamed(topic: string, visit: (entry: Entry, filter: string) => void): void {
    const { scan, wild } = this;
    scan.read(topic);
    const exact = this.exact.get(this.exact.find(scan));
    if (exact !== undefined) visit(exact, topic);
    wild.match(scan, { add: (entry, place) => visit(entry, wild.filterAt(place)) });
  }

  private groupOf(key: string): Group {
    const known = this.shared.get(key);
    if (known !== undefined) return known;
    const group = new Group(key);
    this.shared.set(key, group);
    const table = this.read(group.filter);
    const place = table.make(this.scan);
    const leaf = toLeaf(table.get(place));
    leaf.groups ??= [];
    leaf.groups.push(group);
    this.put(table, place, leaf);
    return group;
  }

  private dropEmpty(group: Group): void {
    if (!group.isEmpty) return;
    this.shared.delete(group.key);
    const table = this.read(group.filter);
    const place = table.find(this.scan);
    const leaf = table.get(place);
    if (leaf === undefined || typeof leaf === "number") return;
    const others = leaf.groups?.filter((other) => other !== group) ?? [];
    leaf.groups = others.length === 0 ? null : others;
    this.put(table, place, compact(leaf));
  }

  /** Scans a filter, and says where it belongs. */
  private read(filter: string): ExactTable | FilterTrie {
    this.scan.read(filter);
    return this.scan.wild ? this.wild : this.exact;
  }

  /** Sets what is subscribed to the filter that was scanned. */
  private put(table: ExactTable | FilterTrie, place: number, entry: Entry | undefined): void {
    this.changes.note(this.scan);
    table.set(place, entry);
  }
}

function packedOf(entry: Entry, peer: number): PackedPeer | undefined {
  if (typeof entry === "number") return packedIndex(entry) === peer ? entry : undefined;
  return entry.peers.find((packed) => packedIndex(packed) === peer);
}
