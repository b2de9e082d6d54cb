/**
 * A store whose writes come from many who do not know of each other: what is asked for while a write is under way goes
 * together with the next one, so that each waits for two at most however many there are. Writes of one partition happen in the
 * order in which they were asked for.
 */
import { checkNames } from "./keys.js";
import type { PartitionWrite, Row, Store, StoreFailure } from "./store.js";

type Outcomes = readonly (StoreFailure | null)[];

interface Asked {
  readonly writes: readonly PartitionWrite[];
  readonly resolve: (outcomes: Outcomes) => void;
  readonly reject: (error: unknown) => void;
}

/** Most partitions that are written together. */
const partitionsMax = 256;

export class GatheringStore implements Store {
  private asked: Asked[] = [];
  private isWriting = false;

  constructor(private readonly inner: Store) {}

  get atomic(): boolean {
    return this.inner.atomic;
  }

  read(partition: string, from?: string, limit?: number): Promise<Row[]> {
    return this.inner.read(partition, from, limit);
  }

  async write(writes: readonly PartitionWrite[]): Promise<Outcomes> {
    checkNames(writes);
    return new Promise((resolve, reject) => {
      this.asked.push({ writes, resolve, reject });
      if (!this.isWriting) void this.writeAll();
    });
  }

  partitions(prefix: string, after?: string, limit?: number): Promise<string[]> {
    return this.inner.partitions(prefix, after, limit);
  }

  flush(): Promise<void> {
    return this.inner.flush();
  }

  close(): Promise<void> {
    return this.inner.close();
  }

  private async writeAll(): Promise<void> {
    this.isWriting = true;
    // Whoever asks in this turn is in the first.
    await Promise.resolve();
    while (this.asked.length > 0) {
      const batch = this.next();
      const writes = batch.flatMap((one) => one.writes);
      try {
        const outcomes = await this.inner.write(writes);
        let from = 0;
        for (const one of batch) {
          one.resolve(outcomes.slice(from, from + one.writes.length));
          from += one.writes.length;
        }
      } catch (error) {
        for (const one of batch) one.reject(error);
      }
    }
    this.isWriting = false;
  }

  /** From the first on, until there are enough or a partition comes again; they are not waiting any more. */
  private next(): Asked[] {
    const partitions = new Set<string>();
    let count = 0;
    for (const { writes } of this.asked) {
      const isFull = count > 0 && partitions.size + writes.length > partitionsMax;
      if (isFull || writes.some(({ partition }) => partitions.has(partition))) break;
      for (const { partition } of writes) partitions.add(partition);
      count++;
    }
    return this.asked.splice(0, count);
  }
}
