/**
 * The group commit of a node: what changed in one turn of the event loop, in any number of partitions, is one write of
 * the store. One commit is under way at a time; what changes meanwhile is the next. Nobody hears `committed` before the
 * store has said that it is durable, and a write that failed for now is kept and tried again before anything later of its
 * partition, so that what is in the store is always a beginning of what happened.
 */
import type { Backoff } from "../lib/backoff.js";
import type { Clock, Timer } from "../lib/clock.js";
import type { Journaled } from "./journaled.js";
import type { Operation, Store, StoreFailure } from "./store.js";

export interface CommitsOptions {
  readonly store: Store;
  readonly clock: Clock;
  /** Waits between tries of a write that failed. */
  readonly backoff: Backoff;
  /** How long to gather before a commit, milliseconds; 0: to the end of the turn. */
  readonly intervalMs: number;
  /** A commit that takes so long is a stall. */
  readonly slowMs: number;
  /** Nothing is taken any more (the failure), or it is again (null). Alarm and refusals hang on it. */
  readonly onStalled: (failure: StoreFailure | null) => void;
  /** Once: nothing will ever be committed again. */
  readonly onBroken: (failure: StoreFailure) => void;
}

/** One partition's part of a commit, and who hears of it. */
interface Part {
  readonly partition: string;
  fence?: number;
  readonly operations: Operation[];
  readonly members: Journaled[];
  /** Touched while this part is kept for another try: they come after it. */
  readonly waiting: Journaled[];
}

type Reason = "held" | "slow" | "space" | "lease";

/** Rarely enough to cost nothing, often enough that what is left free of a disk lasts from one look to the next. */
const spaceIntervalMs = 50;

export class Commits {
  readonly counters = { commits: 0, writes: 0, operations: 0, fenced: 0, retries: 0, stalls: 0 };
  private touched: Journaled[] = [];
  private callbacks: (() => void)[] = [];
  /** Due when nothing is under way or held: what they wait for was gathered. */
  private dueCallbacks: (() => void)[] = [];
  /** A commit begins as soon as the turn, or the interval, is over. */
  private scheduled = false;
  private underWay = false;
  private beganMs = 0;
  /** Parts whose write failed for now, by partition. */
  private held = new Map<string, Part>();
  private retryTimer: Timer | undefined;
  private retryDue = false;
  private watch: Timer | undefined;
  /** Why nothing is to be taken: a write failed for now, a commit does not come back, space runs out, the lease is overdue. */
  private readonly reasons: Record<Reason, StoreFailure | null> = {
    ...{ held: null, slow: null, space: null, lease: null },
  };
  private sinceMs: number | null = null;
  private spaceTimer: Timer | undefined;
  private commitsLooked = 0;
  private broken: StoreFailure | null = null;
  private closed = false;

  constructor(private readonly options: CommitsOptions) {}

  /** Why nothing is taken at present, or null. While it is set, nothing new that has to be durable may be taken. */
  get stalled(): StoreFailure | null {
    const { held, slow, space, lease } = this.reasons;
    return this.broken ?? lease ?? held ?? slow ?? space;
  }

  /** Wall-clock time at which the present stall began, milliseconds since 1970; null when there is none. */
  get stalledSinceMs(): number | null {
    return this.sinceMs;
  }

  /** What it has is part of the next commit. May be called at any time, often; nothing happens before the turn is over. */
  touch(journaled: Journaled): void {
    if (journaled.touched || this.closed) return;
    journaled.touched = true;
    this.touched.push(journaled);
    this.schedule();
  }

  /** Calls back, later, when all that was touched so far is durable; never, when the store breaks. For cold paths. */
  whenCommitted(callback: () => void): void {
    if (this.touched.length > 0) this.callbacks.push(callback);
    else if (this.underWay || this.held.size > 0) this.dueCallbacks.push(callback);
    else if (!this.closed) this.options.clock.defer(callback);
  }

