/** Waiting times between tries: they double from `firstMs` to `mostMs`, spread to ± 25 %. */
import type { Random } from "./random.js";

export class Backoff {
  private tries = 0;

  constructor(
    private readonly random: Random,
    private readonly firstMs: number,
    private readonly mostMs: number,
  ) {}

  /** The time to wait before the next try, in milliseconds. */
  nextMs(): number {
    const plain = Math.min(this.mostMs, this.firstMs * 2 ** this.tries++);
    return plain * (0.75 + this.random.fraction() / 2);
  }

  /** After a success: the next failure starts from the shortest wait. */
  reset(): void {
    this.tries = 0;
  }
}
