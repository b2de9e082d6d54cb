/**
 * Entries as 32-bit references, to be kept in typed arrays: a row of a single peer stands in the reference
 * itself, anything else in a list. 0: no entry.
 */
import type { Entry } from "./leaf.js";

/** Packed rows below this stand for themselves; it leaves room for 2^26 peers. */
const inlineMax = 2 ** 30;

export class EntryTable {
  private readonly entries: (Entry | undefined)[] = [];
  private readonly free: number[] = [];

  get(ref: number): Entry | undefined {
    return ref > 0 ? ref : ref === 0 ? undefined : this.entries[~ref];
  }

  /** The reference of `entry` where `before` stood until now. */
  replace(before: number, entry: Entry | undefined): number {
    const inline = typeof entry === "number" && entry < inlineMax;
    if (entry === undefined || inline) {
      if (before < 0) this.drop(~before);
      return inline ? entry : 0;
    }
    const at = before < 0 ? ~before : (this.free.pop() ?? this.entries.length);
    this.entries[at] = entry;
    return ~at;
  }

  private drop(at: number): void {
    this.entries[at] = undefined;
    this.free.push(at);
  }
}