  /** Resolves when all that was touched so far is durable: not before the end of a stall, never when the store breaks. */
  idle(): Promise<void> {
    return new Promise((resolve) => this.whenCommitted(resolve));
  }

  /** What is stored may be another node's by now (why), or is this one's again (null). */
  suspend(why: string | null): void {
    this.set("lease", why === null ? null : { kind: "unavailable", why });
  }

  /** Begins nothing more. Whoever wants what was touched to be durable waits for `idle` first. */
  close(): void {
    this.closed = true;
    const { clock } = this.options;
    clock.clearTimer(this.retryTimer);
    clock.clearTimer(this.watch);
    clock.clearTimer(this.spaceTimer);
  }

  private schedule(): void {
    if (this.scheduled || this.underWay || this.closed) return;
    if (this.touched.length === 0 && !this.retryDue) return;
    // With an atomic store one part may rest on another (a shared body): nothing goes ahead of what is held.
    if (this.held.size > 0 && this.options.store.atomic && !this.retryDue) return;
    this.scheduled = true;
    const { clock, intervalMs } = this.options;
    if (intervalMs > 0 && !this.retryDue) clock.setTimer(intervalMs, this.begin);
    else clock.defer(this.begin);
  }

  private readonly begin = (): void => {
    this.scheduled = false;
    if (this.closed) return;
    this.underWay = true;
    this.beganMs = this.options.clock.monotonicMs();
    this.armWatch(this.options.slowMs);
    const parts = this.gather();
    const writes = parts.filter(({ operations }) => operations.length > 0);
    if (writes.length === 0) {
      this.end(parts, [], []);
      return;
    }
    this.counters.commits++;
    this.counters.writes += writes.length;
    this.watchSpace();
    // A rejection is a bug of ours: nobody handles it, so that it ends the process.
    void this.options.store.write(writes).then((outcomes) => {
      const empty = parts.filter(({ operations }) => operations.length === 0);
      this.end(empty, writes, outcomes);
    });
  };

  /** The parts of the next commit: what is held, if its time has come, and what was touched since. */
  private gather(): Part[] {
    const parts = new Map<string, Part>();
    if (this.retryDue) {
      this.retryDue = false;
      this.counters.retries++;
      const again = [...this.held.values()];
      // The very same writes: what failed may be there all the same, and then it is written once more.
      if (this.options.store.atomic) {
        this.held.clear();
        return again;
      }
      for (const part of again) parts.set(part.partition, part);
    }
    const members = this.touched;
    this.touched = [];
    this.dueCallbacks.push(...this.callbacks);
    this.callbacks = [];
    for (const member of members) {
      const kept = this.held.get(member.partition);
      if (kept === undefined) this.collect(parts, member);
      else kept.waiting.push(member);
    }
    for (const partition of parts.keys()) this.held.delete(partition);
    return [...parts.values()];
  }

  /** A member is asked again only after it has heard how the time before went. */
  private collect(parts: Map<string, Part>, member: Journaled): void {
    const { partition } = member;
    let part = parts.get(partition);
    if (part === undefined) {
      part = { partition, operations: [], members: [], waiting: [] };
      parts.set(partition, part);
    }
    const before = part.operations.length;
    member.touched = false;
    member.collect(part.operations);
    this.counters.operations += part.operations.length - before;
    part.members.push(member);
    // What it writes may have raised it.
    const { fence } = member;
    if (fence !== undefined) part.fence = Math.max(fence, part.fence ?? fence);
  }

