/**
 * The copy of one peer's rows, as far as the cluster follows it: where it stands, and whether it is
 * right. The rows themselves are in the index of the layer above. A snapshot replaces them at its end.
 */
import { rowHash } from "./row-table.js";
import type { Body } from "./wire/messages.js";
import { WireError } from "./wire/frames.js";

/** Where the rows are kept. */
export interface RowStore {
  /** Returns the value before. */
  set(key: string, value: number): number;
  replace(rows: ReadonlyMap<string, number>): void;
}

export class PeerRows {
  /** Sequence of the peer up to which its rows are held; -1: no snapshot on this link yet. */
  seq = -1;
  count = 0;
  private hash = 0;
  private snapshot: Map<string, number> | null = null;

  constructor(private readonly store: RowStore) {}

  /** The link is gone: the rows stay as they are until the next snapshot. */
  reset(): void {
    this.seq = -1;
    this.snapshot = null;
  }

  begin(): void {
    this.snapshot = new Map();
  }

  /** @throws WireError outside a snapshot, or when it is not keys and values */
  part(rows: Body<"rowsPart">): void {
    const { snapshot } = this;
    if (snapshot === null) throw new WireError("rows outside a snapshot");
    eachRow(rows, (key, value) => void snapshot.set(key, value));
  }

  /** @throws WireError when the snapshot is not what its end says */
  end({ seq, count, hash }: Body<"rowsEnd">): void {
    const { snapshot } = this;
    if (snapshot === null || snapshot.size !== count) throw new WireError("snapshot cut off");
    let sum = 0;
    for (const [key, value] of snapshot) sum = (sum + rowHash(key, value)) >>> 0;
    if (sum !== hash) throw new WireError("snapshot with a wrong hash");
    this.snapshot = null;
    this.store.replace(snapshot);
    this.seq = seq;
    this.count = count;
    this.hash = hash;
  }

  /** Returns false when deltas are missing before this one: a snapshot is needed. */
  delta({ seq, rows }: Body<"rowsDelta">): boolean {
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
}

function eachRow(rows: Body<"rowsPart">, visit: (key: string, value: number) => void): void {
  for (let i = 0; i < rows.length; i += 2) {
    const key = rows[i];
    const value = rows[i + 1];
    if (typeof key !== "string" || typeof value !== "number") throw new WireError("not a row");
    visit(key, value);
  }
}
