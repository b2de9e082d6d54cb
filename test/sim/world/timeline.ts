/**
 * Virtual time. Everything that happens in a world is an event here, and events run one at a time in
 * the order (due, sequence), each a turn of its owner's event loop: the event, its promises, what it
 * deferred, and nothing else in between.
 */

/** One life of a process: from its start to its stop or crash. */
export interface Owner {
  readonly name: string;
  /** What a dead process set or awaited never comes. */
  readonly dead: boolean;
  /** A stopped process (SIGSTOP) runs nothing before this time. */
  readonly stalledUntilMs: number;
}

export interface TimelineEvent {
  dueMs: number;
  sequence: number;
  readonly owner: Owner | null;
  /** Null: it was cancelled. */
  run: (() => void) | null;
}

/** More turns at one instant than any correct program takes. */
const turnsAtOnceMax = 100_000;
/** So many turns go by until the real event loop gets one. */
const turnsPerRealTurn = 2_000;

export class Timeline {
  nowMs = 0;
  /** Turns taken so far. */
  turns = 0;
  private readonly heap: TimelineEvent[] = [];
  private deferred: { readonly owner: Owner; readonly run: () => void }[] = [];
  private sequence = 0;
  private turnsNow = 0;

  /** `run` comes `delayMs` from now, unless its owner is dead by then. */
  schedule(delayMs: number, owner: Owner | null, run: () => void): TimelineEvent {
    return this.scheduleAt(this.nowMs + Math.max(0, delayMs), owner, run);
  }

  /** As `schedule`, at a time that is not before now. */
  scheduleAt(dueMs: number, owner: Owner | null, run: () => void): TimelineEvent {
    const event: TimelineEvent = { dueMs, sequence: this.sequence++, owner, run };
    push(this.heap, event);
    return event;
  }

  /** `run` comes at the end of this turn. */
  defer(owner: Owner, run: () => void): void {
    this.deferred.push({ owner, run });
  }

  /** When the next event comes; infinity when there is none. */
  nextMs(): number {
    return this.next()?.dueMs ?? Number.POSITIVE_INFINITY;
  }

  /** Runs the next event that is due by `limitMs`; false when there is none. */
  async step(limitMs: number): Promise<boolean> {
    const event = this.next();
    if (event === undefined || event.dueMs > limitMs) return false;
    pop(this.heap);
    this.turnsNow = event.dueMs > this.nowMs ? 0 : this.turnsNow + 1;
    if (this.turnsNow > turnsAtOnceMax) throw new Error("time stands still: turns without end");
    this.nowMs = Math.max(this.nowMs, event.dueMs);
    event.run?.();
    await this.endTurn();
    if (++this.turns % turnsPerRealTurn === 0)
      await new Promise((resolve) => setImmediate(resolve));
    return true;
  }

  /** Runs what waits for the end of a turn, and what that defers in its turn. */
  async endTurn(): Promise<void> {
    await promises();
    for (let rounds = 0; this.deferred.length > 0; rounds++) {
      if (rounds > turnsAtOnceMax) throw new Error("time stands still: deferring without end");
      const batch = this.deferred;
      this.deferred = [];
      for (const { owner, run } of batch) {
        if (owner.dead) continue;
        run();
        await promises();
      }
    }
  }

  /** The next event, left in the heap; those that will never come are taken out. */
  private next(): TimelineEvent | undefined {
    for (let first = this.heap[0]; first !== undefined; first = this.heap[0]) {
      const wakesMs = first.owner?.stalledUntilMs ?? 0;
      const never = first.run === null || first.owner?.dead === true;
      if (!never && wakesMs <= Math.max(first.dueMs, this.nowMs)) return first;
      pop(this.heap);
      if (never) continue;
      first.dueMs = wakesMs;
      first.sequence = this.sequence++;
      push(this.heap, first);
    }
    return undefined;
  }
}

/** Resolves when every promise that can settle without time or input has done so. */
function promises(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

function isBefore(a: TimelineEvent, b: TimelineEvent): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence);
}

/** Adds to a binary heap, the earliest event first. */
function push(heap: TimelineEvent[], event: TimelineEvent): void {
  let at = heap.push(event) - 1;
  while (at > 0) {
    const parentAt = (at - 1) >> 1;
    const parent = heap[parentAt];
    if (parent === undefined || !isBefore(event, parent)) break;
    heap[at] = parent;
    at = parentAt;
  }
  heap[at] = event;
}

/** Takes the earliest event off the heap. */
function pop(heap: TimelineEvent[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let childAt = 2 * at + 1;
    let child = heap[childAt];
    const right = heap[childAt + 1];
    if (child === undefined) break;
    if (right !== undefined && isBefore(right, child)) {
      child = right;
      childAt++;
    }
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = childAt;
  }
  heap[at] = last;
}
