/** The real clock, set forward at will: for what takes seconds or days. Real timers stay as they are. */
import { type Clock, realClock, type Timer } from "../../src/lib/clock.js";

export class ShiftedClock implements Clock {
  private shiftMs = 0;

  /** From now on it is so much later. */
  forward(byMs: number): void {
    this.shiftMs += byMs;
  }

  wallMs(): number {
    return realClock.wallMs() + this.shiftMs;
  }
  monotonicMs(): number {
    return realClock.monotonicMs() + this.shiftMs;
  }
  setTimer(delayMs: number, callback: () => void): Timer {
    return realClock.setTimer(delayMs, callback);
  }
  clearTimer(timer: Timer | undefined): void {
    realClock.clearTimer(timer);
  }
  defer(callback: () => void): void {
    realClock.defer(callback);
  }
}
