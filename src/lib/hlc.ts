/**
 * Hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014). A stamp is one integer,
 * wall-clock milliseconds times 1,024 plus a counter: it grows with every call and with every stamp
 * seen from elsewhere, stays close to real time, and fits a double until the year 2248.
 */
import type { Clock } from "./clock.js";

/** Stamps that one millisecond has room for. */
export const ticksPerMs = 1024;

export class HybridClock {
  /** Told of every stamp that is given, and of every one seen that is the highest so far. */
  onMoved: () => void = () => undefined;
  private last = 0;

  constructor(private readonly clock: Clock) {}

  /** The highest stamp given or observed so far. */
  get latest(): number {
    return Math.floor(this.last);
  }

  /** Real time as a stamp. */
  get realNow(): number {
    return Math.floor(this.clock.wallMs() * ticksPerMs);
  }

  /** No stamp that is given at this moment is lower. */
  get present(): number {
    return Math.max(this.latest, this.realNow);
  }

  /** A stamp higher than any given or observed before. */
  next(): number {
    this.last = Math.max(this.last + 1, this.clock.wallMs() * ticksPerMs);
    this.onMoved();
    return Math.floor(this.last);
  }

  /** Takes note of a stamp from elsewhere: later stamps are higher. */
  observe(stamp: number): void {
    if (stamp <= this.last) return;
    this.last = stamp;
    this.onMoved();
  }
}

/** The wall-clock milliseconds in a stamp. */
export function stampMs(stamp: number): number {
  return Math.floor(stamp / ticksPerMs);
}
