/**
 * The levels of a topic or filter, found and hashed in one pass without making strings of them. One scan
 * is used again and again: it is valid until the next `read`.
 */
import { emptyHash, hashEnd, hashOn } from "./text-hash.js";

const slash = 0x2f;
const plus = 0x2b;
const many = 0x23;

/** How many of the first levels have a hash of their own, all together. */
export const prefixLevels = 3;

export class LevelScan {
  text = "";
  /** How many levels; there is always one. */
  count = 0;
  /** Hash of the whole text. */
  hash = 0;
  /** Is a wildcard in it? */
  wild = false;
  /** Hashes of the first level, the first two, the first three; 0 where there are fewer. */
  readonly prefixes = [0, 0, 0];
  private hashes = new Int32Array(16);
  private starts = new Int32Array(17);

  read(text: string): void {
    this.text = text;
    this.prefixes.fill(0);
    let whole = emptyHash;
    let level = emptyHash;
    let count = 0;
    this.wild = false;
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i);
      if (code === slash) {
        this.end(count++, i, level, whole);
        level = emptyHash;
      } else {
        level = hashOn(level, code);
        if (code === plus || code === many) this.wild = true;
      }
      whole = hashOn(whole, code);
    }
    this.end(count, text.length, level, whole);
    this.count = count + 1;
    this.hash = hashEnd(whole);
  }

  /** Hash of one level. */
  hashOf(level: number): number {
    return this.hashes[level] as number; // below `count`
  }

  startOf(level: number): number {
    return this.starts[level] as number; // as above
  }

  endOf(level: number): number {
    return (this.starts[level + 1] as number) - 1; // as above, and there is one more
  }

  isPlus(level: number): boolean {
    return this.isOnly(level, plus);
  }

  /** Does it end with the level `#`? */
  get endsMany(): boolean {
    return this.isOnly(this.count - 1, many);
  }

  private isOnly(level: number, code: number): boolean {
    const start = this.startOf(level);
    return this.endOf(level) === start + 1 && this.text.charCodeAt(start) === code;
  }

  private end(level: number, at: number, hash: number, whole: number): void {
    if (level === this.hashes.length) this.grow();
    this.hashes[level] = hashEnd(hash);
    this.starts[level + 1] = at + 1;
    if (level < prefixLevels) this.prefixes[level] = hashEnd(whole);
  }

  private grow(): void {
    const hashes = new Int32Array(this.hashes.length * 2);
    const starts = new Int32Array(hashes.length + 1);
    hashes.set(this.hashes);
    starts.set(this.starts);
    this.hashes = hashes;
    this.starts = starts;
  }
}
