/** Choices from repeatable randomness. */
import { mix32 } from "../../../src/lib/hash.js";
import { seededRandom } from "../../../src/lib/random.js";
import type { Random } from "../../../src/lib/random.js";

export class Dice implements Random {
  private readonly random: Random;

  constructor(private readonly seed: number) {
    // Small seeds differ in few bits, which xorshift needs long to spread.
    this.random = seededRandom(mix32(seed + 0x9e3779b9));
  }

  fraction(): number {
    return this.random.fraction();
  }

  bytes(length: number): Buffer {
    return this.random.bytes(length);
  }

  /** An integer from 0 to `below` − 1. */
  integer(below: number): number {
    return Math.floor(this.random.fraction() * below);
  }

  /** A number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.random.fraction() * (most - least);
  }

  chance(probability: number): boolean {
    return this.random.fraction() < probability;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError("nothing to pick from");
    // The index is within the array.
    return items[this.integer(items.length)] as T;
  }

  /** `items` in another order. */
  shuffle<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, order: this.random.fraction() }))
      .sort((a, b) => a.order - b.order)
      .map(({ item }) => item);
  }

  /** Dice of their own for `purpose`, independent of these and of how often these were thrown. */
  fork(purpose: number): Dice {
    return new Dice(mix32(Math.imul(this.seed, 0x5bd1e995) + mix32(purpose + 1)));
  }
}
