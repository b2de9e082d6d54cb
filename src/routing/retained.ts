/**
 * Retained messages: a last-writer-wins map by topic, the same on every node. Each entry carries the
 * stamp of its publish; a deleted one stays as a tombstone until `forgetAfterMs`, so that a node that
 * was away cannot bring it back. A tree of topic levels answers a wildcard at the cost of what it matches.
 */
import { hashString, mix32 } from "../lib/hash.js";
import { stampMs } from "../lib/hlc.js";
import { Message } from "./message.js";

export interface RetainedEntry {
  readonly topic: string;
  readonly stamp: number;
  /** Null: a tombstone. */
  readonly message: Message | null;
}

export interface RetainedLimits {
  readonly messages: number;
  readonly bytes: number;
  readonly forgetAfterMs: number;
}

/** `older`: a newer one is held. `full`: a limit stands in the way; nothing changed. */
export type RetainedOutcome = "stored" | "older" | "full";

class RetainedNode {
  entry: RetainedEntry | undefined = undefined;
  children: Map<string, RetainedNode> | undefined = undefined;
}

/** Buckets of the digest that nodes compare at link-up. */
export const retainedBuckets = 256;
export const retainedBucket = (topic: string): number => hashString(topic) % retainedBuckets;

export class RetainedStore {
  readonly counters = { refusedFull: 0 };
  private readonly entries = new Map<string, RetainedEntry>();
  private readonly root = new RetainedNode();
  private readonly digest = new Uint32Array(retainedBuckets);
  private liveCount = 0;
  private liveBytes = 0;

  constructor(private readonly limits: RetainedLimits) {}

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
    // Equal stamps of two nodes: the larger publisher id wins, on every node alike.
    if (before !== undefined && before.stamp > message.stamp) return "older";
    if (before?.stamp === message.stamp && !wins(message, before)) return "older";
    const stored = message.payloadLength === 0 ? null : retainedCopy(message);
    const grown = sizeOf(stored) - sizeOf(before?.message ?? null);
    const more = (stored === null ? 0 : 1) - (before?.message ? 1 : 0);
    const full =
      (more > 0 && this.liveCount >= this.limits.messages) ||
      (grown > 0 && this.liveBytes + grown > this.limits.bytes);
    if (full) {
      this.counters.refusedFull++;
      return "full";
    }
    this.liveBytes += grown;
    this.liveCount += more;
    this.put({ topic, stamp: message.stamp, message: stored }, before);
    return "stored";
  }

  /** Drops everything, without tombstones: for a node that starts anew. */
  clear(): void {
    this.entries.clear();
    this.root.children = undefined;
    this.digest.fill(0);
    this.liveCount = 0;
    this.liveBytes = 0;
  }

  get(topic: string): RetainedEntry | undefined {
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
        if (node.entry?.message) yield node.entry.message;
      }
      if (level === undefined || node.children === undefined) continue;
      if (level === "#" || level === "+") {
        for (const [name, child] of node.children) {
          // [MQTT-4.7.2-1]
          if (depth === 0 && name.startsWith("$")) continue;
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
    for (const entry of this.entries.values()) {
      if (entry.message !== null) continue;
      if (stampMs(entry.stamp) + this.limits.forgetAfterMs > nowMs) continue;
      this.entries.delete(entry.topic);
      this.addToDigest(entry, -1);
      swept++;
    }
    return swept;
  }

  private put(entry: RetainedEntry, before: RetainedEntry | undefined): void {
    if (before !== undefined) this.addToDigest(before, -1);
    this.addToDigest(entry, 1);
    this.entries.set(entry.topic, entry);
    if (entry.message === null) this.prune(entry.topic);
    else this.nodeOf(entry.topic).entry = entry;
  }

  private addToDigest(entry: RetainedEntry, sign: 1 | -1): void {
    const hash = hashString(entry.topic);
    const stampHash = mix32(entry.stamp >>> 0) ^ mix32(Math.floor(entry.stamp / 2 ** 32));
    const bucket = hash % retainedBuckets;
    this.digest[bucket] = (this.digest[bucket] ?? 0) + sign * mix32(hash ^ stampHash);
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

function wins(message: Message, before: RetainedEntry): boolean {
  return message.publisher > (before.message?.publisher ?? "");
}

/** A copy with bytes of exactly its size: the common buffer pool would pin 8 KiB for each. */
function retainedCopy(message: Message): Message {
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
  copy.user = message.user;
  return copy;
}
