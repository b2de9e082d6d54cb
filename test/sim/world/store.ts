/**
 * The durable store of a node in a world: it outlives the node's process. Writes and reads take a while; a crash
 * leaves of what is under way all or nothing or, where the store is not atomic over partitions, any part. What a failed
 * write was about may be there all the same, and so may one whose answer never came.
 */
import { MemoryStore } from "../../../src/store/memory.js";
import type { PartitionWrite, Row, Store, StoreFailure } from "../../../src/store/store.js";
import type { Dice } from "./dice.js";
import type { Owner, Timeline } from "./timeline.js";

type Outcomes = readonly (StoreFailure | null)[];

export class FakeStore {
  /** What is durable. */
  content: Pick<Store, "read" | "write" | "partitions"> = new MemoryStore();
  /** All writes of a call happen, or none. */
  atomic = true;
  /** How long a write, and a read, may take. */
  writeMsMax = 5;
  readMsMax = 0;
  /** Planted: it says that a write is durable when that has only begun. */
  answersEarly = false;
  /** What becomes of writes at present; null: they succeed. */
  failing: "full" | "unavailable" | null = null;
  private readonly underWay = new Set<readonly PartitionWrite[]>();

  constructor(
    private readonly timeline: Timeline,
    private readonly dice: Dice,
  ) {}

  /** The store as one process has it. */
  open(owner: Owner): Store {
    return {
      atomic: this.atomic,
      read: (partition, from, limit) =>
        this.read(owner, () => this.content.read(partition, from, limit)),
      partitions: (prefix, after, limit) => this.content.partitions(prefix, after, limit),
      write: (writes) => this.write(writes, owner),
      flush: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  }

  /** The process is gone. */
  crash(): void {
    for (const writes of this.underWay) void this.content.write(this.someOf(writes));
    this.underWay.clear();
  }

  /** All data is lost. */
  wipe(): void {
    this.content = new MemoryStore();
  }

  private read(owner: Owner, rows: () => Promise<Row[]>): Promise<Row[]> {
    if (this.readMsMax === 0) return rows();
    return new Promise((resolve, reject) => {
      this.timeline.schedule(this.dice.between(0, this.readMsMax), owner, () => {
        if (this.failing === "unavailable") reject(new Error("the store cannot be reached"));
        else rows().then(resolve, reject);
      });
    });
  }

  private write(writes: readonly PartitionWrite[], owner: Owner): Promise<Outcomes> {
    // For the dead no answer comes.
    if (owner.dead) return new Promise(() => undefined);
    this.underWay.add(writes);
    const done = new Promise<Outcomes>((resolve) => {
      this.timeline.schedule(this.dice.between(0.2, this.writeMsMax), owner, () => {
        this.underWay.delete(writes);
        if (this.failing === null) void this.content.write(writes).then(resolve);
        else void this.fail(writes, this.failing).then(resolve);
      });
    });
    return this.answersEarly ? Promise.resolve(writes.map(() => null)) : done;
  }

  /** Not done as far as is known: some of it may be, and a store that is not atomic says of what it is sure. */
  private async fail(
    writes: readonly PartitionWrite[],
    kind: "full" | "unavailable",
  ): Promise<Outcomes> {
    const failure: StoreFailure = { kind, why: "the world says so" };
    const done = kind === "full" && this.atomic ? [] : this.someOf(writes);
    const outcomes = new Map<PartitionWrite, StoreFailure | null>();
    for (const [i, outcome] of (await this.content.write(done)).entries()) {
      const write = done[i];
      if (write !== undefined && !this.atomic && this.dice.chance(0.5))
        outcomes.set(write, outcome);
    }
    return writes.map((write) => outcomes.get(write) ?? (outcomes.has(write) ? null : failure));
  }

  private someOf(writes: readonly PartitionWrite[]): readonly PartitionWrite[] {
    if (this.atomic) return this.dice.chance(0.5) ? writes : [];
    return writes.filter(() => this.dice.chance(0.5));
  }
}
