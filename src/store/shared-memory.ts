/**
 * A shared store in memory, for tests and simulations: several nodes of one process have their partitions and leases in it.
 * What is durable is all in one `SharedMemory`; each start of a node sees it through a `MemoryAccess` of its own, which can be
 * cut off.
 */
import type { Clock } from "../lib/clock.js";
import { fenced, MemoryStore } from "./memory.js";
import type { Holder, LeaseBook, RenewAnswer, TakeAnswer } from "./shared.js";
import type { PartitionWrite, Row, Store, StoreFailure } from "./store.js";

/** What is kept of one node. */
class Space {
  readonly content = new MemoryStore();
  /** Of the last start, or of those who adopt. */
  generation = 0;
  /** Who wrote to a partition last, by generation. */
  readonly writers = new Map<string, number>();
  holder: Holder | null = null;
  untilMs = 0;
  /** Incarnations up to this one were adopted, or are being. */
  adopted = 0;
  /** The generation that those who adopt write with. */
  adopters = 0;
  /** A start waits for the lease, and nobody gets a place, until then or until it has said so again. */
  wantedUntilMs = 0;
  /** Until when those who adopt have their places, by name. */
  readonly places = new Map<string, number>();
}

export class SharedMemory {
  private readonly spaces = new Map<string, Space>();

  constructor(
    /** The store's own. */
    readonly clock: Pick<Clock, "monotonicMs">,
    readonly leaseMs: number,
  ) {}

  /** What a new process of that node has. It fences off what an earlier one still writes. */
  open(node: string): MemoryAccess {
    const space = this.space(node);
    return new MemoryAccess(this, node, ++space.generation);
  }

  /** All that is kept of a node. */
  space(node: string): Space {
    let space = this.spaces.get(node);
    if (space === undefined) {
      space = new Space();
      this.spaces.set(node, space);
    }
    return space;
  }

  /** Everything of a node is lost. */
  wipe(node: string): void {
    this.spaces.delete(node);
  }
}

const unreachable: StoreFailure = { kind: "unavailable", why: "the store cannot be reached" };

/** The shared memory as one process has it. */
export class MemoryAccess implements LeaseBook {
  /** False: every call fails, of all stores that came from here too. */
  isReachable = true;
  private readonly own: SpaceStore;
  /** What a call waits for before it takes effect, and once more before its answer comes; null: nothing. */
  delay: (() => Promise<void>) | null = null;

  constructor(
    private readonly memory: SharedMemory,
    node: string,
    generation: number,
  ) {
    this.own = new SpaceStore(this, node, generation, "broken");
  }

  /** The node's own partitions. */
  get store(): Store {
    return this.own;
  }

  storeOf(node: string, generation: number): Store {
    return new SpaceStore(this, node, generation, "fenced");
  }

  take(holder: Holder, insists: boolean): Promise<TakeAnswer> {
    return this.reach(holder.node, (space, nowMs) => {
      for (const [name, untilMs] of space.places) if (untilMs <= nowMs) space.places.delete(name);
      if (space.places.size > 0) {
        if (insists) space.wantedUntilMs = nowMs + this.memory.leaseMs;
        return { kind: "adopting", by: [...space.places.keys()] };
      }
      space.holder = holder;
      space.untilMs = nowMs + this.memory.leaseMs;
      space.wantedUntilMs = 0;
      // Above that of everybody who adopted before.
      this.own.generation = ++space.generation;
      return { kind: "held" };
    });
  }

  renew(holder: Holder): Promise<RenewAnswer> {
    return this.reach(holder.node, (space, nowMs) => {
      if (space.adopted >= holder.incarnation) return "adopted";
      if (space.holder !== null && !isSameStart(space.holder, holder)) return "replaced";
      space.holder = holder;
      space.untilMs = nowMs + this.memory.leaseMs;
      return "held";
    });
  }

  release(holder: Holder): Promise<void> {
    return this.reach(holder.node, (space) => {
      if (space.holder !== null && isSameStart(space.holder, holder)) space.untilMs = 0;
    });
  }

