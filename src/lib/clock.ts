/**
 * Time. The only file that reads the real clock or sets a real timer; everything else is handed a
 * `Clock`, so that a whole cluster can run on a fake one.
 */

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

/** Resolves after `delayMs`. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimer(delayMs, resolve);
  });
}
