/** Filters without wildcards: one flat table from the filter to what is subscribed to it. */
import { EntryTable } from "./entry-table.js";
import { IdTable } from "./id-table.js";
import type { Entry } from "./leaf.js";
import type { LevelScan } from "./level-scan.js";
import { hashOfText } from "./text-hash.js";

/** Where there is no entry. */
const nowhere = -1;

export class ExactTable {
  private readonly table = new IdTable();
  private readonly entries = new EntryTable();
  /** By id: the filter, its hash, its entry. Id 0 is none. */
  private readonly filters: string[] = [""];
  private refs = new Int32Array(64);
  private readonly free: number[] = [];

  /** The place of a filter or topic that was scanned; -1: it is not here. */
  find({ text, hash }: LevelScan): number {
    let id = this.table.first(hash);
    while (id !== 0 && this.filters[id] !== text) id = this.table.next(hash);
    return id === 0 ? nowhere : id;
  }

  /** The place of a filter that was scanned, made when it is missing: it must get an entry. */
  make(scan: LevelScan): number {
    const found = this.find(scan);
    if (found !== nowhere) return found;
    const id = this.free.pop() ?? this.filters.length;
    this.filters[id] = scan.text;
    if (id >= this.refs.length) {
      const refs = new Int32Array(this.refs.length * 2);
      refs.set(this.refs);
      this.refs = refs;
    }
    this.table.add(scan.hash, id);
    return id;
  }

  get(place: number): Entry | undefined {
    return place === nowhere ? undefined : this.entries.get(this.refs[place] as number);
  }

  /** Sets the entry of a place; `undefined` deletes the filter. */
  set(place: number, entry: Entry | undefined): void {
    this.refs[place] = this.entries.replace(this.refs[place] as number, entry);
    if (entry !== undefined) return;
    const filter = this.filters[place] as string; // a place that `make` gave
    this.table.remove(hashOfText(filter, 0, filter.length), place);
    this.filters[place] = "";
    this.free.push(place);
  }

  /** One more than the highest place ever in use: whoever walks all of them starts at 0. */
  get end(): number {
    return this.filters.length;
  }

  /** The filter of a place that has an entry. */
  filterAt(place: number): string {
    return this.filters[place] as string; // as above
  }
}
