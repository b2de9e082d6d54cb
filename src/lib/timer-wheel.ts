/**
 * Very many coarse deadlines (keep-alive, expiry) on one real timer. An entry sits in the list of
 * the tick in which it is due; moving or stopping it is constant work and allocates nothing.
 */
import type { Clock, Timer } from "./clock.js";

/** Something with one deadline. The fields belong to the wheel. */
export interface WheelEntry {
  wheelDue: number;
  wheelNext: WheelEntry | null;
  wheelPrevious: WheelEntry | null;
  /** The deadline has passed; the entry is off the wheel and may be put on again. */
  onDeadline(): void;
}

const slotCount = 512;

export class TimerWheel {
  private readonly slots = new Array<WheelEntry | null>(slotCount).fill(null);
  private tick: number;
  private timer: Timer | undefined;
  private size = 0;

  /** Deadlines are met to within `tickMs`, never early. */
  constructor(
    private readonly clock: Clock,
    private readonly tickMs = 100,
  ) {
    this.tick = this.now();
  }

  /** Sets or moves the entry's deadline to `delayMs` from now. */
  set(entry: WheelEntry, delayMs: number): void {
    this.stop(entry);
    entry.wheelDue = this.now() + Math.ceil(delayMs / this.tickMs) + 1;
    const slot = entry.wheelDue % slotCount;
    const first = this.slots[slot] ?? null;
    entry.wheelNext = first;
    entry.wheelPrevious = null;
    if (first !== null) first.wheelPrevious = entry;
    this.slots[slot] = entry;
    this.size++;
    this.timer ??= this.startTimer();
  }

  /** Takes the entry off the wheel; one that is not on it is ignored. */
  stop(entry: WheelEntry): void {
    if (entry.wheelDue === 0) return;
    const slot = entry.wheelDue % slotCount;
    if (entry.wheelPrevious !== null) entry.wheelPrevious.wheelNext = entry.wheelNext;
    else this.slots[slot] = entry.wheelNext;
    if (entry.wheelNext !== null) entry.wheelNext.wheelPrevious = entry.wheelPrevious;
    entry.wheelDue = 0;
    entry.wheelNext = null;
    entry.wheelPrevious = null;
    this.size--;
  }

  /** Stops the one real timer; the entries never fall due. */
  close(): void {
    this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.size = 0;
    this.slots.fill(null);
  }

  private now(): number {
    return Math.floor(this.clock.monotonicMs() / this.tickMs) + 1;
  }

  private startTimer(): Timer {
    if (this.size === 1) this.tick = this.now();
    return this.clock.setTimer(this.tickMs, () => {
      this.timer = undefined;
      this.turn();
      if (this.size > 0) this.timer ??= this.startTimer();
    });
  }

  private turn(): void {
    const now = this.now();
    // After a stall longer than a round every slot is visited once; no deadline is missed.
    if (now - this.tick > slotCount) this.tick = now - slotCount;
    const due: WheelEntry[] = [];
    while (this.tick < now) {
      this.tick++;
      let entry = this.slots[this.tick % slotCount] ?? null;
      for (; entry !== null; entry = entry.wheelNext) if (entry.wheelDue <= now) due.push(entry);
    }
    for (const entry of due) {
      // One deadline may stop or move another one of the same tick.
      if (entry.wheelDue === 0 || entry.wheelDue > now) continue;
      this.stop(entry);
      entry.onDeadline();
    }
  }
}
