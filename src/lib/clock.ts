/**
 * Time. The only file that reads the real clock or sets a real timer; everything else is handed a
 * `Clock`, so that a whole cluster can run on a fake one.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";

/** A timer that has been set; pass it back to `clearTimer`. */
export interface Timer {
  readonly dueMs: number;
}

export interface Clock {
  /** Wall-clock time, milliseconds since 1970. May jump. */
  wallMs(): number;
  /** Milliseconds since some fixed point. Never goes back: use it for durations. */
  monotonicMs(): number;
  /** Calls `callback` once, no earlier than `delayMs` from now. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /** Stops a timer; one that has fired, or `undefined`, is ignored. */
  clearTimer(timer: Timer | undefined): void;
  /** Calls `callback` at the end of this event-loop turn, after the input of the turn was read. */
  defer(callback: () => void): void;
}

interface RealTimer extends Timer {
  readonly handle: NodeJS.Timeout;
}

/** The machine's clock. Its timers keep the process alive only while something else does. */
export const realClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  setTimer(delayMs, callback) {
    const handle = setTimeout(callback, delayMs);
    handle.unref();
    const timer: RealTimer = { dueMs: performance.now() + delayMs, handle };
    return timer;
  },
  clearTimer(timer) {
    // Every timer that a caller can hold from this clock was made by setTimer above.
    if (timer !== undefined) clearTimeout((timer as RealTimer).handle);
  },
  defer: (callback) => void setImmediate(callback),
};

/** Of the timer by which delays of the event loop are seen, so much too short at most. It wakes an idle node. */
const loopResolutionMs = 50;
const loopWindowMs = 30_000;

/** How long the event loop was held up lately: within the last 30 to 60 seconds. */
export class LoopDelay {
  private readonly histogram = monitorEventLoopDelay({ resolution: loopResolutionMs });
  private before = { maxMs: 0, p99Ms: 0 };
  private timer: Timer | undefined;

  constructor(private readonly clock: Clock) {}

  start(): void {
    this.histogram.enable();
    this.turn();
  }

  stop(): void {
    this.histogram.disable();
    this.clock.clearTimer(this.timer);
  }

  /** The longest delay, and that which one in a hundred looks exceeded. */
  read(): { loopDelayMaxMs: number; loopDelayP99Ms: number } {
    const now = this.window();
    return {
      loopDelayMaxMs: Math.max(now.maxMs, this.before.maxMs),
      loopDelayP99Ms: Math.max(now.p99Ms, this.before.p99Ms),
    };
  }

  private window(): { maxMs: number; p99Ms: number } {
    const { histogram } = this;
    if (histogram.count === 0) return { maxMs: 0, p99Ms: 0 };
    return { maxMs: lateMs(histogram.max), p99Ms: lateMs(histogram.percentile(99)) };
  }

  private turn(): void {
    this.before = this.window();
    this.histogram.reset();
    this.timer = this.clock.setTimer(loopWindowMs, () => this.turn());
  }
}

/** What the histogram holds are times from one look to the next, in ns. */
function lateMs(betweenNs: number): number {
  return Math.max(0, Math.round(betweenNs / 1e5 - loopResolutionMs * 10) / 10);
}

/** Resolves after `delayMs`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}
