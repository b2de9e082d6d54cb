/**
 * The copy of one peer's rows, as far as the cluster follows it: where it stands, and whether it is
 * right. The rows themselves are in the index of the layer above. A snapshot is collected, and replaces them
 * when its end has come: first what is new, then what is gone, a part in each turn. Deltas that come
 * meanwhile are part of it.
 */
import type { Clock } from "../lib/clock.js";
import { hashString } from "../lib/hash.js";
import { ShardedMap } from "../lib/sharded-map.js";
import { rowHash, valueHash } from "./row-table.js";
import { WireError } from "./wire/frames.js";
import type { Body } from "./wire/messages.js";

/** Where the rows are kept. */
export interface RowStore {
  /** Returns the value before. */
  set(key: string, value: number): number;
  /** Those held, and `undefined` for what was looked at in vain; rows may change while it is read. */
  keys(): Iterable<string | undefined>;
}

/** Rows set, or looked at, in one turn, and how long that may take; the clock is read after so many rows. */
const turnRows = 1_024;
const turnMs = 2;
const rowsPerLook = 64;

/** Rows that will be, or are becoming, those of the peer. */
class Snapshot {
  readonly rows = new ShardedMap<number>();
  hash = 0;

  set(key: string, value: number): void {
    const keyHash = hashString(key);
    const before = this.rows.get(key, keyHash) ?? 0;
    if (before !== 0) this.hash = (this.hash - valueHash(keyHash, before)) >>> 0;
    if (value === 0) this.rows.delete(key, keyHash);
    else {
      this.rows.set(key, keyHash, value);
      this.hash = (this.hash + valueHash(keyHash, value)) >>> 0;
    }
  }
}

export class PeerRows {
  /** Sequence of the peer up to which its rows are held; -1: no snapshot on this link yet. */
  seq = -1;
  count = 0;
  private hash = 0;
  private snapshot: Snapshot | null = null;
  /** Sequence of the snapshot, with the deltas after it, while it replaces the rows; else -1. */
  private heldSoonSeq = -1;

  constructor(
    private readonly store: RowStore,
    private readonly clock: Pick<Clock, "defer" | "monotonicMs">,
    /**
     * Called when a snapshot has replaced the rows, or cannot: a row of it was refused, in a turn after its end.
     */
    private readonly onHeld: (fault: WireError | null) => void,
  ) {}

  /** The link is gone: the rows stay as they are until the next snapshot. */
  reset(): void {
    this.seq = -1;
    this.snapshot = null;
    this.heldSoonSeq = -1;
  }

  begin(): void {
    this.reset();
    this.snapshot = new Snapshot();
  }

  /** @throws WireError outside a snapshot, or when it is not keys and values */
  part(rows: Body<"rowsPart">): void {
    const { snapshot } = this;
    if (snapshot === null || this.heldSoonSeq !== -1)
      throw new WireError("rows outside a snapshot");
    eachRow(rows, (key, value) => snapshot.set(key, value));
  }

  /** @throws WireError when the snapshot is not what its end says */
  end({ seq, count, hash }: Body<"rowsEnd">): void {
    const { snapshot } = this;
    if (snapshot === null || this.heldSoonSeq !== -1 || snapshot.rows.size !== count) {
      throw new WireError("snapshot cut off");
    }
    if (snapshot.hash !== hash) throw new WireError("snapshot with a wrong hash");
    this.heldSoonSeq = seq;
    this.go(snapshot, this.steps(snapshot));
  }

  /** Returns false when deltas are missing before this one: a snapshot is needed. */
  delta({ seq, rows }: Body<"rowsDelta">): boolean {
    const { snapshot } = this;
    if (snapshot !== null) return this.deltaInSnapshot(snapshot, seq, rows);
    if (this.seq === -1 || seq <= this.seq) return true;
    if (seq !== this.seq + 1) return false;
    this.seq = seq;
    eachRow(rows, (key, value) => {
      const before = this.store.set(key, value);
      if (before !== 0) {
        this.count--;
        this.hash = (this.hash - rowHash(key, before)) >>> 0;
      }
      if (value === 0) return;
      this.count++;
      this.hash = (this.hash + rowHash(key, value)) >>> 0;
    });
    return true;
  }

  /** Does the copy differ from what the peer says it has? Unknown (false) at another sequence. */
  differs({ seq, count, hash }: { seq: number; count: number; hash: number }): boolean {
    return seq === this.seq && (count !== this.count || hash !== this.hash);
  }

  private deltaInSnapshot(
    snapshot: Snapshot,
    seq: number,
    rows: Body<"rowsDelta">["rows"],
  ): boolean {
    const ended = this.heldSoonSeq !== -1;
    if (ended && seq <= this.heldSoonSeq) return true;
    if (ended && seq !== this.heldSoonSeq + 1) return false;
    if (ended) this.heldSoonSeq = seq;
    eachRow(rows, (key, value) => {
      if (ended) this.store.set(key, value);
      snapshot.set(key, value);
    });
    return true;
  }

  /** Does some steps, and the rest in the turns that follow. */
  private go(snapshot: Snapshot, steps: Iterator<undefined>): void {
    const endMs = this.clock.monotonicMs() + turnMs;
    for (let i = 1; i <= turnRows; i++) {
      if (steps.next().done === true) {
        this.hold(snapshot);
        return;
      }
      if (i % rowsPerLook === 0 && this.clock.monotonicMs() > endMs) break;
    }
    this.clock.defer(() => {
      if (this.snapshot !== snapshot) return;
      try {
        this.go(snapshot, steps);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        this.reset();
        this.onHeld(error);
      }
    });
  }

  /** One step is one row. The snapshot may change between them. */
  private *steps({ rows }: Snapshot): Iterator<undefined> {
    for (const [key, value] of rows) {
      this.store.set(key, value);
      yield undefined;
    }
    for (const key of this.store.keys()) {
      if (key !== undefined && !rows.has(key, hashString(key))) this.store.set(key, 0);
      yield undefined;
    }
  }

  private hold(snapshot: Snapshot): void {
    this.seq = this.heldSoonSeq;
    this.count = snapshot.rows.size;
    this.hash = snapshot.hash;
    this.snapshot = null;
    this.heldSoonSeq = -1;
    this.onHeld(null);
  }
}

function eachRow(rows: Body<"rowsPart">, visit: (key: string, value: number) => void): void {
  for (let i = 0; i < rows.length; i += 2) {
    const key = rows[i];
    const value = rows[i + 1];
    if (typeof key !== "string" || typeof value !== "number") throw new WireError("not a row");
    visit(key, value);
  }
}
