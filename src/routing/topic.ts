/**
 * The topics in use, interned by their bytes: a PUBLISH on a topic seen lately costs one hash and one
 * comparison, no string, and finds the result of the last match with it. Bounded: two halves, the
 * older is dropped when the younger is full.
 */
import { topicName } from "../protocol/topics.js";
import { hashBytes } from "../lib/hash.js";
import type { Targets } from "./targets.js";

/** A valid topic name. Two records of one name may exist for a while; compare names, not records. */
export class Topic {
  /** Who gets a message on this topic, as of route generation `generation`. */
  targets: Targets | null = null;
  generation = -1;

  constructor(
    readonly name: string,
    /** The name in UTF-8, without a length prefix. */
    readonly bytes: Buffer,
    readonly hash: number,
    /** Next record in the same bucket. */
    readonly next: Topic | undefined,
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
    const hash = hashBytes(bytes, start, end);
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
    let found: Topic | undefined = this.old.get(hash);
    while (found !== undefined && !found.is(bytes, start, end)) found = found.next;
    const name = found?.name ?? topicName(bytes, start, end);
    const own = found?.bytes ?? Buffer.from(name, "utf8");
    const topic = new Topic(name, own, hash, bucket);
    if (found !== undefined) {
      topic.targets = found.targets;
      topic.generation = found.generation;
    }
    if (++this.youngCount > this.half) {
      this.old = this.young;
      this.young = new Map();
      this.youngCount = 1;
      return this.keep(new Topic(name, own, hash, undefined));
    }
    return this.keep(topic);
  }

  private keep(topic: Topic): Topic {
    this.young.set(topic.hash, topic);
    return topic;
  }
}
