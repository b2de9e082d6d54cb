/**
 * Retained messages: a last-writer-wins map by topic, the same on every node. Each entry carries the
 * stamp of its publish; a deleted one stays as a tombstone until `forgetAfterMs`, so that a node that
 * was away cannot bring it back. Of equal stamps (two nodes, one moment) the higher publisher wins, on
 * every node alike. One that expires becomes a tombstone by itself. A tree of topic levels answers a
 * wildcard at the cost of what it matches.
 */
import type { Clock } from "../lib/clock.js";
import { hashString, mix32 } from "../lib/hash.js";
import { stampMs } from "../lib/hlc.js";
import { Message } from "./message.js";

export interface RetainedEntry {
  readonly topic: string;
  readonly stamp: number;
  /** Client id of whoever set or deleted it. */
  readonly publisher: string;
  /** Null: a tombstone. */
  readonly message: Message | null;
}

export interface RetainedLimits {
  readonly messages: number;
  readonly bytes: number;
  readonly forgetAfterMs: number;
  /** How long a message is kept at most; 0: for ever. */
  readonly ttlMs: number;
}

/** `older`: a newer one is held. `full`: a limit stands in the way; nothing changed. */
export type RetainedOutcome = "stored" | "older" | "full";

class RetainedNode {
  entry: RetainedEntry | undefined = undefined;
  children: Map<string, RetainedNode> | undefined = undefined;
}

/** How many messages one look for expired ones takes in. */
const expirySteps = 10_000;

/** Buckets of the digest that nodes compare at link-up. */
export const retainedBuckets = 256;
export const retainedBucket = (topic: string): number => hashString(topic) % retainedBuckets;

export class RetainedStore {
  readonly counters = { refusedFull: 0, tombstonesDropped: 0, expired: 0 };
  private readonly entries = new Map<string, RetainedEntry>();
  /** Topics of entries without a message, in the order in which they were deleted here. */
  private readonly tombstones = new Set<string>();
  /** Topics of messages that will expire, and how far the look for those that have has come. */
  private readonly expiring = new Set<string>();
  private expiryScan: Iterator<string> | null = null;
  private readonly root = new RetainedNode();
  private readonly digest = new Uint32Array(retainedBuckets);
  private liveCount = 0;
  private liveBytes = 0;

  constructor(
    private readonly limits: RetainedLimits,
    private readonly clock: Clock,
  ) {}

  /** Messages held, without tombstones. */
  get size(): number {
    return this.liveCount;
  }

  get bytes(): number {
    return this.liveBytes;
  }

  /** Stores a message, or with an empty payload deletes the one there was [MQTT-3.3.1-6]. */
  set(message: Message): RetainedOutcome {
    const topic = message.topic.name;
    const before = this.entries.get(topic);
    if (before !== undefined && !isNewer(message, before)) return "older";
    const nowMs = Math.floor(this.clock.monotonicMs());
    const expiresMs = this.expiryOf(message, nowMs);
    const over = expiresMs !== 0 && expiresMs <= nowMs;
    const stored = message.payloadLength === 0 || over ? null : retainedCopy(message, expiresMs);
    if (this.isFull(stored, before)) this.sweepExpired();
    const replaced = this.entries.get(topic);
    if (this.isFull(stored, replaced)) {
      this.counters.refusedFull++;
      return "full";
    }
    this.liveBytes += sizeOf(stored) - sizeOf(replaced?.message ?? null);
    this.liveCount += (stored === null ? 0 : 1) - (replaced?.message ? 1 : 0);
    const { stamp, publisher } = message;
    this.put({ topic, stamp, publisher, message: stored }, replaced);
    this.limitTombstones();
    return "stored";
  }

  /** Drops everything, without tombstones: for a node that starts anew. */
  clear(): void {
    this.entries.clear();
    this.expiring.clear();
    this.root.children = undefined;
    this.digest.fill(0);
    this.liveCount = 0;
    this.liveBytes = 0;
  }

  get(topic: string): RetainedEntry | undefined {
    if (this.expiring.has(topic)) this.expireIfOver(topic, this.clock.monotonicMs());
    return this.entries.get(topic);
  }

