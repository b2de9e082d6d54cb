/**
 * The durable store of a node in a world: it outlives the node's process. A write takes a while; a crash leaves
 * the one under way done as a whole or not at all.
 */
import { MemoryStore } from "../../../src/store/memory.js";
import type { PartitionWrite, Store, StoreFailure } from "../../../src/store/store.js";
import type { Dice } from "./dice.js";
import type { Owner, Timeline } from "./timeline.js";

export class FakeStore {
  /** What is durable. */
  content = new MemoryStore();
  private readonly underWay = new Set<readonly PartitionWrite[]>();

  constructor(
    private readonly timeline: Timeline,
    private readonly dice: Dice,
  ) {}

  /** The store as one process has it. */
  open(owner: Owner): Store {
    return {
      atomic: true,
      read: (partition, from, limit) => this.content.read(partition, from, limit),
      partitions: (prefix, after, limit) => this.content.partitions(prefix, after, limit),
      write: (writes) => this.write(writes, owner),
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  }

  /** The process is gone. */
  crash(): void {
    for (const writes of this.underWay) {
      if (this.dice.chance(0.5)) void this.content.write(writes);
    }
    this.underWay.clear();
  }

  /** All data is lost. */
  wipe(): void {
    this.content = new MemoryStore();
  }

  private write(
    writes: readonly PartitionWrite[],
    owner: Owner,
  ): Promise<readonly (StoreFailure | null)[]> {
    // For the dead no answer comes.
    if (owner.dead) return new Promise(() => undefined);
    this.underWay.add(writes);
    return new Promise((resolve) => {
      this.timeline.schedule(this.dice.between(0.2, 5), owner, () => {
        this.underWay.delete(writes);
        void this.content.write(writes).then(resolve);
      });
    });
  }
}
