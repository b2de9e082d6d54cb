/**
 * A map of strings for a million keys: many small maps instead of a large one. A large one is copied whole when it
 * grows, and looked through whole by the garbage collector, which holds the event loop up for tens of milliseconds.
 * Whoever uses it has the keys' hashes (hash.ts) anyway.
 */

const shards = 1024;

export class ShardedMap<V> {
  size = 0;
  private readonly maps: (Map<string, V> | undefined)[] = [];

  /** `hash` is that of the key, here and below. */
  get(key: string, hash: number): V | undefined {
    return this.maps[hash % shards]?.get(key);
  }

  has(key: string, hash: number): boolean {
    return this.maps[hash % shards]?.has(key) ?? false;
  }

  set(key: string, hash: number, value: V): void {
    const map = this.mapOf(hash);
    const before = map.size;
    map.set(key, value);
    this.size += map.size - before;
  }

  delete(key: string, hash: number): boolean {
    const isGone = this.maps[hash % shards]?.delete(key) ?? false;
    if (isGone) this.size--;
    return isGone;
  }

  /** Entries may come and go meanwhile; of those that come, not all are given. */
  *entries(): IterableIterator<[string, V]> {
    for (const map of this.maps) if (map !== undefined) yield* map;
  }

  [Symbol.iterator](): IterableIterator<[string, V]> {
    return this.entries();
  }

  private mapOf(hash: number): Map<string, V> {
    while (this.maps.length < shards) this.maps.push(undefined);
    const place = hash % shards;
    const known = this.maps[place];
    if (known !== undefined) return known;
    const map = new Map<string, V>();
    this.maps[place] = map;
    return map;
  }
}
