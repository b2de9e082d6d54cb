/**
 * The QoS 2 messages that a session has taken as a member of share groups, one by one: a group's messages reach a member
 * in no order, for each has been chosen for somebody, maybe again after a crash, or comes from another member that had
 * it before. What is given away is forgotten here, as it may come back.
 */
import type { Origin } from "../../routing/message.js";
import type { LogWriter } from "./log-record.js";

export interface TakenShared {
  readonly origin: Origin;
  readonly identity: number;
  readonly share: string;
  /** The number of the message in the session's log; 0: it has none. */
  readonly seq: number;
}

/** Of older ones a repeat is taken again. */
const takenMax = 1024;

export class SharedMarks {
  /** In the order in which they were taken. */
  private readonly taken = new Map<string, TakenShared>();
  private readonly bySeq = new Map<number, TakenShared>();
  /** There was one without a group: what a dead node had committed reaches sessions in no order either. */
  anyAgain = false;
  /** Those not written yet. */
  private due = new Set<TakenShared>();

  has(origin: Origin, identity: number, share: string): boolean {
    return this.taken.has(keyOf(origin, identity, share));
  }

  /** The message of this number, if it is remembered. */
  at(seq: number): TakenShared | undefined {
    return this.bySeq.get(seq);
  }

  add(one: TakenShared): void {
    this.restore(one);
    if (one.seq !== 0) this.due.add(one);
  }

  /** At start: one that was stored. */
  restore(one: TakenShared): void {
    this.forget(one.origin, one.identity, one.share);
    this.taken.set(keyOf(one.origin, one.identity, one.share), one);
    if (one.share === "") this.anyAgain = true;
    if (one.seq !== 0) this.bySeq.set(one.seq, one);
    if (this.taken.size <= takenMax) return;
    const [oldest] = this.taken.values();
    if (oldest !== undefined) this.forget(oldest.origin, oldest.identity, oldest.share);
  }

  forget(origin: Origin, identity: number, share: string): void {
    const key = keyOf(origin, identity, share);
    const one = this.taken.get(key);
    if (one === undefined) return;
    this.taken.delete(key);
    this.bySeq.delete(one.seq);
    this.due.delete(one);
  }

  all(): Iterable<TakenShared> {
    return this.taken.values();
  }

  /** Writes those taken since the last time. */
  writeDue(writer: LogWriter): void {
    if (this.due.size === 0) return;
    for (const one of this.due) writer.taken(one);
    this.due.clear();
  }

  writeAll(writer: LogWriter): void {
    for (const one of this.taken.values()) writer.taken(one);
  }
}

function keyOf({ name, incarnation }: Origin, identity: number, share: string): string {
  return `${identity} ${incarnation} ${name} ${share}`;
}
