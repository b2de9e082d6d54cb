/**
 * Retained messages: a last-writer-wins map by topic, the same on every node. Each entry carries the
 * stamp of its publish; a deleted one stays as a tombstone until `forgetAfterMs`, so that a node that
 * was away cannot bring it back. Of equal stamps (two nodes, one moment) the higher publisher wins, on
 * every node alike. One that expires becomes a tombstone by itself.
 */
import type { Clock } from "../lib/clock.js";
import { stampMs } from "../lib/hlc.js";
import type { Commits } from "../store/commits.js";
import type { Store } from "../store/store.js";
import type { LastAlive } from "./last-alive.js";
import type { Message } from "./message.js";
import { RetainedDigest } from "./retained-digest.js";
import { RetainedEntry } from "./retained-entry.js";
import { RetainedJournal } from "./retained-journal.js";
import { RetainedTree, type RetainedWalk } from "./retained-tree.js";

export interface RetainedLimits {
  readonly messages: number;
  readonly bytes: number;
  readonly forgetAfterMs: number;
  /** How long a message is kept at most; 0: for ever. */
  readonly ttlMs: number;
}

/** `older`: a newer one is held. `full`: a limit stands in the way; nothing changed. */
export type RetainedOutcome = "stored" | "older" | "full";

/** How many entries one look for expired messages, or for old tombstones, takes in. */
export const sweepSteps = 10_000;

export class RetainedStore {
  readonly counters = {
    /** Messages not stored because `limits.retained_messages` or `limits.retained_bytes` was reached. */
    refusedFull: 0,
    /** Tombstones forgotten early, for there are at most as many as there may be messages. */
    tombstonesDropped: 0,
    /** Tombstones forgotten in time. */
    tombstonesSwept: 0,
    expired: 0,
  };
  /** Messages alone; entries without one are in `tombstones`, in the order in which they were made here. */
  private tree = new RetainedTree();
  private readonly tombstones = new Map<string, RetainedEntry>();
  private tombstoneScan: Iterator<RetainedEntry> | null = null;
  /** Topics of messages that will expire, and how far the look for those that have has come. */
  private readonly expiring = new Set<string>();
  private expiryScan: Iterator<string> | null = null;
  private digest = new RetainedDigest();
  private liveCount = 0;
  private liveBytes = 0;
  private readonly journal: RetainedJournal | null;

  constructor(
    private readonly limits: RetainedLimits,
    private readonly clock: Clock,
    /** Null: nothing outlives the process. */
    commits: Pick<Commits, "touch"> | null = null,
  ) {
    const entryOf = (topic: string): RetainedEntry | undefined => this.entry(topic);
    this.journal = commits === null ? null : new RetainedJournal(entryOf, clock, commits);
  }

  /**
   * Takes up what earlier processes had stored, before anything else is done. Returns the highest stamp; 0: there is
   * none. Limits that have become lower since are kept by what comes later.
   */
  async load(store: Pick<Store, "read">): Promise<number> {
    let highest = 0;
    await this.journal?.load(store, this.limits.ttlMs, (entry) => {
      highest = Math.max(highest, entry.stamp);
      this.restore(entry);
    });
    return highest;
  }

  /** When the node was last at work, as far as that was noted; null: it was not. */
  get lastAlive(): LastAlive | null {
    return this.journal?.lastAlive ?? null;
  }

  noteAlive(alive: LastAlive): void {
    this.journal?.noteAlive(alive);
  }

  /** Forgets an entry as if it had never been: for a node whose entry nobody else has any more. */
  forgetEntry(entry: RetainedEntry): void {
    const { topic, stamp, publisher } = entry;
    if (!entry.isTombstone) this.bury(topic, stamp, publisher, entry);
    const tombstone = this.tombstones.get(topic);
    if (tombstone !== undefined) this.forget(tombstone);
  }

  /** Messages held, without tombstones. */
  get size(): number {
    return this.liveCount;
  }

  get bytes(): number {
    return this.liveBytes;
  }