  takePlace(of: Holder, adopter: string, certainlyDead: boolean): Promise<number> {
    return this.reach(of.node, (space, nowMs) => {
      const { holder } = space;
      if (holder === null || holder.dataId !== of.dataId) return 0;
      if (space.wantedUntilMs > nowMs) return 0;
      // A later start, of which others have not heard, has died too if its lease has lapsed.
      const isLater = holder.incarnation > of.incarnation;
      const incarnation = Math.max(holder.incarnation, of.incarnation);
      if (space.adopted < incarnation) {
        if (space.untilMs > nowMs && (isLater || !certainlyDead)) return 0;
        space.adopted = incarnation;
        space.adopters = ++space.generation;
      }
      space.places.set(adopter, nowMs + this.memory.leaseMs);
      return space.adopters;
    });
  }

  renewPlace(of: Holder, adopter: string): Promise<boolean> {
    return this.reach(of.node, (space, nowMs) => {
      const isHeld = (space.places.get(adopter) ?? 0) > nowMs && space.wantedUntilMs <= nowMs;
      if (!isHeld || space.adopted < of.incarnation) return false;
      space.places.set(adopter, nowMs + this.memory.leaseMs);
      return true;
    });
  }

  giveBack(of: Holder, adopter: string): Promise<void> {
    return this.reach(of.node, (space) => {
      if (space.adopted >= of.incarnation) space.places.delete(adopter);
    });
  }

  /** Waits as long as a call takes; false: the store is out of reach. */
  async arrives(): Promise<boolean> {
    if (this.delay !== null) await this.delay();
    return this.isReachable;
  }

  /** What `write` and `read` of a partition go to. */
  spaceOf(node: string): Space {
    return this.memory.space(node);
  }

  private async reach<T>(node: string, work: (space: Space, nowMs: number) => T): Promise<T> {
    if (!(await this.arrives())) throw new Error(unreachable.why);
    const result = work(this.memory.space(node), this.memory.clock.monotonicMs());
    // It has taken effect, and whoever asked may never hear of that.
    if (!(await this.arrives())) throw new Error(unreachable.why);
    return result;
  }
}

/** One node's partitions, written with one generation. */
class SpaceStore implements Store {
  readonly atomic = false;

  constructor(
    private readonly access: MemoryAccess,
    private readonly node: string,
    public generation: number,
    /** What it means that a later generation has written. */
    private readonly replaced: "broken" | "fenced",
  ) {}

  async read(partition: string, from?: string, limit?: number): Promise<Row[]> {
    const rows = await this.reach((content) => content.read(partition, from, limit));
    return rows;
  }

  partitions(prefix: string, after?: string, limit?: number): Promise<string[]> {
    return this.reach((content) => content.partitions(prefix, after, limit));
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    if (!(await this.access.arrives())) return writes.map(() => unreachable);
    const { content, writers } = this.access.spaceOf(this.node);
    const outcomes = await Promise.all(
      writes.map(async (write): Promise<StoreFailure | null> => {
        const { partition } = write;
        // The generation counts before the epoch: whose session was adopted while it lives has lost them all.
        if ((writers.get(partition) ?? 0) > this.generation) {
          const why = `a later process has written to ${partition}`;
          return { kind: this.replaced, why };
        }
        if (write.fence !== undefined && write.fence < content.fenceOf(partition)) {
          return fenced(partition);
        }
        writers.set(partition, this.generation);
        return (await content.write([write]))[0] ?? null;
      }),
    );
    if (!(await this.access.arrives())) return writes.map(() => unreachable);
    return outcomes;
  }

  async flush(): Promise<void> {
    // Nothing would survive a power cut.
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  private async reach<T>(work: (content: MemoryStore) => Promise<T>): Promise<T> {
    if (!(await this.access.arrives())) throw new Error(unreachable.why);
    const result = await work(this.access.spaceOf(this.node).content);
    if (!(await this.access.arrives())) throw new Error(unreachable.why);
    return result;
  }
}

/** Whose data directory may have got another id meanwhile. */
const isSameStart = (a: Holder, b: Holder): boolean => a.incarnation === b.incarnation;
