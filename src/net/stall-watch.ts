/**
 * While the store takes nothing, whoever waits for an answer that cannot be given is not left hanging: a connection with
 * a publish or a request that went unanswered for all of `store.stall_timeout` is closed. Its client cannot know
 * what became of it, and that is the truth. One timer for all connections.
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
    /** Connections closed because something of theirs went unanswered while the store took nothing. */
    closedStalled: 0,
  };
  private timer: Timer | undefined;
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
    if (stalled) {
      this.look();
      return;
    }
    // They have to send it again, and can now.
    this.close([...this.subjects()].filter((subject) => subject.hasWithheld));
  }

  stop(): void {
    this.clock.clearTimer(this.timer);
    this.timer = undefined;
    this.seen.clear();
  }

  private look(): void {
    this.timer = this.clock.setTimer(this.timeoutMs / looks, () => this.look());
    const late: StallSubject[] = [];
    const seen = new Map<StallSubject, Seen>();
    for (const subject of this.subjects()) {
      const oldest = subject.oldestUnanswered;
      if (oldest === null) continue;
      const before = this.seen.get(subject);
      const times = before?.oldest === oldest ? before.looks + 1 : 0;
      if (times >= looks) late.push(subject);
      else seen.set(subject, { oldest, looks: times });
    }
    this.seen = seen;
    this.close(late);
  }

  private close(subjects: readonly StallSubject[]): void {
    for (const subject of subjects) {
      this.counters.closedStalled++;
      subject.closeStalled();
    }
  }
}
