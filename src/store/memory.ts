/**
 * A store that forgets everything when the process ends: for tests and simulations of whatever is built on the
 * seam. A write counts from the moment of the call.
 */
import { checkNames, checkPartition, compareKeys } from "./keys.js";
import type { Operation, PartitionWrite, Row, Store, StoreFailure } from "./store.js";

/** One partition: values by key, and the keys in order. */
class Partition {
  readonly values = new Map<string, Buffer>();
  readonly keys: string[] = [];

  apply(operation: Operation): void {
    if (operation.kind === "put") this.put(operation.key, operation.value);
    else if (operation.kind === "delete") this.delete(operation.key);
    else {
      const keys = this.keys.splice(...this.span(operation.from, operation.to));
      for (const key of keys) this.values.delete(key);
    }
  }

  /** Position of the first key that is not before `key`. */
  find(key: string): number {
    let low = 0;
    let high = this.keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareKeys(this.keys[middle] ?? "", key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private put(key: string, value: Uint8Array): void {
    if (!this.values.has(key)) this.keys.splice(this.find(key), 0, key);
    this.values.set(key, Buffer.from(value));
  }

  private delete(key: string): void {
    if (this.values.delete(key)) this.keys.splice(this.find(key), 1);
  }

  private span(from: string, to: string): [start: number, count: number] {
    const start = this.find(from);
    return [start, Math.max(0, this.find(to) - start)];
  }
}

export class MemoryStore implements Store {
  readonly atomic: boolean = true;
  private readonly held = new Map<string, Partition>();
  private readonly fences = new Map<string, number>();

  async read(partition: string, from = "", limit = Number.POSITIVE_INFINITY): Promise<Row[]> {
    checkPartition(partition);
    const held = this.held.get(partition);
    if (held === undefined) return [];
    const start = held.find(from);
    return held.keys.slice(start, start + limit).map((key) => {
      // Every key has a value.
      return [key, held.values.get(key) as Buffer];
    });
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    checkNames(writes);
    return writes.map((write) => this.apply(write));
  }

  async partitions(
    prefix: string,
    after?: string,
    limit = Number.POSITIVE_INFINITY,
  ): Promise<string[]> {
    const names = [...this.held.keys()].filter(
      (name) => name.startsWith(prefix) && (after === undefined || compareKeys(name, after) > 0),
    );
    return names.sort(compareKeys).slice(0, limit);
  }

  async flush(): Promise<void> {
    // Nothing would survive a power cut.
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  /** The highest epoch that has written to a partition; 0: none. */
  fenceOf(partition: string): number {
    return this.fences.get(partition) ?? 0;
  }

  private apply({ partition, operations, fence }: PartitionWrite): StoreFailure | null {
    const highest = this.fenceOf(partition);
    if (fence !== undefined && fence < highest) return fenced(partition);
    if (fence !== undefined) this.fences.set(partition, fence);
    let held = this.held.get(partition);
    if (held === undefined) {
      held = new Partition();
      this.held.set(partition, held);
    }
    for (const operation of operations) held.apply(operation);
    if (held.keys.length === 0) this.held.delete(partition);
    return null;
  }
}

/** What a write of an owner gets that is none any more. */
export function fenced(partition: string): StoreFailure {
  return { kind: "fenced", why: `another owner has written to ${partition}` };
}
