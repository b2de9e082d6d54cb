/**
 * Retained messages and tombstones in the store: `retained/<bucket>`, a record for each topic. What is written is what a
 * topic holds when the commit begins, however often it changed; a publish that waits for its message to be
 * durable is accepted when that commit is done.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../lib/clock.js";
import type { Commits } from "../store/commits.js";
import type { Journaled } from "../store/journaled.js";
import { keyBytesMax, type Operation, type Store } from "../store/store.js";
import { decodeLastAlive, encodeLastAlive, type LastAlive, lastAliveKey } from "./last-alive.js";
import type { Message } from "./message.js";
import { retainedBucket, retainedBuckets } from "./retained-digest.js";
import type { RetainedEntry } from "./retained-entry.js";
import { decodeRetained, encodeRetained } from "./retained-record.js";

const rowsAtOnce = 4096;
/** Above every key. */
const endKey = "\u{10ffff}";

/** What a topic holds now: a message, a tombstone, or nothing. */
export type EntryOf = (topic: string) => RetainedEntry | undefined;

class Bucket implements Journaled {
  readonly partition: string;
  readonly fence = undefined;
  touched = false;
  readonly changed = new Set<string>();
  isCleared = false;
  /** Another record than those of topics. */
  alive: LastAlive | null = null;
  waiting: Message[] = [];
  private committing: Message[] = [];

  constructor(
    number: number,
    private readonly entryOf: EntryOf,
    private readonly clock: Clock,
  ) {
    this.partition = `retained/${number.toString(16).padStart(2, "0")}`;
  }

  collect(into: Operation[]): void {
    if (this.isCleared) into.push({ kind: "deleteRange", from: "", to: endKey });
    this.isCleared = false;
    for (const topic of this.changed) {
      const key = keyOf(topic);
      const entry = this.entryOf(topic);
      if (entry === undefined) into.push({ kind: "delete", key });
      else into.push({ kind: "put", key, value: encodeRetained(entry, this.clock) });
    }
    this.changed.clear();
    const { alive } = this;
    this.alive = null;
    if (alive !== null)
      into.push({ kind: "put", key: lastAliveKey, value: encodeLastAlive(alive) });
    this.committing = this.waiting;
    this.waiting = [];
  }

  committed(): void {
    const { committing } = this;
    this.committing = [];
    for (const message of committing) message.accept();
  }

  /** Nobody else writes here. */
  fenced(): void {
    this.committing = [];
  }
}

export class RetainedJournal {
  /** What was noted last, by this process or an earlier one. */
  lastAlive: LastAlive | null = null;
  private readonly buckets: Bucket[];

  constructor(
    entryOf: EntryOf,
    private readonly clock: Clock,
    private readonly commits: Pick<Commits, "touch">,
  ) {
    this.buckets = Array.from({ length: retainedBuckets }, (_, i) => new Bucket(i, entryOf, clock));
  }

  /** What the topic holds is other than it was. */
  changed(topic: string): void {
    const bucket = this.bucketOf(topic);
    bucket.changed.add(topic);
    this.commits.touch(bucket);
  }

  /** The node is at work. */
  noteAlive(alive: LastAlive): void {
    const bucket = this.buckets[0] as Bucket; // there is one for each number
    this.lastAlive = bucket.alive = alive;
    this.commits.touch(bucket);
  }

  /** Everything is gone. */
  cleared(): void {
    for (const bucket of this.buckets) {
      bucket.changed.clear();
      bucket.isCleared = true;
      this.commits.touch(bucket);
    }
  }

  /** The message, which has just changed what its topic holds, is accepted when that is durable, not before. */
  await(message: Message): void {
    message.pending++;
    this.bucketOf(message.topic.name).waiting.push(message);
  }

  /** What earlier processes had stored. `ttlMs`: `limits.retained_ttl`. */
  async load(
    store: Pick<Store, "read">,
    ttlMs: number,
    visit: (entry: RetainedEntry) => void,
  ): Promise<void> {
    for (const { partition } of this.buckets) {
      let from = "";
      for (let more = true; more; ) {
        const rows = await store.read(partition, from, rowsAtOnce);
        for (const [key, record] of rows) {
          from = key;
          if (key === lastAliveKey) {
            this.lastAlive = decodeLastAlive(record);
            continue;
          }
          const entry = decodeRetained(record, this.clock, ttlMs);
          if (entry !== null) visit(entry);
        }
        from += "\0";
        more = rows.length === rowsAtOnce;
      }
    }
  }

  private bucketOf(topic: string): Bucket {
    // There is one for each number that a topic can have.
    return this.buckets[retainedBucket(topic)] as Bucket;
  }
}

/** The topic, or its hash where that is too long. */
function keyOf(topic: string): string {
  if (topic.length * 3 < keyBytesMax || Buffer.byteLength(topic) < keyBytesMax) return `=${topic}`;
  return `#${createHash("sha256").update(topic, "utf8").digest("hex")}`;
}
