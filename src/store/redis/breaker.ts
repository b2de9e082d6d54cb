/**
 * A circuit breaker for one server: after some failures in a row it is left alone for a while, then one call
 * tries it; meanwhile every other call fails at once, so that nobody waits for a deadline in vain.
 */
import type { Clock } from "../../lib/clock.js";

/** `closed`: calls go through. `open`: none do. `half-open`: one does, to see. */
export type BreakerState = "closed" | "open" | "half-open";

export interface BreakerSettings {
  /** Failures in a row that open it. */
  readonly failures: number;
  readonly pauseMs: number;
}

export class CircuitBreaker {
  state: BreakerState = "closed";
  private failuresInRow = 0;
  private openedMs = 0;

  constructor(
    private readonly clock: Clock,
    private readonly settings: BreakerSettings,
  ) {}

  /** Whether a call may be made now; whoever makes it must say how it went. */
  admits(): boolean {
    if (this.state === "closed") return true;
    if (this.state === "half-open") return false;
    if (this.clock.monotonicMs() - this.openedMs < this.settings.pauseMs) return false;
    this.state = "half-open";
    return true;
  }

  succeeded(): void {
    this.failuresInRow = 0;
    this.state = "closed";
  }

  /** Returns whether this failure opened it. */
  failed(): boolean {
    this.failuresInRow++;
    if (this.state === "closed" && this.failuresInRow < this.settings.failures) return false;
    const opened = this.state === "closed";
    this.state = "open";
    this.openedMs = this.clock.monotonicMs();
    return opened;
  }
}
