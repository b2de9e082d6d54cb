/** The buckets of retained messages: what nodes compare at link-up, and how the store is divided. */
import { hashString, mix32 } from "../lib/hash.js";
import type { RetainedEntry } from "./retained-entry.js";

export const retainedBuckets = 256;
export const retainedBucket = (topic: string): number => hashString(topic) % retainedBuckets;

/** One number per bucket; equal on two nodes that hold the same entries. */
export class RetainedDigest {
  readonly sums = new Uint32Array(retainedBuckets);

  add(entry: RetainedEntry, sign: 1 | -1): void {
    const hash = hashString(entry.topic);
    const stampHash = mix32(entry.stamp >>> 0) ^ mix32(Math.floor(entry.stamp / 2 ** 32));
    const writer = mix32(hashString(entry.publisher) + (entry.isTombstone ? 1 : 0));
    const bucket = hash % retainedBuckets;
    this.sums[bucket] = (this.sums[bucket] ?? 0) + sign * mix32(hash ^ stampHash ^ writer);
  }
}
