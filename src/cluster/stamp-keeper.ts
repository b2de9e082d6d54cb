/**
 * Keeps a bound on disk that no stamp given or seen by this node has passed, so that its clock starts above all of
 * them even if the machine's clock was set back: record `stamp` of the partition `node`. Written some
 * seconds ahead, so that it costs a commit every now and then only.
 */
import type { HybridClock } from "../lib/hlc.js";
import { ticksPerMs } from "../lib/hlc.js";
import type { Commits } from "../store/commits.js";
import type { Journaled } from "../store/journaled.js";
import { decodeRecord, encodeRecord } from "../store/record.js";
import type { Operation, Store } from "../store/store.js";

const ownPartition = "node";
const key = "stamp";
const recordVersion = 1;
const aheadMs = 10_000;
/** Where real time is behind the stamps; small, so that one that starts again and again does not run away. */
const leastAheadMs = 1000;
/** The bound is moved on when stamps are so close to it. */
const marginMs = 500;

export class StampKeeper implements Journaled {
  readonly partition = ownPartition;
  readonly fence = undefined;
  touched = false;
  /** Stamps up to this one are covered once the commit under way is done. */
  private bound = 0;
  private loaded = false;

  constructor(
    private readonly stamps: HybridClock,
    private readonly commits: Pick<Commits, "touch">,
  ) {
    stamps.onMoved = () => this.note();
  }

  /** Starts the clock above every stamp of the earlier processes. */
  async load(store: Pick<Store, "read">): Promise<void> {
    this.bound = await readBound(store);
    this.stamps.observe(this.bound);
    this.loaded = true;
    this.note();
  }

  /** A stamp was given or seen. */
  private note(): void {
    // The bound that is stored may be higher: it must not be overwritten before it is known.
    if (!this.loaded) return;
    const { latest, realNow } = this.stamps;
    if (latest + marginMs * ticksPerMs <= this.bound) return;
    this.bound = Math.max(realNow + aheadMs * ticksPerMs, latest + leastAheadMs * ticksPerMs);
    this.commits.touch(this);
  }

  collect(into: Operation[]): void {
    into.push({ kind: "put", key, value: encodeRecord(recordVersion, this.bound) });
  }

  committed(): void {}

  /** Nobody else writes here. */
  fenced(): void {}
}

/** 0: there is none. */
async function readBound(store: Pick<Store, "read">): Promise<number> {
  const [row] = await store.read(ownPartition, key, 1);
  const stored = row?.[0] === key ? decodeRecord(recordVersion, row[1])?.value : undefined;
  return typeof stored === "number" ? stored : 0;
}

/**
 * Sees to it that a node which is dead, and whose store that is, will start above a stamp. Returns the bound that it will start
 * above; 0: its store does not take it. Several may do so at once. Rejects when the store cannot be read.
 */
export async function raiseStoredBound(
  store: Pick<Store, "read" | "write">,
  stamp: number,
): Promise<number> {
  const before = await readBound(store);
  if (before >= stamp) return before;
  const bound = stamp + leastAheadMs * ticksPerMs;
  const operation = { kind: "put", key, value: encodeRecord(recordVersion, bound) } as const;
  // The bound is the epoch of its own write: a lower one never takes the place of a higher one.
  const write = { partition: ownPartition, fence: bound, operations: [operation] };
  const [failure] = await store.write([write]);
  if (!failure) return bound;
  const present = await readBound(store);
  return present >= stamp ? present : 0;
}
