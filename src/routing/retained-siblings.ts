/**
 * What lies side by side in the tree of retained messages: found by name, and walked in the order in which it
 * came. A walk may rest for as long as it likes: it keeps a number, not a place, so it misses nothing that
 * was there when it began and holds nothing that has gone since.
 */

export interface Sibling {
  readonly name: string;
  /** Its number among its siblings; they stand in this order. */
  sequence: number;
  /** Taken out; its place is still filled for a while. */
  gone: boolean;
}

/** Up to so many are found by looking at each. */
const listMax = 8;

export class Siblings<T extends Sibling> {
  /** Those that are not gone. */
  size = 1;
  private items: T[];
  private byName: Map<string, T> | null = null;
  private next = 2;

  constructor(first: T) {
    first.sequence = 1;
    this.items = [first];
  }

  get(name: string): T | undefined {
    if (this.byName !== null) return this.byName.get(name);
    for (const item of this.items) if (item.name === name && !item.gone) return item;
    return undefined;
  }

  /** `item`: a new one, of a name that is not there. */
  add(item: T): void {
    item.sequence = this.next++;
    this.items.push(item);
    this.size++;
    if (this.byName !== null) this.byName.set(item.name, item);
    else if (this.items.length > listMax) this.index();
  }

  delete(item: T): void {
    item.gone = true;
    this.size--;
    this.byName?.delete(item.name);
    if (this.items.length < 2 * this.size + listMax) return;
    this.items = this.items.filter(({ gone }) => !gone);
    if (this.items.length <= listMax) this.byName = null;
  }

  /**
   * The first with a number higher than `sequence`, or undefined. `near`: where it may be found; returns with
   * the place in `Siblings.found`.
   */
  after(sequence: number, near: number): T | undefined {
    const { items } = this;
    let at = near;
    if (at > items.length || (items[at - 1]?.sequence ?? 0) !== sequence) at = this.place(sequence);
    while (at < items.length && items[at]?.gone) at++;
    Siblings.found = at;
    return items[at];
  }

  /** Where `after` found its last one, of whichever siblings. */
  static found = 0;

  /** The place of the first with a number higher than `sequence`. */
  private place(sequence: number): number {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.items[middle]?.sequence ?? 0) <= sequence) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  private index(): void {
    const map = new Map<string, T>();
    for (const item of this.items) if (!item.gone) map.set(item.name, item);
    this.byName = map;
  }
}
