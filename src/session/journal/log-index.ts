/**
 * The records of one session's log that are in the store, oldest first: number, number of the first message, and how
 * many of its messages are still due. Records of which none is due go when the next checkpoint is written.
 * Plain numbers in one array: of a hundred thousand idle sessions nothing else is in memory.
 */
import { pack, unpack } from "./packed.js";

const stride = 3;
/** Numbers and first messages; what is due of them goes up and down. */
const growing = 2;
/** Of every index that is packed. */
const nothing: number[] = [];
const firstOf = 1;
const liveOf = 2;

export class LogIndex {
  private held: number[] = [];
  /** The same as a text while nobody uses it; null: it is in use. */
  private packed: string | null = null;
  /** Records that nothing is due of. */
  dead = 0;

  get length(): number {
    return this.items.length / stride;
  }

  /** The next record begins; nothing is due of it yet. */
  push(number: number, firstSeq: number): void {
    this.items.push(number, firstSeq, 0);
    this.dead++;
  }

  /** Of the newest record, `count` more messages are due. */
  addLive(count: number): void {
    const { items } = this;
    const at = items.length - 1;
    const live = items[at] as number; // there is a newest, or nothing could be due
    if (live === 0 && count > 0) this.dead--;
    items[at] = live + count;
    if (live > 0 && live + count === 0) this.dead++;
  }

  /** At start: a message of some record is due. */
  restoreLive(seq: number): void {
    const at = this.placeOf(seq);
    if (at < 0) return;
    const live = this.items[at + liveOf] as number; // within the array
    if (live === 0) this.dead--;
    this.items[at + liveOf] = live + 1;
  }

  /** The newest record holds no message and nothing else: it is not written. */
  pop(): void {
    const { items } = this;
    if (items[items.length - 1] === 0) this.dead--;
    items.length -= stride;
  }

  /** A message is done with. */
  release(seq: number): void {
    const at = this.placeOf(seq);
    if (at < 0) return;
    const live = (this.items[at + liveOf] as number) - 1;
    this.items[at + liveOf] = live;
    if (live === 0) this.dead++;
  }

  /** The place of the record that holds a message, for `numberAt`; -1: none does. */
  indexOf(seq: number): number {
    return this.placeOf(seq) / stride;
  }

  /** Takes little memory until it is used again. */
  pack(): void {
    this.packed ??= pack(this.held, stride, growing);
    this.held = nothing;
  }

  numberAt(index: number): number {
    return this.items[index * stride] ?? -1;
  }

  /** The first number of a message in the record at this place, or of the one to come. */
  firstSeqAt(index: number): number {
    return this.items[index * stride + firstOf] ?? Number.POSITIVE_INFINITY;
  }

  /**
   * Takes out the records of which nothing is due; `onRange` is told of them, from one number to before another.
   */
  sweep(onRange: (from: number, to: number) => void): void {
    const { items } = this;
    const kept: number[] = [];
    let from = -1;
    let to = -1;
    for (let at = 0; at < items.length; at += stride) {
      const number = items[at] as number; // within the array, as below
      if (items[at + liveOf] === 0) {
        if (from < 0) from = number;
        to = number + 1;
        continue;
      }
      if (from >= 0) onRange(from, to);
      from = -1;
      kept.push(number, items[at + firstOf] as number, items[at + liveOf] as number);
    }
    if (from >= 0) onRange(from, to);
    this.held = kept;
    this.dead = 0;
  }

  private get items(): number[] {
    if (this.packed !== null) {
      this.held = unpack(this.packed, stride, growing);
      this.packed = null;
    }
    return this.held;
  }

  /** The last record that begins at or before a message. */
  private placeOf(seq: number): number {
    const { items } = this;
    let low = 0;
    let high = items.length / stride;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((items[middle * stride + firstOf] as number) <= seq) low = middle + 1;
      else high = middle;
    }
    return (low - 1) * stride;
  }
}
