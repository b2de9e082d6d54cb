/**
 * What this node took from one origin, and how far it has accepted it. Numbers are (incarnation, counter); each
 * is taken once, in growing order, and what is acknowledged is accepted without a gap, over the
 * incarnations of the origin: it may have kept the forwards of an earlier one.
 */
import { Ring } from "../lib/ring.js";

/** What was taken of one incarnation of the origin. */
class Run {
  /** Highest counter taken: whatever is not higher is a repeat. */
  taken = 0;
  acknowledged = 0;
  /** Counters taken after one that is not accepted yet, in order, and those of them still open. */
  readonly waiting = new Ring<number>();
  readonly open = new Set<number>();
  /** Counters that are acknowledged by themselves, and whether they are accepted, in order; those behind `acknowledged`. */
  alone: Map<number, boolean> | null = null;

  constructor(readonly incarnation: number) {}
}

export class StreamReceiver {
  readonly counters = { duplicates: 0 };
  /** The newest last; before it those of which something is not accepted yet. */
  private runs: [Run, ...Run[]] = [new Run(0)];
  private newest: Run = this.runs[0];

  /** Everything up to this number is accepted: the incarnation… */
  get incarnation(): number {
    return this.runs[0].incarnation;
  }

  /** … and the counter. */
  get accepted(): number {
    return this.runs[0].acknowledged;
  }

  /** What was taken last: all that came before it was taken too. */
  get position(): { readonly incarnation: number; readonly counter: number } {
    return { incarnation: this.newest.incarnation, counter: this.newest.taken };
  }

  /** Is it new? Takes note of it. The counters of a newer incarnation begin anew. */
  take(incarnation: number, counter: number): boolean {
    if (!this.isNew(incarnation, counter)) {
      this.counters.duplicates++;
      return false;
    }
    this.newest.taken = counter;
    return true;
  }

  /** Would `take` say that it is new? */
  isNew(incarnation: number, counter: number): boolean {
    if (incarnation > this.newest.incarnation) this.begin(incarnation);
    return incarnation === this.newest.incarnation && counter > this.newest.taken;
  }

  /** The number just taken was accepted at once (or not yet). */
  settle(counter: number, accepted: boolean): void {
    const run = this.newest;
    if (!accepted) run.open.add(counter);
    if (run.waiting.length === 0 && accepted) run.acknowledged = counter;
    else run.waiting.push(counter);
  }

  /** The number just taken and settled is acknowledged by itself, too. Returns whether that is to be done now. */
  settleAlone(counter: number, accepted: boolean): boolean {
    const run = this.newest;
    run.alone ??= new Map();
    for (const old of run.alone.keys()) {
      if (old > run.acknowledged) break;
      run.alone.delete(old);
    }
    if (counter <= run.acknowledged) return false;
    run.alone.set(counter, accepted);
    return accepted;
  }

  /** A number that had to wait is accepted now. Returns whether it is to be acknowledged by itself. */
  acceptAlone(incarnation: number, counter: number): boolean {
    const run = this.runs.find((one) => one.incarnation === incarnation);
    if (run === undefined || counter <= run.acknowledged || !run.alone?.has(counter)) return false;
    run.alone.set(counter, true);
    return true;
  }

  /** What is accepted and acknowledged by itself alone, to be said again on a new link. */
  *acceptedAlone(): Iterable<[incarnation: number, counter: number]> {
    for (const { incarnation, acknowledged, alone } of this.runs) {
      for (const [counter, accepted] of alone ?? []) {
        if (accepted && counter > acknowledged) yield [incarnation, counter];
      }
    }
  }

  /** Takes and accepts what is new of a run up to this counter. */
  takeUpTo(incarnation: number, counter: number): void {
    if (incarnation !== this.newest.incarnation || counter <= this.newest.taken) return;
    this.newest.taken = counter;
    this.settle(counter, true);
  }

  /** Nobody is told any more when those that had to wait are accepted: the origin is no member now. */
  acceptAll(): void {
    const run = this.newest;
    run.acknowledged = run.taken;
    run.waiting.clear();
    run.open.clear();
    this.runs = [run];
  }

  /** A number that had to wait is accepted now. Returns whether what can be acknowledged has grown. */
  accept(incarnation: number, counter: number): boolean {
    const run = this.runs.find((one) => one.incarnation === incarnation);
    if (run === undefined || !run.open.delete(counter)) return false;
    const before = run.acknowledged;
    for (let first = run.waiting.peek(); first !== undefined; first = run.waiting.peek()) {
      if (run.open.has(first)) break;
      run.waiting.shift();
      run.acknowledged = first;
    }
    const isFirst = run === this.runs[0];
    this.dropDone();
    return isFirst && (run.acknowledged !== before || run !== this.runs[0]);
  }

  private begin(incarnation: number): void {
    this.newest = new Run(incarnation);
    this.runs.push(this.newest);
    this.dropDone();
  }

  /** Earlier incarnations of which everything is accepted are of no interest any more. */
  private dropDone(): void {
    while (this.runs[0] !== this.newest && this.runs[0].waiting.length === 0) this.runs.shift();
  }
}
