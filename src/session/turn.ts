/** The time as of the input that is being handled: read once per chunk, not once per packet. */
import type { Clock } from "../lib/clock.js";

export class Turn {
  /** Monotonic whole milliseconds, a turn old at most while input arrives. */
  nowMs: number;

  constructor(private readonly clock: Clock) {
    this.nowMs = Math.floor(clock.monotonicMs());
  }

  /** Calls back at the end of this turn of the event loop. */
  defer(callback: () => void): void {
    this.clock.defer(callback);
  }

  /** Reads the clock. */
  refresh(): number {
    this.nowMs = Math.floor(this.clock.monotonicMs());
    return this.nowMs;
  }
}