  /** The messages whose topics match. Each is read when the iteration comes to it. */
  *matching(filter: string): Iterable<Message> {
    const levels = filter.split("/");
    const stack: [RetainedNode, number][] = [[this.root, 0]];
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const [node, depth] = top;
      const level = levels[depth];
      if (level === undefined || level === "#") {
        const message = node.entry?.message;
        if (message && !this.isOver(message)) yield message;
      }
      if (level === undefined || node.children === undefined) continue;
      if (level === "#" || level === "+") {
        for (const [name, child] of node.children) {
          // [MQTT-4.7.2-1]
          if (node === this.root && name.startsWith("$")) continue;
          stack.push([child, level === "#" ? depth : depth + 1]);
        }
        continue;
      }
      const child = node.children.get(level);
      if (child !== undefined) stack.push([child, depth + 1]);
    }
  }

  /** Every entry, tombstones included. */
  all(): Iterable<RetainedEntry> {
    return this.entries.values();
  }

  /** One number per bucket; equal on two nodes that hold the same entries. */
  digests(): Uint32Array {
    return this.digest.slice();
  }

  /** Forgets tombstones older than the limit. Returns how many. */
  sweep(nowMs: number): number {
    let swept = 0;
    for (const topic of this.tombstones) {
      const stamp = this.entries.get(topic)?.stamp ?? 0;
      if (stampMs(stamp) + this.limits.forgetAfterMs > nowMs) continue;
      this.dropTombstone(topic);
      swept++;
    }
    return swept;
  }

  /**
   * Looks at some of the messages that will expire, in turn, and deletes those that have. Bounded work: to be
   * called every now and then. Returns how many were deleted.
   */
  sweepExpired(): number {
    const before = this.counters.expired;
    const nowMs = this.clock.monotonicMs();
    for (let steps = Math.min(expirySteps, this.expiring.size); steps > 0; steps--) {
      this.expiryScan ??= this.expiring.values();
      const next = this.expiryScan.next();
      if (next.done) this.expiryScan = null;
      else this.expireIfOver(next.value, nowMs);
    }
    return this.counters.expired - before;
  }

  /** When it goes: as its publisher said, or after `limits.retained_ttl`. 0: never. */
  private expiryOf(message: Message, nowMs: number): number {
    const { ttlMs } = this.limits;
    if (ttlMs === 0) return message.expiresMs;
    return message.expiresMs === 0 ? nowMs + ttlMs : Math.min(message.expiresMs, nowMs + ttlMs);
  }

  /** Would this message in the place of the entry before be too much? */
  private isFull(stored: Message | null, before: RetainedEntry | undefined): boolean {
    const grown = sizeOf(stored) - sizeOf(before?.message ?? null);
    return (
      (stored !== null && !before?.message && this.liveCount >= this.limits.messages) ||
      (grown > 0 && this.liveBytes + grown > this.limits.bytes)
    );
  }

  private isOver(message: Message): boolean {
    return message.expiresMs !== 0 && message.expiresMs <= this.clock.monotonicMs();
  }

  /** Leaves a tombstone of the same stamp: an older message that comes later must not take its place. */
  private expireIfOver(topic: string, nowMs: number): void {
    const entry = this.entries.get(topic);
    if (!entry?.message || entry.message.expiresMs > nowMs) return;
    this.counters.expired++;
    this.liveCount--;
    this.liveBytes -= sizeOf(entry.message);
    const { stamp, publisher } = entry;
    this.put({ topic, stamp, publisher, message: null }, entry);
    this.limitTombstones();
  }

  private put(entry: RetainedEntry, before: RetainedEntry | undefined): void {
    if (before !== undefined) this.addToDigest(before, -1);
    this.addToDigest(entry, 1);
    this.entries.set(entry.topic, entry);
    this.tombstones.delete(entry.topic);
    if (entry.message !== null && entry.message.expiresMs !== 0) this.expiring.add(entry.topic);
    else this.expiring.delete(entry.topic);
    if (entry.message === null) {
      this.tombstones.add(entry.topic);
      this.prune(entry.topic);
    } else this.nodeOf(entry.topic).entry = entry;
  }

  /** There are at most as many tombstones as there may be messages; the earliest here go first. */
  private limitTombstones(): void {
    if (this.tombstones.size <= this.limits.messages) return;
    const [first] = this.tombstones;
    if (first !== undefined) this.dropTombstone(first);
    this.counters.tombstonesDropped++;
  }

  private dropTombstone(topic: string): void {
    const entry = this.entries.get(topic);
    if (entry !== undefined) this.addToDigest(entry, -1);
    this.entries.delete(topic);
    this.tombstones.delete(topic);
  }

  private addToDigest(entry: RetainedEntry, sign: 1 | -1): void {
    const hash = hashString(entry.topic);
    const stampHash = mix32(entry.stamp >>> 0) ^ mix32(Math.floor(entry.stamp / 2 ** 32));
    const writer = mix32(hashString(entry.publisher) + (entry.message === null ? 1 : 0));
    const bucket = hash % retainedBuckets;
    this.digest[bucket] = (this.digest[bucket] ?? 0) + sign * mix32(hash ^ stampHash ^ writer);
  }

  private nodeOf(topic: string): RetainedNode {
    let node = this.root;
    for (const level of topic.split("/")) {
      node.children ??= new Map();
      let child = node.children.get(level);
      if (child === undefined) {
        child = new RetainedNode();
        node.children.set(level, child);
      }
      node = child;
    }
    return node;
  }

  private prune(topic: string): void {
    const levels = topic.split("/");
    const path: RetainedNode[] = [this.root];
    for (const level of levels) {
      const next = path[path.length - 1]?.children?.get(level);
      if (next === undefined) return;
      path.push(next);
    }
    const last = path[path.length - 1];
    if (last !== undefined) last.entry = undefined;
    for (let i = levels.length - 1; i >= 0; i--) {
      const node = path[i + 1];
      const parent = path[i];
      const level = levels[i];
      if (node?.entry !== undefined || node?.children !== undefined) return;
      if (parent?.children === undefined || level === undefined) return;
      parent.children.delete(level);
      if (parent.children.size === 0) parent.children = undefined;
    }
  }
}

const sizeOf = (message: Message | null): number =>
  message === null ? 0 : message.bytes.length + message.topic.bytes.length;

/** A total order of all that was ever written to a topic: nodes that saw the same hold the same. */
function isNewer(message: Message, before: RetainedEntry): boolean {
  if (message.stamp !== before.stamp) return message.stamp > before.stamp;
  return message.publisher > before.publisher;
}

/** A copy with bytes of exactly its size: the common buffer pool would pin 8 KiB for each. */
function retainedCopy(message: Message, expiresMs: number): Message {
  const properties = message.propertiesEnd - message.propertiesStart;
  const bytes = Buffer.allocUnsafeSlow(properties + message.payloadLength);
  message.bytes.copy(bytes, 0, message.propertiesStart, message.propertiesEnd);
  message.bytes.copy(bytes, properties, message.payloadStart, message.payloadEnd);
  const { topic, qos, publisher } = message;
  const copy = new Message(
    topic,
    qos,
    true,
    publisher,
    bytes,
    0,
    properties,
    properties,
    bytes.length,
  );
  copy.stamp = message.stamp;
  copy.expiresMs = expiresMs;
  copy.user = message.user;
  return copy;
}
