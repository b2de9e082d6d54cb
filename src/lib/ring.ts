/** A first-in first-out queue on a circular array: no allocation per item once it has grown. */
export class Ring<T> {
  private items: (T | undefined)[];
  private head = 0;
  private count = 0;

  /** `initial` places are made at the first push (a power of two); an empty ring costs nothing. */
  constructor(private readonly initial = 16) {
    this.items = [];
  }

  get length(): number {
    return this.count;
  }

  push(item: T): void {
    if (this.count === this.items.length) this.grow();
    this.items[(this.head + this.count) & (this.items.length - 1)] = item;
    this.count++;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    if (this.count === this.items.length) this.grow();
    this.head = (this.head - 1) & (this.items.length - 1);
    this.items[this.head] = item;
    this.count++;
  }

  /** Takes the oldest item. */
  shift(): T | undefined {
    if (this.count === 0) return undefined;
    const item = this.items[this.head];
    this.items[this.head] = undefined;
    this.head = (this.head + 1) & (this.items.length - 1);
    this.count--;
    // A queue that was once long must not hold its memory for ever.
    if (this.count === 0 && this.items.length > 1024) this.clear();
    return item;
  }

  /** The item at `index` from the oldest, or undefined beyond the end. */
  at(index: number): T | undefined {
    if (index < 0 || index >= this.count) return undefined;
    return this.items[(this.head + index) & (this.items.length - 1)];
  }

  /** The oldest item, left in place. */
  peek(): T | undefined {
    return this.count === 0 ? undefined : this.items[this.head];
  }

  clear(): void {
    this.items = [];
    this.head = 0;
    this.count = 0;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let i = 0; i < this.count; i++) {
      // Within the count every place holds an item.
      yield this.items[(this.head + i) & (this.items.length - 1)] as T;
    }
  }

  private grow(): void {
    const items = new Array<T | undefined>(Math.max(this.initial, this.items.length * 2));
    for (let i = 0; i < this.count; i++) items[i] = this.at(i);
    this.items = items;
    this.head = 0;
  }
}
