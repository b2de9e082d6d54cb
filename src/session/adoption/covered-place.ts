/**
 * A place among those who adopt what a node left, which fences nothing with an epoch that the node, when it starts again, could
 * not pass: what is adopted leaves an empty partition behind, and its fence cannot be read from that.
 */
import { raiseStoredBound } from "../../cluster/stamp-keeper.js";
import type { Adoption } from "../../store/shared.js";
import type { PartitionWrite, Row, Store, StoreFailure } from "../../store/store.js";

const uncovered: StoreFailure = {
  kind: "fenced",
  why: "the node whose partition it is could not be told of the epoch",
};

export class CoveredPlace implements Adoption, Store {
  /** The node will start above it. */
  private bound = 0;

  constructor(private readonly place: Adoption) {}

  get store(): Store {
    return this;
  }

  get isLost(): boolean {
    return this.place.isLost;
  }

  get onLost(): () => void {
    return this.place.onLost;
  }

  set onLost(callback: () => void) {
    this.place.onLost = callback;
  }

  done(): Promise<void> {
    return this.place.done();
  }

  get atomic(): boolean {
    return this.place.store.atomic;
  }

  read(partition: string, from?: string, limit?: number): Promise<Row[]> {
    return this.place.store.read(partition, from, limit);
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    const { store } = this.place;
    const highest = Math.max(0, ...writes.map(({ fence = 0 }) => fence));
    if (highest > this.bound) this.bound = await raiseStoredBound(store, highest);
    return highest > this.bound ? writes.map(() => uncovered) : await store.write(writes);
  }

  partitions(prefix: string, after?: string, limit?: number): Promise<string[]> {
    return this.place.store.partitions(prefix, after, limit);
  }

  flush(): Promise<void> {
    return this.place.store.flush();
  }

  async close(): Promise<void> {
    // What it is made of stays open.
  }
}
