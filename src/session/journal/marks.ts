/**
 * What a session has taken from each origin (`Message.origin`), to know what comes again. Of its own subscriptions the
 * highest number: it takes all of an origin in order, and what is not higher is a repeat. Of share groups see
 * `SharedMarks`. Both are stored in the same record as the messages, so that session and marks never disagree.
 */
import type { Message, Origin } from "../../routing/message.js";
import { againOrigin, committedOrigin } from "../../routing/origins.js";
import type { Delivery } from "../../routing/targets.js";
import type { LogWriter } from "./log-record.js";
import { SharedMarks, type TakenShared } from "./shared-marks.js";

interface Mark {
  origin: Origin;
  identity: number;
  due: boolean;
  /** Of an earlier process of the same node, while what that had committed may be published again. */
  before: Mark | null;
}

/**
 * Processes of a node, before the last one that a session has taken from, whose numbers it remembers: what one has left is
 * published again by the next, and once more by whoever adopts that.
 */
const earlierLives = 4;

export class Marks {
  /** Null: it has taken nothing that could come again. */
  private byName: Map<string, Mark> | null = null;
  /** The mark of the message before: most come from the same origin. */
  private last: Mark | null = null;
  private anyDue = false;
  private sharedOnes: SharedMarks | null = null;

  /** What it took as a member of share groups. */
  get shared(): SharedMarks {
    this.sharedOnes ??= new SharedMarks();
    return this.sharedOnes;
  }

  /** Has the session taken this message before? */
  isRepeat(message: Message, origin: Origin, delivery: Delivery): boolean {
    if (delivery.share !== null) return this.hasShared(origin, message.identity, delivery.share);
    if (origin.isAgain) return this.isAgainRepeat(message, origin);
    if (this.sharedOnes?.anyAgain && this.sharedOnes.has(origin, message.identity, noShare)) {
      return true;
    }
    const mark = this.markOf(origin.name);
    if (mark === undefined || origin.incarnation > mark.origin.incarnation) return false;
    return origin.incarnation < mark.origin.incarnation || message.identity <= mark.identity;
  }

  /** The session takes this message; `seq`: the number under which it keeps it, 0 if it has none. */
  note(message: Message, origin: Origin, delivery: Delivery, seq: number): void {
    const { share } = delivery;
    if (origin.isAgain) {
      const committed = committedOf(origin);
      const { identity } = message;
      this.shared.add({ origin: committed, identity, share: share ?? noShare, seq });
    } else if (share === null) this.set(origin, message.identity);
    // One of QoS 1 may come again, and nothing is remembered.
    else if (message.qos === 2) {
      this.shared.add({ origin, identity: message.identity, share, seq });
    }
  }

  /** A message that it took as a member of a share group is another's now, and may come back. */
  forget({ origin, identity }: Message, share: string): void {
    if (origin !== null) this.sharedOnes?.forget(committedOf(origin), identity, share);
  }

  /** Gives a message read from the log the origin that it had, where that is known. */
  restoreOrigin(message: Message, seq: number): void {
    const taken = this.sharedOnes?.at(seq);
    if (taken === undefined) return;
    const { name, incarnation, isStream } = taken.origin;
    // It does not come through that stream now.
    message.origin = isStream ? { name, incarnation } : taken.origin;
    message.identity = taken.identity;
  }

  /** Writes those that have changed since the last time. */
  writeDue(writer: LogWriter): void {
    this.sharedOnes?.writeDue(writer);
    if (!this.anyDue) return;
    for (const mark of this.each()) {
      if (mark.due) writer.mark(mark.origin, mark.identity);
      mark.due = false;
    }
    this.anyDue = false;
  }

  writeAll(writer: LogWriter): void {
    for (const { origin, identity } of this.each()) writer.mark(origin, identity);
    this.sharedOnes?.writeAll(writer);
  }

  /** The highest of each origin, those of earlier processes first: restored in this order they are what they were. */
  *all(): Iterable<{ name: string; incarnation: number; identity: number }> {
    for (const { origin, identity } of this.each()) {
      yield { name: origin.name, incarnation: origin.incarnation, identity };
    }
  }

  /** What it took as a member of share groups, and remembers. */
  taken(): Iterable<TakenShared> {
    return this.sharedOnes?.all() ?? [];
  }

  /** At start: a mark that was stored. */
  restore(origin: Origin, identity: number): void {
    this.byName ??= new Map();
    const before = lifeBefore(this.byName.get(origin.name), origin);
    this.byName.set(origin.name, { origin, identity, due: false, before });
    this.last = null;
  }

  /** Has the session taken it as a member of that share group, and remembers? */
  hasShared(origin: Origin, identity: number, share: string): boolean {
    return this.sharedOnes?.has(committedOf(origin), identity, share) ?? false;
  }

  /** Was it taken before its node died, when all came in order, or since, in none? */
  private isAgainRepeat({ identity }: Message, origin: Origin): boolean {
    const committed = committedOf(origin);
    let mark = this.markOf(committed.name) ?? null;
    while (mark !== null && mark.origin.incarnation > committed.incarnation) mark = mark.before;
    const isSameLife = mark?.origin.incarnation === committed.incarnation;
    if (isSameLife && identity <= (mark?.identity ?? 0)) return true;
    return this.sharedOnes?.has(committed, identity, noShare) ?? false;
  }

  private set(origin: Origin, identity: number): void {
    let mark = this.markOf(origin.name);
    if (mark === undefined || mark.origin.incarnation !== origin.incarnation) {
      mark = { origin, identity, due: true, before: lifeBefore(mark, origin) };
      this.byName ??= new Map();
      this.byName.set(origin.name, mark);
    }
    mark.origin = origin;
    mark.identity = identity;
    mark.due = this.anyDue = true;
    this.last = mark;
  }

  private *each(): Iterable<Mark> {
    for (const mark of this.byName?.values() ?? []) {
      if (mark.before !== null) yield* [...earlierThan(mark)].reverse();
      yield mark;
    }
  }

  private markOf(name: string): Mark | undefined {
    if (this.last !== null && this.last.origin.name === name) return this.last;
    return this.byName?.get(name);
  }
}

/** What is kept of the process before, when a node's next one begins: of streams nothing, no other sends those again. */
function lifeBefore(mark: Mark | undefined, { name, incarnation }: Origin): Mark | null {
  if (mark === undefined || !name.endsWith(committedOrigin)) return null;
  if (mark.origin.incarnation >= incarnation) return mark.before;
  const kept = [mark, ...earlierThan(mark)];
  const oldest = kept[earlierLives - 1];
  if (oldest !== undefined) oldest.before = null;
  return mark;
}

function* earlierThan(mark: Mark): Iterable<Mark> {
  for (let one = mark.before; one !== null; one = one.before) yield one;
}

/** In place of a group's key, of what was taken in no order by a session's own subscriptions. */
const noShare = "";

/** Under which numbers it was committed. */
function committedOf(origin: Origin): Origin {
  if (!origin.isAgain) return origin;
  const { name, incarnation } = origin;
  return { name: name.slice(0, -againOrigin.length) + committedOrigin, incarnation };
}