  get tombstoneCount(): number {
    return this.tombstones.size;
  }

  /**
   * Stores a message, or with an empty payload deletes the one there was [MQTT-3.3.1-6]. `durably`: what changes is
   * accepted when it is in the store, where there is one.
   */
  set(message: Message, durably = false): RetainedOutcome {
    const outcome = this.take(message);
    if (durably && outcome === "stored") this.journal?.await(message);
    return outcome;
  }

  private take(message: Message): RetainedOutcome {
    const topic = message.topic.name;
    const before = this.entry(topic);
    if (before !== undefined && !isNewer(message, before)) return "older";
    const nowMs = Math.floor(this.clock.monotonicMs());
    const expiresMs = this.expiryOf(message, nowMs);
    const deletes = message.payloadLength === 0 || (expiresMs !== 0 && expiresMs <= nowMs);
    if (deletes) {
      this.bury(topic, message.stamp, message.publisher, before);
      return "stored";
    }
    if (this.isFull(message, before)) this.sweepExpired();
    const replaced = this.entry(topic);
    if (this.isFull(message, replaced)) {
      this.counters.refusedFull++;
      return "full";
    }
    this.hold(message, expiresMs, replaced);
    return "stored";
  }

  /** Drops everything, without tombstones: for a node that starts anew. */
  clear(): void {
    this.tree = new RetainedTree();
    this.tombstones.clear();
    this.expiring.clear();
    this.digest = new RetainedDigest();
    this.liveCount = 0;
    this.liveBytes = 0;
    this.journal?.cleared();
  }

  get(topic: string): RetainedEntry | undefined {
    if (this.expiring.has(topic)) this.expireIfOver(topic, this.clock.monotonicMs());
    return this.entry(topic);
  }

  /** The messages whose topics match, at the pace of whoever walks; expired ones may be among them. */
  walk(filter: string): RetainedWalk {
    return this.tree.match(filter);
  }

  /** The messages whose topics match. Each is read when the iteration comes to it. */
  *matching(filter: string): Iterable<Message> {
    for (const message of this.looking(filter)) if (message !== null) yield message;
  }

  /** The same, and null for each step of the walk that finds none, so that who reads on can stop in time. */
  *looking(filter: string): Iterable<Message | null> {
    for (const walk = this.walk(filter); !walk.done; ) {
      const entry = walk.step();
      yield entry === null || entry.isOver(this.clock.monotonicMs()) ? null : entry.message;
    }
  }

  /** Every entry, tombstones included; changes meanwhile do no harm. */
  *all(): Iterable<RetainedEntry> {
    for (const walk = this.tree.all(); !walk.done; ) {
      const entry = walk.step();
      if (entry !== null) yield entry;
    }
    yield* this.tombstones.values();
  }

  /** One number per bucket; equal on two nodes that hold the same entries. */
  digests(): Uint32Array {
    return this.digest.sums.slice();
  }

  /**
   * Looks at some tombstones, in turn, and forgets those older than the limit. Bounded work: to be called
   * every now and then. Returns how many were forgotten.
   */
  sweep(wallMs: number): number {
    let swept = 0;
    for (let steps = Math.min(sweepSteps, this.tombstones.size + 1); steps > 0; steps--) {
      this.tombstoneScan ??= this.tombstones.values();
      const next = this.tombstoneScan.next();
      if (next.done) this.tombstoneScan = null;
      else if (stampMs(next.value.stamp) + this.limits.forgetAfterMs <= wallMs) {
        this.forget(next.value);
        swept++;
      }
    }
    this.counters.tombstonesSwept += swept;
    return swept;
  }

  /**
   * Looks at some of the messages that will expire, in turn, and deletes those that have. Bounded work: to be
   * called every now and then. Returns how many were deleted.
   */
  sweepExpired(): number {
    const before = this.counters.expired;
    const nowMs = this.clock.monotonicMs();
    for (let steps = Math.min(sweepSteps, this.expiring.size + 1); steps > 0; steps--) {
      this.expiryScan ??= this.expiring.values();
      const next = this.expiryScan.next();
      if (next.done) this.expiryScan = null;
      else this.expireIfOver(next.value, nowMs);
    }
    return this.counters.expired - before;
  }

