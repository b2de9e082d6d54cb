/**
 * This node's own lease: taken at start before anything is read, renewed while it lives, given up when it stops. While it
 * could not be renewed in time others may have this node's sessions: nothing is delivered to them or acknowledged then,
 * unless nobody else reaches the store either. A node whose lease others took for lapsed is over.
 */
import { type Clock, sleep, type Timer } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import {
  adoptedSentence,
  type Holder,
  type LeaseBook,
  type LeaseTimes,
  patienceMs,
} from "./shared.js";

export interface LeaseParts {
  readonly book: LeaseBook;
  readonly times: LeaseTimes;
  readonly clock: Clock;
  readonly log: Log;
  /** This start of the node. */
  readonly holder: () => Holder;
  /** How long a start tries to reach the store. */
  readonly startTimeoutMs: number;
  /** How long it waits for others that adopt what is left of an earlier start, before it takes what they have not got to. */
  readonly adoptersMs?: number;
  /** Nobody else is a member: there is nobody who could adopt. */
  readonly isAlone: () => boolean;
  /**
   * Asks every peer that is up how long ago it renewed its own lease, in milliseconds, and tells of each answer as it comes.
   * One that does not answer is not told of.
   */
  readonly askPeers: (onAnswer: (peer: string, ageMs: number) => void) => void;
  /** Why nothing may be delivered to persistent sessions or acknowledged for them; null: it may again. */
  readonly onSuspended: (why: string | null) => void;
  /** Once: this node's sessions belong to others. */
  readonly onEnded: (why: string) => void;
}

/** A start waits so long for others that adopt, unless it is told otherwise. */
const adoptersMsUsual = 30_000;
const takeAgainMs = 100;
/** Two nodes that lost the store at once renewed up to an interval apart: in intervals, what is more than that. */
const clearlyLater = 1.5;

/** `exempt`: not renewed in time, and nobody who could adopt reaches the store. */
type State = "none" | "held" | "exempt" | "suspended" | "ended";

export class Lease {
  readonly counters = { renewals: 0, renewalsFailed: 0, suspensions: 0, adoptersAwaited: 0 };
  private state: State = "none";
  /** When the last renewal that succeeded was asked for. */
  private renewedMs = 0;
  private timer: Timer | undefined;
  /** What the peers said last. */
  private readonly answers = new Map<
    string,
    { readonly atMs: number; readonly reaches: boolean }
  >();

  constructor(private readonly parts: LeaseParts) {}

  /** For metrics: 1 while it is held. */
  get gauges(): { held: number; suspended: number } {
    const { state } = this;
    return { held: state === "held" ? 1 : 0, suspended: state === "suspended" ? 1 : 0 };
  }

  /** How long ago the last renewal that succeeded was asked for, milliseconds. */
  get ageMs(): number {
    return this.parts.clock.monotonicMs() - this.renewedMs;
  }

  /**
   * Takes the lease for this start, when nobody adopts (any more) what an earlier one left, and renews it from now on.
   * @throws Refusal when the store cannot be reached
   */
  async take(): Promise<void> {
    const { clock, holder, adoptersMs = adoptersMsUsual } = this.parts;
    const beganMs = clock.monotonicMs();
    let reachedMs = beganMs;
    for (let waits = false; ; await sleep(clock, takeAgainMs)) {
      const nowMs = clock.monotonicMs();
      const answer = await this.tryTake(holder(), nowMs - beganMs >= adoptersMs, nowMs - reachedMs);
      if (answer !== null) reachedMs = clock.monotonicMs();
      if (answer?.kind === "held") {
        this.begin(nowMs);
        return;
      }
      if (answer?.kind === "adopting" && !waits) {
        waits = true;
        this.counters.adoptersAwaited++;
        this.parts.log.warn(
          { by: answer.by },
          "other nodes adopt what this one left: waiting until they have",
        );
      }
    }
  }

  /**
   * Whether what a lease is needed for may be done at this moment. A process that was stopped finds out here, before its timers
   * tell. Cheap.
   */
  look(): boolean {
    const { state } = this;
    if (state === "held" && this.ageMs >= patienceMs(this.parts.times)) this.judge();
    return this.state === "held" || this.state === "exempt";
  }

