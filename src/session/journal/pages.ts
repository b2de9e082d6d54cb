/**
 * Messages of one session's log back into memory, several records at a time: those in flight before its client is
 * answered, those that wait when there is room for them.
 */
import type { TopicTable } from "../../routing/topic.js";
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { keyNumber, numberKey } from "../../store/keys.js";
import { openRecord } from "../../store/record.js";
import type { Store } from "../../store/store.js";
import type { Session } from "../session.js";
import type { Bodies } from "./bodies.js";
import { logPrefix, type SessionJournal } from "./journal.js";
import { logVersion, readLog } from "./log-record.js";
import type { MessageReader } from "./message-codec.js";

/** Most records of a page. */
const recordsMax = 1024;

interface Found {
  readonly seq: number;
  /** Null: in the body record. */
  readonly message: Message | null;
  readonly delivery: Delivery;
  readonly body: number;
  readonly bodyIndex: number;
}

/** Records from one place of the index to before another. */
interface Span {
  readonly from: number;
  /** Number of the last of them. */
  readonly last: number;
  readonly count: number;
  /** Messages before this number are in these records or before them. */
  readonly endSeq: number;
}

export interface PagesHost {
  readonly store: Store;
  readonly bodies: Bodies | null;
  readonly topics: TopicTable;
  wallOffsetMs(): number;
  /** Calls back in another turn. */
  defer(callback: () => void): void;
  /** A partition could not be read. */
  onReadFailed(partition: string, why: string): void;
  /** Messages that were to be there could not be read, or not any more. */
  onLost(session: Session, count: number): void;
}

export class Pages {
  constructor(private readonly host: PagesHost) {}

  /**
   * Fetches the first messages of the queue, from number `first` on, which are not in memory. False: the store could not
   * be read.
   */
  async loadQueue(journal: SessionJournal, first: number): Promise<boolean> {
    const { session } = journal;
    const queue = session.pages;
    if (queue === null) return true;
    const span = spanOf(journal, first, queue.pageEnd(first));
    const found = await this.read(
      journal,
      span,
      (seq) => queue.holds(seq),
      (seq) => queue.expiryOf(seq),
    );
    if (found === null) return false;
    // While it was read the session may have ended, or left everything to the log again.
    const isStale = session.pages !== queue || queue.firstStored !== first;
    if (isStale || !journal.online) return true;
    for (const { seq, message, delivery } of found) {
      if (message !== null) queue.offer(seq, message, delivery);
    }
    const lost = queue.pageRead(span.endSeq);
    if (lost > 0) this.host.onLost(session, lost);
    return true;
  }

  /** Fetches the messages in flight that are not in memory. False: the store could not be read. */
  async loadWindow(journal: SessionJournal): Promise<boolean> {
    const { session } = journal;
    const { window } = session;
    const ids = new Map<number, number>();
    for (const id of window.ids()) if (window.isUnloaded(id)) ids.set(window.seqOf(id), id);
    for (let first = lowest(ids); first !== Number.POSITIVE_INFINITY; first = lowest(ids)) {
      const span = spanOf(journal, first, first + recordsMax);
      // Nothing of it can be read yet, which is no reason to give it up.
      if (span.count === 0) return false;
      const found = await this.read(
        journal,
        span,
        (seq) => ids.has(seq),
        () => 0,
      );
      if (found === null) return false;
      for (const { seq, message, delivery } of found) {
        const id = ids.get(seq);
        if (id !== undefined && message !== null && window.seqOf(id) === seq) {
          window.load(id, message, delivery);
        }
      }
      let lost = 0;
      for (const [seq, id] of ids) {
        if (seq >= Math.max(span.endSeq, first + 1)) continue;
        ids.delete(seq);
        if (!window.isUnloaded(id) || window.seqOf(id) !== seq) continue;
        session.abandon(id);
        lost++;
      }
      if (lost > 0) this.host.onLost(session, lost);
    }
    return true;
  }

