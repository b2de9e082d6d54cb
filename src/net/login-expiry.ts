/** The moment when what a client was let in by expires, by the wall clock, which may be set back and forth. */
import type { Clock } from "../lib/clock.js";
import type { TimerWheel, WheelEntry } from "../lib/timer-wheel.js";

/** The clock is looked at again after so long, in case that it was set. */
const lookEveryMs = 60_000;

export class LoginExpiry implements WheelEntry {
  wheelDue = 0;
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;

  /** `onExpired` is called once, unless it is stopped before that; never from within the constructor. */
  constructor(
    private readonly wheel: TimerWheel,
    private readonly clock: Clock,
    private readonly atMs: number,
    private readonly onExpired: () => void,
  ) {
    this.wait();
  }

  onDeadline(): void {
    if (this.clock.wallMs() < this.atMs) this.wait();
    else this.onExpired();
  }

  stop(): void {
    this.wheel.stop(this);
  }

  private wait(): void {
    const leftMs = this.atMs - this.clock.wallMs();
    this.wheel.set(this, Math.min(Math.max(leftMs, 0), lookEveryMs));
  }
}
