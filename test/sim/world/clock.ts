/** A node's clock in virtual time. */
import type { Clock, Timer } from "../../../src/lib/clock.js";
import type { Owner, Timeline, TimelineEvent } from "./timeline.js";

/** Wall-clock time at which every world begins. */
export const worldStartMs = Date.UTC(2027, 0, 1);

interface FakeTimer extends Timer {
  readonly event: TimelineEvent;
}

export class FakeClock implements Clock {
  constructor(
    private readonly timeline: Timeline,
    private readonly owner: Owner,
    /** How far this node's wall clock is off; may change while it runs. */
    private readonly wallOffsetMs: () => number,
  ) {}

  wallMs(): number {
    return Math.floor(worldStartMs + this.timeline.nowMs + this.wallOffsetMs());
  }

  monotonicMs(): number {
    return this.timeline.nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const event = this.timeline.schedule(delayMs, this.owner, callback);
    const timer: FakeTimer = { dueMs: event.dueMs, event };
    return timer;
  }

  clearTimer(timer: Timer | undefined): void {
    // Every timer of this clock was made by setTimer above.
    if (timer !== undefined) (timer as FakeTimer).event.run = null;
  }

  defer(callback: () => void): void {
    this.timeline.defer(this.owner, callback);
  }
}
