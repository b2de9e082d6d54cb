/**
 * SIGINT and SIGTERM: the first asks for an orderly stop, a later one ends the process. SIGHUP: files are read
 * again.
 */
import type { Clock } from "../lib/clock.js";

// Ctrl-C under npm arrives twice, from the terminal and passed on: that is one wish, not two.
const sameWishMs = 1000;

/**
 * Calls `callback` at the first signal. Signals stay caught until the process has ended: one that comes
 * while it ends must not turn an orderly stop into a death by signal.
 */
export function onStopSignal(clock: Clock, callback: () => void): void {
  let firstMs: number | undefined;
  const handler = (): void => {
    if (firstMs === undefined) {
      firstMs = clock.monotonicMs();
      callback();
    } else if (clock.monotonicMs() - firstMs > sameWishMs) {
      process.exit(1);
    }
  };
  process.on("SIGINT", handler);
  process.on("SIGTERM", handler);
}

/**
 * For a worker: its supervisor alone stops it, with SIGTERM. Ctrl-C reaches both, and the supervisor passes it
 * on.
 */
export function onWorkerSignals(callback: () => void): void {
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", callback);
}

/** Calls `callback` at each SIGHUP. */
export function onReloadSignal(callback: () => void): void {
  process.on("SIGHUP", callback);
}