  private entry(topic: string): RetainedEntry | undefined {
    return this.tree.get(topic) ?? this.tombstones.get(topic);
  }

  /** When it goes: as its publisher said, or after `limits.retained_ttl`. 0: never. */
  private expiryOf(message: Message, nowMs: number): number {
    const { ttlMs } = this.limits;
    if (ttlMs === 0) return message.expiresMs;
    return message.expiresMs === 0 ? nowMs + ttlMs : Math.min(message.expiresMs, nowMs + ttlMs);
  }

  /** Would this message in the place of the entry before be too much? */
  private isFull(message: Message, before: RetainedEntry | undefined): boolean {
    const grown = message.size - (before?.size ?? 0);
    const isNew = before === undefined || before.isTombstone;
    return (
      (isNew && this.liveCount >= this.limits.messages) ||
      (grown > 0 && this.liveBytes + grown > this.limits.bytes)
    );
  }

  /** Leaves a tombstone of the same stamp: an older message that comes later must not take its place. */
  private expireIfOver(topic: string, nowMs: number): void {
    const entry = this.tree.get(topic);
    if (entry === undefined || !entry.isOver(nowMs)) return;
    this.counters.expired++;
    this.bury(topic, entry.stamp, entry.publisher, entry);
  }

  private hold(message: Message, expiresMs: number, before: RetainedEntry | undefined): void {
    const { name } = message.topic;
    if (before !== undefined) this.digest.add(before, -1);
    const replaces = before !== undefined && !before.isTombstone;
    const entry = replaces ? before : new RetainedEntry(name, message.stamp, message.publisher);
    this.liveBytes += message.size - entry.size;
    entry.hold(message, expiresMs);
    if (!replaces) {
      this.liveCount++;
      this.tombstones.delete(name);
      this.tree.add(entry);
    }
    if (expiresMs !== 0) this.expiring.add(name);
    else this.expiring.delete(name);
    this.digest.add(entry, 1);
    this.journal?.changed(name);
  }

  /** An entry from the store. */
  private restore(entry: RetainedEntry): void {
    this.digest.add(entry, 1);
    if (entry.isTombstone) {
      this.tombstones.set(entry.topic, entry);
      return;
    }
    this.liveCount++;
    this.liveBytes += entry.size;
    this.tree.add(entry);
    if (entry.expiresMs !== 0) this.expiring.add(entry.topic);
  }

  /** Puts a tombstone in the place of what there was. */
  private bury(
    topic: string,
    stamp: number,
    publisher: string,
    before: RetainedEntry | undefined,
  ): void {
    if (before !== undefined) this.digest.add(before, -1);
    if (before !== undefined && !before.isTombstone) {
      this.liveCount--;
      this.liveBytes -= before.size;
      this.expiring.delete(topic);
      this.tree.delete(before);
      before.drop();
    }
    const tombstone = new RetainedEntry(topic, stamp, publisher);
    this.tombstones.delete(topic);
    this.tombstones.set(topic, tombstone);
    this.digest.add(tombstone, 1);
    this.journal?.changed(topic);
    if (this.tombstones.size <= this.limits.messages) return;
    const [first] = this.tombstones.values();
    if (first !== undefined) this.forget(first);
    this.counters.tombstonesDropped++;
  }

  private forget(tombstone: RetainedEntry): void {
    this.digest.add(tombstone, -1);
    this.tombstones.delete(tombstone.topic);
    this.journal?.changed(tombstone.topic);
  }
}

/** A total order of all that was ever written to a topic: nodes that saw the same hold the same. */
function isNewer(message: Message, before: RetainedEntry): boolean {
  if (message.stamp !== before.stamp) return message.stamp > before.stamp;
  return message.publisher > before.publisher;
}