  /** `outcomes` are those of `writes`; `empty` had nothing to write. */
  private end(
    empty: readonly Part[],
    writes: readonly Part[],
    outcomes: readonly (StoreFailure | null)[],
  ): void {
    const failure = outcomes.find((outcome) => outcome !== null && outcome.kind !== "fenced");
    const broken = outcomes.find((outcome) => outcome?.kind === "broken");
    if (broken) {
      this.breakDown(broken);
      return;
    }
    for (const [index, part] of writes.entries()) this.settle(part, outcomes[index] ?? null);
    const { atomic } = this.options.store;
    for (const part of empty) this.settle(part, (atomic ? failure : null) ?? null);
    this.underWay = false;
    if (this.held.size > 0) this.hold(failure);
    else this.resume();
    if (this.touched.length === 0) this.disarmWatch();
    this.schedule();
  }

  private settle(part: Part, outcome: StoreFailure | null): void {
    if (outcome === null) {
      for (const member of part.members) member.committed();
    } else if (outcome.kind === "fenced") {
      this.counters.fenced++;
      for (const member of part.members) member.fenced();
    } else {
      this.held.set(part.partition, part);
      return;
    }
    if (part.waiting.length === 0) return;
    // As far as they know they are in the list already: `touched` is set.
    this.touched.push(...part.waiting);
    // Whoever asked when all was durable asked for these too.
    this.callbacks.unshift(...this.dueCallbacks);
    this.dueCallbacks = [];
  }

  /** Something failed for now: it is tried again after a while. */
  private hold(failure: StoreFailure | null | undefined): void {
    this.set("slow", null);
    if (failure) this.set("held", failure);
    const { clock, backoff } = this.options;
    this.retryTimer ??= clock.setTimer(backoff.nextMs(), () => {
      this.retryTimer = undefined;
      this.retryDue = true;
      this.schedule();
    });
  }

  /** Nothing is held: all that was gathered is durable. */
  private resume(): void {
    if (this.reasons.held !== null) this.options.backoff.reset();
    this.set("held", null);
    this.set("slow", null);
    const due = this.dueCallbacks;
    this.dueCallbacks = [];
    for (const callback of due) callback();
  }

  private set(reason: Reason, failure: StoreFailure | null): void {
    const { reasons } = this;
    if (reasons[reason] === failure) return;
    const before = this.stalled;
    reasons[reason] = failure;
    const { stalled } = this;
    if (before === null && stalled !== null) {
      this.sinceMs = this.options.clock.wallMs();
      this.counters.stalls++;
      this.options.onStalled(stalled);
    } else if (before !== null && stalled === null) {
      this.sinceMs = null;
      this.options.onStalled(null);
    }
  }

  private breakDown(failure: StoreFailure): void {
    this.broken = failure;
    this.close();
    this.options.onBroken(failure);
  }

  /** One timer however many commits there are: it looks how old the present one is. */
  private armWatch(delayMs: number): void {
    const { clock, slowMs } = this.options;
    this.watch ??= clock.setTimer(delayMs, () => {
      this.watch = undefined;
      if (!this.underWay || this.closed) return;
      const ageMs = clock.monotonicMs() - this.beganMs;
      if (ageMs < slowMs) this.armWatch(slowMs - ageMs);
      else {
        const why = `a commit takes longer than ${slowMs} ms`;
        this.set("slow", { kind: "unavailable", why });
      }
    });
  }

  private disarmWatch(): void {
    this.options.clock.clearTimer(this.watch);
    this.watch = undefined;
  }

  /** Looks now and then, while there are commits, whether space runs out, and whether it came back. */
  private watchSpace(): void {
    const { clock, store } = this.options;
    if (store.pressure === undefined) return;
    this.spaceTimer ??= clock.setTimer(spaceIntervalMs, () => void this.lookAtSpace());
  }

  private async lookAtSpace(): Promise<void> {
    const { commits } = this.counters;
    let failure: StoreFailure | null = null;
    try {
      failure = (await this.options.store.pressure?.()) ?? null;
    } catch {
      // The next write tells.
    }
    this.spaceTimer = undefined;
    if (this.closed) return;
    this.set("space", failure);
    if (failure !== null || commits !== this.commitsLooked) this.watchSpace();
    this.commitsLooked = commits;
  }
}
