/**
 * Where this node stood with its own numbered forwards when it began to hold a peer's rows: a publish up to that number was
 * matched without them, a later one with them. Only the newest changes are remembered.
 */
import { Ring } from "../lib/ring.js";

/** Changes of rows that are remembered. */
const changesMax = 1024;

interface Change {
  /** Sequence of the peer's rows that was reached. */
  seq: number;
  readonly counter: number;
}

export class RowPositions {
  private readonly changes = new Ring<Change>();

  /** Of another link they say nothing: rows come anew on each. */
  clear(): void {
    this.changes.clear();
  }

  /** The rows up to `seq` are held from now on, and the newest forward has that number. */
  note(seq: number, counter: number): void {
    const last = this.changes.at(this.changes.length - 1);
    if (last !== undefined && last.counter === counter) {
      last.seq = seq;
      return;
    }
    if (this.changes.length === changesMax) this.changes.shift();
    this.changes.push({ seq, counter });
  }

  /**
   * The number of the newest forward that was matched without some of the rows up to `seq`; a later one where that is
   * forgotten. Null: they are not held yet.
   */
  before(seq: number): number | null {
    for (const change of this.changes) if (change.seq >= seq) return change.counter;
    return null;
  }
}
