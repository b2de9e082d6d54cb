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

const key = "stamp";
const recordVersion = 1;
const aheadMs = 10_000;
/** Where real time is behind the stamps; small, so that one that starts again and again does not run away. */
const leastAheadMs = 1000;
/** The bound is moved on when stamps are so close to it. */
const marginMs = 500;

export class StampKeeper implements Journaled {
  readonly partition = "node";
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
    const [row] = await store.read(this.partition, key, 1);
    const stored = row?.[0] === key ? decodeRecord(recordVersion, row[1])?.value : undefined;
    if (typeof stored === "number") {
      this.bound = stored;
      this.stamps.observe(stored);
    }
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
