/**
 * Names of keys in Redis. Partitions are spread over 1,024 buckets by a hash of their names; the bucket's
 * number is the hash tag, so that a partition's keys and the index of its bucket are in one slot, whatever
 * braces a client id holds. The number of buckets and the hash are part of the stored format.
 */
import { hashString } from "../../lib/hash.js";

export const bucketCount = 1024;

/** The version of the layout that a key space is marked with. */
export const layoutVersion = 1;

const slotCount = 16_384;

/** The bucket of a partition. */
export function bucketOf(partition: string): number {
  return hashString(partition) % bucketCount;
}

/** The names of all keys of one node. */
export class KeySpace {
  private readonly base: string;

  /** `prefix` and `node` hold no braces. */
  constructor(prefix: string, node: string) {
    this.base = `${prefix}:${node}`;
  }

  /** Sorted set of a partition's keys, hash of its values, and the index of its bucket. */
  partition(name: string): { bucket: number; keys: [rows: string, values: string, index: string] } {
    const bucket = bucketOf(name);
    const start = `${this.base}:{${bucket}}`;
    return { bucket, keys: [`${start}:rows:${name}`, `${start}:values:${name}`, `${start}:index`] };
  }

  /** Sorted set of the names of a bucket's partitions. */
  index(bucket: number): string {
    return `${this.base}:{${bucket}}:index`;
  }

  /** Hash with what holds for the whole space; in bucket 0. */
  get space(): string {
    return `${this.base}:{0}:space`;
  }

  /** Hash with the node's lease; in bucket 0. */
  get lease(): string {
    return `${this.base}:{0}:lease`;
  }
}

/** The slot of each bucket in a Redis Cluster: CRC16 (XMODEM) of the tag. */
export const bucketSlots: Uint16Array = Uint16Array.from({ length: bucketCount }, (_, bucket) => {
  let crc = 0;
  for (const character of String(bucket)) {
    crc ^= character.charCodeAt(0) << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0);
    crc &= 0xffff;
  }
  return crc % slotCount;
});
