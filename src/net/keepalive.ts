/**
 * The time limits of one connection, on one entry of the wheel: CONNECT must come in time, then
 * something within one and a half keep-alives [MQTT-3.1.2-22], its output must not stay congested, and
 * once closed it must be gone soon. Hearing something only notes the time: the entry is not moved.
 */
import type { TimerWheel, WheelEntry } from "../lib/timer-wheel.js";
import type { Turn } from "../session/turn.js";

export type Overdue = "connect" | "keep-alive" | "output" | "closing";

/** A closed connection whose client does not take the last bytes is cut off then. */
const closingMs = 2000;

/** Whom the time limits of a connection tell. */
export interface KeepAliveOwner {
  onOverdue(what: Overdue): void;
}

export class KeepAlive implements WheelEntry {
  wheelDue = 0;
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;
  /** When something was heard last. */
  heardMs: number;
  /** While the connection is not read, silence does not count. */
  paused = false;
  private phase: "connect" | "open" | "closing" = "connect";
  /** 0: no limit. */
  private silenceMs = 0;
  /** 0: not congested. */
  private congestedDueMs = 0;

  constructor(
    private readonly wheel: TimerWheel,
    private readonly turn: Turn,
    connectTimeoutMs: number,
    private readonly owner: KeepAliveOwner,
  ) {
    this.heardMs = turn.nowMs;
    wheel.set(this, connectTimeoutMs);
  }

  /** CONNECT is done; `keepAliveSeconds` 0: silence is allowed for ever. */
  open(keepAliveSeconds: number): void {
    this.phase = "open";
    this.silenceMs = keepAliveSeconds * 1500;
    this.arm();
  }

  congested(graceMs: number): void {
    this.congestedDueMs = this.turn.refresh() + graceMs;
    if (this.phase === "open") this.arm();
  }

  relieved(): void {
    this.congestedDueMs = 0;
  }

  closing(): void {
    this.phase = "closing";
    this.wheel.set(this, closingMs);
  }

  stop(): void {
    this.wheel.stop(this);
  }

  onDeadline(): void {
    if (this.phase !== "open") {
      this.owner.onOverdue(this.phase);
      return;
    }
    const now = this.turn.refresh();
    if (this.congestedDueMs !== 0 && this.congestedDueMs <= now) this.owner.onOverdue("output");
    else if (this.silenceMs > 0 && !this.paused && this.heardMs + this.silenceMs <= now) {
      this.owner.onOverdue("keep-alive");
    } else this.arm();
  }

  private arm(): void {
    const now = this.turn.nowMs;
    let due = Number.POSITIVE_INFINITY;
    if (this.silenceMs > 0) due = (this.paused ? now : this.heardMs) + this.silenceMs;
    if (this.congestedDueMs !== 0) due = Math.min(due, this.congestedDueMs);
    if (due === Number.POSITIVE_INFINITY) this.wheel.stop(this);
    else this.wheel.set(this, Math.max(0, due - now));
  }
}
