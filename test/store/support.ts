/** What tests of the store's parts run on: a clock moved by hand, a store that does as it is told, a member of commits. */
import type { Clock, Timer } from "../../src/lib/clock.js";
import type { Journaled } from "../../src/store/journaled.js";
import { MemoryStore } from "../../src/store/memory.js";
import type { Operation, PartitionWrite, StoreFailure } from "../../src/store/store.js";

interface HandTimer extends Timer {
  readonly callback: () => void;
}

/** Time stands still until `advance`. */
export class HandClock implements Clock {
  nowMs = 1000;
  private timers: HandTimer[] = [];
  private deferred: (() => void)[] = [];

  wallMs(): number {
    return 1_800_000_000_000 + this.nowMs;
  }

  monotonicMs(): number {
    return this.nowMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { dueMs: this.nowMs + delayMs, callback };
    this.timers.push(timer);
    return timer;
  }

  clearTimer(timer: Timer | undefined): void {
    this.timers = this.timers.filter((other) => other !== timer);
  }

  defer(callback: () => void): void {
    this.deferred.push(callback);
  }

  get timerCount(): number {
    return this.timers.length;
  }

  /** Ends the turn: runs what was deferred, and lets promises settle. */
  async turn(): Promise<void> {
    const { deferred } = this;
    this.deferred = [];
    for (const callback of deferred) callback();
    await new Promise((resolve) => setImmediate(resolve));
  }

  async advance(byMs: number): Promise<void> {
    this.nowMs += byMs;
    const due = this.timers.filter(({ dueMs }) => dueMs <= this.nowMs);
    this.timers = this.timers.filter((timer) => !due.includes(timer));
    for (const { callback } of due) callback();
    await this.turn();
    await this.turn();
  }
}

/** A memory store whose writes fail as `failures` says, and wait while `gate` is closed. */
export class ToldStore extends MemoryStore {
  override readonly atomic: boolean;
  readonly calls: (readonly PartitionWrite[])[] = [];
  /** By partition; "*" for all. */
  readonly failures = new Map<string, StoreFailure>();
  /** Why it wants nothing new. */
  tight: StoreFailure | null = null;
  private gate: Promise<void> | null = null;
  private open: () => void = () => undefined;

  constructor(atomic = true) {
    super();
    this.atomic = atomic;
  }

  /** Writes wait from now on until `openGate`. */
  closeGate(): void {
    this.gate = new Promise((resolve) => {
      this.open = resolve;
    });
  }

  openGate(): void {
    this.open();
    this.gate = null;
  }

  async pressure(): Promise<StoreFailure | null> {
    return this.tight;
  }

  override async write(
    writes: readonly PartitionWrite[],
  ): Promise<readonly (StoreFailure | null)[]> {
    this.calls.push(writes);
    if (this.gate !== null) await this.gate;
    const all = this.failures.get("*");
    if (all !== undefined) return writes.map(() => all);
    const good = writes.filter(({ partition }) => !this.failures.has(partition));
    const outcomes = await super.write(good);
    return writes.map((write) => {
      return this.failures.get(write.partition) ?? outcomes[good.indexOf(write)] ?? null;
    });
  }
}

/** Writes one row for each thing that happened to it, and notes what it hears. */
export class Notebook implements Journaled {
  touched = false;
  readonly heard: string[] = [];
  private fresh: string[] = [];
  private collected: string[] = [];
  private count = 0;

  constructor(
    readonly partition: string,
    readonly fence: number | undefined = undefined,
    private readonly onCommitted: () => void = () => undefined,
  ) {}

  note(what: string): void {
    this.fresh.push(what);
  }

  collect(into: Operation[]): void {
    if (this.collected.length > 0) this.heard.push("collected twice");
    for (const what of this.fresh) {
      const key = String(this.count++).padStart(4, "0");
      into.push({ kind: "put", key: `${key}-${what}`, value: Buffer.from(what) });
    }
    this.collected = this.fresh;
    this.fresh = [];
  }

  committed(): void {
    this.heard.push(`committed ${this.collected.join(",")}`);
    this.collected = [];
    this.onCommitted();
  }

  fenced(): void {
    this.heard.push("fenced");
    this.collected = [];
  }
}
