/** The names of levels in filters with wildcards, each once, as small numbers; dropped when unused. */
import { IdTable } from "./id-table.js";
import type { LevelScan } from "./level-scan.js";
import { hashOfText, ownText, standsAt } from "./text-hash.js";

export class LevelNames {
  private readonly table = new IdTable();
  /** By id: the name, and how many hold it. Id 0 is none. */
  private readonly names: string[] = [""];
  private uses = new Int32Array(64);
  private readonly free: number[] = [];

  name(id: number): string {
    return this.names[id] as string; // ids come from here
  }

  /** The id of one level of what was scanned; 0: nobody uses the name. */
  find(scan: LevelScan, level: number): number {
    const hash = scan.hashOf(level);
    const start = scan.startOf(level);
    const end = scan.endOf(level);
    let id = this.table.first(hash);
    while (id !== 0 && !standsAt(this.name(id), scan.text, start, end)) id = this.table.next(hash);
    return id;
  }

  /** The id of a level, for somebody more who holds it. */
  take(scan: LevelScan, level: number): number {
    const found = this.find(scan, level);
    const id = found !== 0 ? found : this.make(scan, level);
    this.uses[id] = (this.uses[id] as number) + 1;
    return id;
  }

  /** Somebody who held it does no more. */
  release(id: number): void {
    const left = (this.uses[id] as number) - 1;
    this.uses[id] = left;
    if (left > 0) return;
    const name = this.name(id);
    this.table.remove(hashOfText(name, 0, name.length), id);
    this.names[id] = "";
    this.free.push(id);
  }

  private make(scan: LevelScan, level: number): number {
    const id = this.free.pop() ?? this.names.length;
    this.names[id] = ownText(scan.text.substring(scan.startOf(level), scan.endOf(level)));
    if (id >= this.uses.length) {
      const uses = new Int32Array(this.uses.length * 2);
      uses.set(this.uses);
      this.uses = uses;
    }
    this.table.add(scan.hashOf(level), id);
    return id;
  }
}
