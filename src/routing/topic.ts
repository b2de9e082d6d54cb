/**
 * The topics in use, interned by their bytes: a PUBLISH on a topic seen lately costs one hash and one
 * comparison, no string, and finds the result of the last match with it. Bounded: two halves, the
 * older is dropped when the younger is full.
 */
import type { KnownTopic, RuleSet } from "../auth/acl/rule-set.js";
import { topicName } from "../protocol/topics.js";
import { hashBytes } from "../lib/hash.js";
import type { Targets } from "./targets.js";

const bucketMax = 8;

/** A valid topic name. Two records of one name may exist for a while; compare names, not records. */
export class Topic implements KnownTopic {
  /** Who gets a message on this topic, as of route generation `generation`. */
  targets: Targets | null = null;
  generation = -1;
  /** Which counts of changes concern it, and their sum when it was matched (changes.ts). */
  exactSlot = 0;
  slot1 = 0;
  slot2 = 0;
  slot3 = 0;
  // Not whole, so that V8 takes it for a double from the start.
  stamp = -0.5;
  publishRules: RuleSet | null = null;
  receiveRules: RuleSet | null = null;
  mayPublish = false;
  mayReceive = false;

  constructor(
    readonly name: string,
    /** The name in UTF-8, without a length prefix. */
    readonly bytes: Buffer,
    readonly hash: number,
    /** Next record in the same bucket. */
    public next: Topic | undefined,
  ) {}

  /** Is the name exactly these bytes? */
  is(bytes: Buffer, start: number, end: number): boolean {
    const own = this.bytes;
    if (own.length !== end - start) return false;
    for (let i = 0; i < own.length; i++) if (own[i] !== bytes[start + i]) return false;
    return true;
  }
}

export class TopicTable {
  private young = new Map<number, Topic>();
  private old = new Map<number, Topic>();
  private youngCount = 0;

  /** Keeps between `half` and twice as many topics. */
  constructor(private readonly half = 32_768) {}

  /**
   * The record of the topic name in `bytes` from `start` to `end`.
   * @throws ProtocolError when it is no valid topic name
   */
  intern(bytes: Buffer, start: number, end: number): Topic {
    // As a signed number V8 needs no memory for it.
    const hash = hashBytes(bytes, start, end) | 0;
    const bucket = this.young.get(hash);
    for (let topic = bucket; topic !== undefined; topic = topic.next) {
      if (topic.is(bytes, start, end)) return topic;
    }
    return this.miss(bytes, start, end, hash, bucket);
  }

  /** The record of a topic name given as a string. */
  internName(name: string): Topic {
    const bytes = Buffer.from(name, "utf8");
    return this.intern(bytes, 0, bytes.length);
  }

  private miss(
    bytes: Buffer,
    start: number,
    end: number,
    hash: number,
    bucket: Topic | undefined,
  ): Topic {
    let topic: Topic | undefined = this.old.get(hash);
    while (topic !== undefined && !topic.is(bytes, start, end)) topic = topic.next;
    if (topic === undefined) {
      const name = topicName(bytes, start, end);
      topic = new Topic(name, copyOf(bytes, start, end), hash, undefined);
    }
    if (++this.youngCount > this.half) {
      this.old = this.young;
      this.young = new Map();
      this.youngCount = 1;
      topic.next = undefined;
    } else topic.next = isLong(bucket) ? undefined : bucket;
    this.young.set(hash, topic);
    return topic;
  }
}

/** Few bytes are copied sooner than a copy is asked for. */
function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  if (copy.length > 128) bytes.copy(copy, 0, start, end);
  else for (let i = 0; i < copy.length; i++) copy[i] = bytes[start + i] as number; // below end
  return copy;
}

/** Clients choose topics, and may choose many of one hash: then the others of it are forgotten. */
function isLong(bucket: Topic | undefined): boolean {
  let length = 0;
  for (let topic = bucket; topic !== undefined; topic = topic.next) length++;
  return length >= bucketMax;
}