  /**
   * Hands over every message that is due, in flight or waiting, whose turn `wanted` says it is. Ends early when
   * `goesOn` says so. False: the store could not be read.
   */
  async visit(
    journal: SessionJournal,
    wanted: (seq: number) => boolean,
    goesOn: () => boolean,
    onMessage: (seq: number, message: Message, delivery: Delivery) => void,
  ): Promise<boolean> {
    for (let first = journal.index.firstSeqAt(0); goesOn() && first < journal.nextSeq; ) {
      const span = spanOf(journal, first, first + recordsMax);
      const found = await this.read(journal, span, wanted, () => 0);
      if (found === null) return !goesOn();
      if (!goesOn()) break;
      for (const { seq, message, delivery } of found) {
        if (message !== null && wanted(seq)) onMessage(seq, message, delivery);
      }
      if (span.endSeq <= first || span.endSeq >= journal.nextSeq) break;
      first = span.endSeq;
      // A store that is a file here reads at once: a long queue would hold up all others.
      await new Promise<void>((resolve) => this.host.defer(resolve));
    }
    return true;
  }

  /** Null: the store could not be read, which was told. */
  private async read(
    journal: SessionJournal,
    span: Span,
    wanted: (seq: number) => boolean,
    expiryOf: (seq: number) => number,
  ): Promise<Found[] | null> {
    const found: Found[] = [];
    const bodies = new Set<number>();
    if (span.count === 0) return found;
    try {
      const { store } = this.host;
      let from = `${logPrefix}${numberKey(span.from)}`;
      for (let number = 0; number < span.last; ) {
        // Among them may be records that nothing is due of, whose end is not committed yet.
        const rows = await store.read(journal.partition, from, span.count);
        for (const [key, value] of rows) {
          number = key.startsWith(logPrefix) ? keyNumber(key.slice(logPrefix.length)) : Infinity;
          if (number > span.last) break;
          this.parse(journal.session, value, wanted, expiryOf, found, bodies);
        }
        if (rows.length < span.count) break;
        from = `${rows.at(-1)?.[0]}\0`;
      }
      if (bodies.size > 0 && this.host.bodies !== null) {
        return joinBodies(found, await this.host.bodies.load(bodies));
      }
    } catch (error) {
      this.host.onReadFailed(journal.partition, error instanceof Error ? error.message : "");
      return null;
    }
    return found;
  }

  private parse(
    session: Session,
    record: Buffer,
    wanted: (seq: number) => boolean,
    expiryOf: (seq: number) => number,
    found: Found[],
    bodies: Set<number>,
  ): void {
    const body = openRecord(logVersion, record);
    if (body === null) return;
    const { topics } = this.host;
    const offset = this.host.wallOffsetMs();
    const onMessage = (seq: number, reader: MessageReader): void => {
      if (!wanted(seq)) return;
      const { expiresWallMs, body: number, bodyIndex } = reader;
      const stored = expiresWallMs === 0 ? 0 : Math.max(1, expiresWallMs - offset);
      if (number !== 0) bodies.add(number);
      const message = number === 0 ? reader.message(topics, expiryOf(seq) || stored) : null;
      found.push({ seq, message, delivery: reader.delivery(session), body: number, bodyIndex });
    };
    readLog(body, {
      onMessage,
      onOpened: ignore,
      onMark: ignore,
      onTaken: ignore,
      onEvent: ignore,
    });
  }
}

const ignore = (): void => undefined;

function spanOf(
  { index, committedRecord, nextSeq }: SessionJournal,
  first: number,
  end: number,
): Span {
  const start = Math.max(0, index.indexOf(first));
  let at = start;
  for (; at - start < recordsMax; at++) {
    const number = index.numberAt(at);
    if (number < 0 || number > committedRecord) break;
    if (at > start && index.firstSeqAt(at) >= end) break;
  }
  const endSeq = Math.min(index.firstSeqAt(at), nextSeq);
  return { from: index.numberAt(start), last: index.numberAt(at - 1), count: at - start, endSeq };
}

function lowest(seqs: ReadonlyMap<number, number>): number {
  let found = Number.POSITIVE_INFINITY;
  for (const seq of seqs.keys()) if (seq < found) found = seq;
  return found;
}

/** Fills in the messages that are in body records. */
function joinBodies(found: Found[], bodies: Map<number, readonly Message[]>): Found[] {
  return found.map((one) => {
    if (one.body === 0) return one;
    return { ...one, message: bodies.get(one.body)?.[one.bodyIndex] ?? null };
  });
}