  /** Gives it up: others may adopt at once. Nothing of this node may be written any more. Never rejects. */
  async release(): Promise<void> {
    const { book, holder } = this.parts;
    const wasTaken = this.state !== "none";
    this.close();
    // Not reached, it lapses by itself.
    if (wasTaken) await book.release(holder()).catch(() => undefined);
  }

  /** It is not renewed any more. */
  close(): void {
    this.parts.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.state = "ended";
  }

  /** Null: the store did not answer. */
  private async tryTake(holder: Holder, insists: boolean, silentMs: number) {
    const { book, startTimeoutMs } = this.parts;
    try {
      return await book.take(holder, insists);
    } catch (error) {
      if (silentMs < startTimeoutMs) return null;
      const why = error instanceof Error ? error.message : String(error);
      throw new Refusal(`this node gets no lease in the store: ${why}`);
    }
  }

  private begin(renewedMs: number): void {
    this.renewedMs = renewedMs;
    this.state = "held";
    this.next();
  }

  /** Renewals may overlap: one that hangs does not keep the next from being tried. */
  private next(): void {
    const { clock, times } = this.parts;
    this.timer = clock.setTimer(times.intervalMs, () => {
      this.next();
      void this.renew();
      if (this.ageMs >= 2 * times.intervalMs) this.askPeers();
      if (this.state !== "held" || this.ageMs >= patienceMs(times)) this.judge();
    });
  }

  private async renew(): Promise<void> {
    const { book, clock, holder } = this.parts;
    const askedMs = clock.monotonicMs();
    const answer = await book.renew(holder()).catch(() => null);
    if (this.state === "ended") return;
    if (answer === null) this.counters.renewalsFailed++;
    else if (answer === "held") {
      this.counters.renewals++;
      this.renewedMs = Math.max(this.renewedMs, askedMs);
      this.judge();
    } else {
      this.end(answer === "adopted" ? adoptedSentence : replacedSentence);
    }
  }

  /** Whoever renewed its lease clearly later than this node reaches the store where this one does not. */
  private askPeers(): void {
    const { clock, times, askPeers } = this.parts;
    askPeers((peer, ageMs) => {
      const reaches = ageMs + clearlyLater * times.intervalMs < this.ageMs;
      this.answers.set(peer, { atMs: clock.monotonicMs(), reaches });
      if (this.state !== "held") this.judge();
    });
  }

  /** Is there somebody who could adopt, and reaches the store? Whoever hears nobody cannot know, and takes it that there is. */
  private get isExempt(): boolean {
    const { clock, times, isAlone } = this.parts;
    if (isAlone()) return true;
    const oldestMs = clock.monotonicMs() - 2 * times.intervalMs;
    const lately = [...this.answers.values()].filter(({ atMs }) => atMs > oldestMs);
    return lately.length > 0 && lately.every(({ reaches }) => !reaches);
  }

  private judge(): void {
    if (this.state === "ended" || this.state === "none") return;
    const { times } = this.parts;
    if (this.ageMs < patienceMs(times)) this.enter("held");
    else this.enter(this.isExempt ? "exempt" : "suspended");
  }

  private enter(state: State): void {
    const before = this.state;
    if (before === state) return;
    this.state = state;
    const { log, onSuspended, times } = this.parts;
    if (state === "suspended") {
      this.counters.suspensions++;
      const why =
        `this node could not renew its lease for ${patienceMs(times)} ms, and others may adopt its sessions: ` +
        "until it can, nothing is delivered to them or acknowledged";
      log.error({}, why);
      onSuspended(why);
    } else if (before === "suspended") {
      log.info({}, "sessions are served again");
      onSuspended(null);
    }
    if (state === "exempt") {
      log.warn({}, "this node's lease cannot be renewed, but nobody reaches the store: going on");
    }
  }

  private end(why: string): void {
    if (this.state === "ended") return;
    this.close();
    this.parts.log.error({}, why);
    // Whatever happens from now on, nothing leaves.
    this.parts.onSuspended(why);
    this.parts.onEnded(why);
  }
}

const replacedSentence =
  "another process runs under this node's name with the same store: this one ends; give one of the two another " +
  "node.name or store.redis.prefix";
