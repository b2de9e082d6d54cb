/**
 * Finds small integers (ids of records kept elsewhere) by a 32-bit hash of what they stand for: pairs of
 * hash and id in flat arrays, outside the reach of the garbage collector. It is cut into shards that grow
 * one by one, so that growing never takes longer than moving a 256th of it. An id is never 0.
 */

const shardBits = 8;
const shardCount = 1 << shardBits;
const firstSlots = 4;

export class IdTable {
  private readonly shards: Int32Array[] = [];
  private readonly counts = new Int32Array(shardCount);
  /** Where the last `first` or `next` found something. */
  private shard: Int32Array;
  private at = 0;

  constructor() {
    for (let i = 0; i < shardCount; i++) this.shards.push(new Int32Array(firstSlots * 2));
    this.shard = this.shards[0] as Int32Array; // just made
  }

  /** An id with that hash; 0: there is none. `next` goes on with others of the same hash. */
  first(hash: number): number {
    const shard = this.shards[hash >>> (32 - shardBits)] as Int32Array; // there is one for all 8 bits
    this.shard = shard;
    return this.seek(hash | 0, (hash << 1) & (shard.length - 1));
  }

  /** Another id with the hash that `first` was called with, before any other call; 0: there is none. */
  next(hash: number): number {
    return this.seek(hash | 0, (this.at + 2) & (this.shard.length - 1));
  }

  add(hash: number, id: number): void {
    const which = hash >>> (32 - shardBits);
    let shard = this.shards[which] as Int32Array; // as above
    const count = (this.counts[which] as number) + 1;
    this.counts[which] = count;
    // At most 3/4 full.
    if (count * 8 > shard.length * 3) {
      shard = grown(shard);
      this.shards[which] = shard;
    }
    insert(shard, hash | 0, id);
  }

  /** Removes an id that is there with that hash. */
  remove(hash: number, id: number): void {
    let found = this.first(hash);
    while (found !== id && found !== 0) found = this.next(hash);
    if (found === 0) return;
    const which = hash >>> (32 - shardBits);
    this.counts[which] = (this.counts[which] as number) - 1;
    closeGap(this.shard, this.at);
  }

  private seek(hash: number, from: number): number {
    const { shard } = this;
    const mask = shard.length - 1;
    for (let at = from; ; at = (at + 2) & mask) {
      const id = shard[at + 1] as number; // the mask keeps it inside, and there is always a free slot
      if (id === 0 || shard[at] === hash) {
        this.at = at;
        return id;
      }
    }
  }
}

function insert(shard: Int32Array, hash: number, id: number): void {
  const mask = shard.length - 1;
  let at = (hash << 1) & mask;
  while (shard[at + 1] !== 0) at = (at + 2) & mask;
  shard[at] = hash;
  shard[at + 1] = id;
}

function grown(shard: Int32Array): Int32Array {
  const larger = new Int32Array(shard.length * 2);
  for (let at = 0; at < shard.length; at += 2) {
    const id = shard[at + 1] as number; // within the array
    if (id !== 0) insert(larger, shard[at] as number, id);
  }
  return larger;
}

/** Moves back what would not be found any more behind a free slot. */
function closeGap(shard: Int32Array, from: number): void {
  const mask = shard.length - 1;
  let gap = from;
  for (let at = (gap + 2) & mask; shard[at + 1] !== 0; at = (at + 2) & mask) {
    const home = ((shard[at] as number) << 1) & mask;
    // Does its home lie behind the gap? Then it stays.
    if (((at - home) & mask) < ((at - gap) & mask)) continue;
    shard[gap] = shard[at] as number;
    shard[gap + 1] = shard[at + 1] as number;
    gap = at;
  }
  shard[gap] = 0;
  shard[gap + 1] = 0;
}
