/**
 * Which messages of one publisher have reached one subscriber: one bit each, so that every
 * duplicate, every loss and every overtaking is counted exactly, whatever the order.
 */

export const arrival = { inOrder: 0, late: 1, duplicate: 2 } as const;

export class Tally {
  private bits = new Uint32Array(64);
  /** One more than the highest index seen. */
  private next = 0;

  /** Marks message `index` as seen; says whether it is new, new but overtaken, or a duplicate. */
  mark(index: number): number {
    const word = index >>> 5;
    if (word >= this.bits.length) this.grow(word);
    const bit = 1 << (index & 31);
    // grow() made the place.
    const bits = this.bits[word] as number;
    if ((bits & bit) !== 0) return arrival.duplicate;
    this.bits[word] = bits | bit;
    if (index < this.next) return arrival.late;
    this.next = index + 1;
    return arrival.inOrder;
  }

  private grow(word: number): void {
    const larger = new Uint32Array(Math.max(word + 1, this.bits.length * 2));
    larger.set(this.bits);
    this.bits = larger;
  }
}
