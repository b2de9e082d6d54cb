/**
 * The highest identity that a session has taken from each origin (`Message.origin`): what is not higher is a repeat. Marks
 * are stored in the same record as the messages, so that session and mark never disagree.
 */
import type { Message, Origin } from "../../routing/message.js";
import type { LogWriter } from "./log-record.js";

interface Mark {
  origin: Origin;
  identity: number;
  due: boolean;
}

export class Marks {
  /** Null: it has taken nothing that could come again. */
  private byName: Map<string, Mark> | null = null;
  /** The mark of the message before: most come from the same origin. */
  private last: Mark | null = null;
  /** Taken in this turn; it may come twice, for the session itself and as a member of a share group. */
  private current: Message | null = null;
  private anyDue = false;

  isRepeat(message: Message, origin: Origin): boolean {
    if (message === this.current) return false;
    const mark = this.markOf(origin.name);
    if (mark === undefined || origin.incarnation > mark.origin.incarnation) return false;
    return origin.incarnation < mark.origin.incarnation || message.identity <= mark.identity;
  }

  /** The session takes this message. */
  note(message: Message, origin: Origin): void {
    this.current = message;
    this.set(origin, message.identity);
  }

  forgetCurrent(): void {
    this.current = null;
  }

  /** Writes those that have changed since the last time. */
  writeDue(writer: LogWriter): void {
    if (!this.anyDue) return;
    for (const mark of this.byName?.values() ?? []) {
      if (mark.due) writer.mark(mark.origin, mark.identity);
      mark.due = false;
    }
    this.anyDue = false;
  }

  writeAll(writer: LogWriter): void {
    for (const { origin, identity } of this.byName?.values() ?? []) writer.mark(origin, identity);
  }

  /** At start: a mark that was stored. */
  restore(origin: Origin, identity: number): void {
    this.byName ??= new Map();
    this.byName.set(origin.name, { origin, identity, due: false });
  }

  private set(origin: Origin, identity: number): void {
    let mark = this.markOf(origin.name);
    if (mark === undefined) {
      mark = { origin, identity, due: true };
      this.byName ??= new Map();
      this.byName.set(origin.name, mark);
    }
    mark.origin = origin;
    mark.identity = identity;
    mark.due = this.anyDue = true;
    this.last = mark;
  }

  private markOf(name: string): Mark | undefined {
    if (this.last !== null && this.last.origin.name === name) return this.last;
    return this.byName?.get(name);
  }
}
