/**
 * Whoever waits for an answer that cannot be given is not left hanging: while the store takes nothing, a connection with
 * a publish or a request that went unanswered for all of `store.stall_timeout` is closed, and at any time an MQTT 3
 * client of which a publish was refused so long ago. Its client cannot know what became of it, and that is the
 * truth. One timer for all connections, and none while nobody waits.
 */
import type { Clock, Timer } from "../lib/clock.js";

/** A connection, as far as it waits. */
export interface StallSubject {
  /** The oldest thing that its client waits for, whatever it is; null: nothing. */
  readonly oldestUnanswered: object | null;
  /** A publish of this MQTT 3 client was refused, which cannot be told: it was not answered and will not be. */
  readonly hasWithheld: boolean;
  closeStalled(): void;
}

interface Seen {
  readonly oldest: object;
  readonly looks: number;
}

/** Looks in one time-out: a connection is closed between one and one and a quarter of it. */
const looks = 4;

export class StallWatch {
  readonly counters = {
    /** Connections closed because something of theirs went unanswered: refused, or while the store took nothing. */
    closedStalled: 0,
  };
  private timer: Timer | undefined;
  private isStalled = false;
  /** What each connection waited for at the first of the looks since, and how many those are. */
  private seen = new Map<StallSubject, Seen>();

  constructor(
    private readonly clock: Clock,
    private readonly timeoutMs: number,
    private readonly subjects: () => Iterable<StallSubject>,
  ) {}

  /** The store takes nothing from now on, or everything again. */
  setStalled(stalled: boolean): void {
    this.stop();
    this.isStalled = stalled;
    if (stalled) {
      this.look();
      return;
    }
    // They have to send it again, and can now.
    this.close([...this.subjects()].filter((subject) => subject.hasWithheld));
  }

  /** A publish of an MQTT 3 client was refused: whatever the reason, its connection is closed in time. */
  noteWithheld(): void {
    if (this.timer === undefined) this.look();
  }

  stop(): void {
    this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.seen.clear();
  }

  private look(): void {
    const late: StallSubject[] = [];
    const seen = new Map<StallSubject, Seen>();
    for (const subject of this.subjects()) {
      const oldest = this.waitsOf(subject);
      if (oldest === null) continue;
      const before = this.seen.get(subject);
      const times = before?.oldest === oldest ? before.looks + 1 : 0;
      if (times >= looks) late.push(subject);
      else seen.set(subject, { oldest, looks: times });
    }
    this.seen = seen;
    const goesOn = this.isStalled || seen.size > 0;
    this.timer = goesOn
      ? this.clock.setTimer(this.timeoutMs / looks, () => this.look())
      : undefined;
    this.close(late);
  }

  /** What a client waits for in vain; null: nothing. Without a stall all else is answered sooner or later. */
  private waitsOf(subject: StallSubject): object | null {
    if (this.isStalled) return subject.oldestUnanswered;
    return subject.hasWithheld ? subject : null;
  }

  private close(subjects: readonly StallSubject[]): void {
    for (const subject of subjects) {
      this.counters.closedStalled++;
      subject.closeStalled();
    }
  }
}
