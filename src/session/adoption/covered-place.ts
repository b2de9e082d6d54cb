/**
 * A place among those who adopt what a node left, which fences nothing with an epoch that the node, when it starts again, could
 * not pass: what is adopted leaves an empty partition behind, and its fence cannot be read from that. It can be written through when it
 * was given back, too: when another node dies later, what this one had for that is still there.
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
  private isGivenBack = false;
  /** Taken once more, while there are users. */
  private again: Promise<Adoption | null> | null = null;
  private users = 0;

  constructor(
    private readonly place: Adoption,
    /** Takes it once more; null: the node lives again. */
    private readonly takeAgain: () => Promise<Adoption | null>,
  ) {}

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
    this.isGivenBack = true;
    return this.place.done();
  }

  get atomic(): boolean {
    return this.place.store.atomic;
  }

  read(partition: string, from?: string, limit?: number): Promise<Row[]> {
    return this.place.store.read(partition, from, limit);
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    if (!this.isGivenBack) return await this.writeTo(this.place, writes);
    this.users++;
    this.again ??= this.takeAgain();
    const { again } = this;
    try {
      const place = await again;
      return place === null ? writes.map(() => uncovered) : await this.writeTo(place, writes);
    } finally {
      if (--this.users === 0) {
        this.again = null;
        void again.then((place) => place?.done()).catch(() => undefined);
      }
    }
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

  private async writeTo(
    { store }: Adoption,
    writes: readonly PartitionWrite[],
  ): Promise<readonly (StoreFailure | null)[]> {
    const highest = Math.max(0, ...writes.map(({ fence = 0 }) => fence));
    if (highest > this.bound) this.bound = await raiseStoredBound(store, highest);
    return highest > this.bound ? writes.map(() => uncovered) : await store.write(writes);
  }
}
