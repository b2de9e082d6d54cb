/** What the records of a session's log come to, read in their order after the checkpoint. */
import type { Message, Origin } from "../../routing/message.js";
import type { TopicTable } from "../../routing/topic.js";
import { qos2Origin } from "./committed-publishes.js";
import { Event, type LogHandler } from "./log-record.js";
import type { MessageReader } from "./message-codec.js";
import type { TakenShared } from "./shared-marks.js";

/** A message that is due, without itself. */
export interface StoredMessage {
  readonly size: number;
  /** On the monotonic clock; 0: never. */
  readonly expiresMs: number;
  /** Number of the record of `bodies` that holds it; 0: the log. */
  readonly body: number;
}

interface InFlight {
  /** 0: the message is not needed any more. */
  seq: number;
  readonly qos: number;
  /** PUBREC came. */
  released: boolean;
}

const lastId = 0xffff;

export class LogState implements LogHandler {
  /** Messages due, by number, in order. */
  readonly live = new Map<number, StoredMessage>();
  /** Packet ids in flight, in the order in which they were given. */
  readonly window = new Map<number, InFlight>();
  /** Ids for which PUBREC came, in that order; some may be complete since. */
  readonly receipts: number[] = [];
  /** Incoming QoS 2: open ids, and their messages while they are not known to be accepted. */
  readonly open = new Map<number, Message | null>();
  readonly marks: { readonly origin: Origin; readonly identity: number }[] = [];
  /** Messages of share groups, by number, that are remembered. */
  readonly taken = new Map<number, TakenShared>();
  nextId = 1;
  nextSeq = 1;
  /** Records up to this number are covered by the checkpoint. */
  through = 0;
  private number = 0;
  private readonly waiting: { readonly first: number; readonly end: number }[] = [];
  /** Numbers of the messages that were in flight at the checkpoint. */
  private readonly sent = new Set<number>();

  constructor(
    private readonly topics: TopicTable,
    private readonly wallOffsetMs: number,
  ) {}

  /** A record begins; 0: the checkpoint, which comes first. */
  begin(number: number): void {
    this.number = number;
  }

  onMessage(seq: number, { size, expiresWallMs, body }: MessageReader): void {
    if (this.isCovered && !this.sent.has(seq) && !this.wasWaiting(seq)) return;
    const expiresMs = expiresWallMs === 0 ? 0 : Math.max(1, expiresWallMs - this.wallOffsetMs);
    this.live.set(seq, { size, expiresMs, body });
  }

  onOpened(packetId: number, incarnation: number, identity: number, reader: MessageReader): void {
    if (this.isCovered) return;
    const { expiresWallMs } = reader;
    const expiresMs = expiresWallMs === 0 ? 0 : Math.max(1, expiresWallMs - this.wallOffsetMs);
    const message = reader.message(this.topics, expiresMs);
    message.packetId = packetId;
    message.origin = { name: qos2Origin, incarnation };
    message.identity = identity;
    this.open.set(packetId, message);
  }

  onMark(name: string, incarnation: number, identity: number): void {
    if (!this.isCovered) this.marks.push({ origin: { name, incarnation }, identity });
  }

  onTaken(taken: TakenShared): void {
    if (!this.isCovered) this.taken.set(taken.seq, taken);
  }

  onEvent(event: Event, first: number, second: number, count: number): void {
    if (this.isCovered) return;
    switch (event) {
      case Event.Through:
        this.through = first;
        return;
      case Event.Waiting:
        this.waiting.push({ first, end: first + count });
        return;
      case Event.NextId:
        this.nextId = first;
        return;
      default:
        for (let i = 0; i < count; i++) this.apply(event, first + i, second === 0 ? 0 : second + i);
    }
  }

  /** Numbers of the messages in flight. */
  inFlightSeqs(): Set<number> {
    const seqs = new Set<number>();
    for (const { seq } of this.window.values()) seqs.add(seq);
    return seqs;
  }

  private get isCovered(): boolean {
    return this.number !== 0 && this.number <= this.through;
  }

  private apply(event: Event, first: number, seq: number): void {
    switch (event) {
      case Event.Sent1:
      case Event.Sent2:
        this.window.set(first, { seq, qos: event === Event.Sent2 ? 2 : 1, released: false });
        if (this.number === 0) this.sent.add(seq);
        this.nextId = first === lastId ? 1 : first + 1;
        return;
      case Event.Passed:
        this.nextId = first === lastId ? 1 : first + 1;
        return;
      case Event.Done:
        this.forget(first);
        this.window.delete(first);
        return;
      case Event.Received:
        this.forget(first);
        this.receipts.push(first);
        return;
      case Event.Gone:
        this.live.delete(first);
        return;
      case Event.Given:
        this.live.delete(first);
        this.taken.delete(first);
        return;
      case Event.Accepted:
      case Event.Open:
        this.open.set(first, null);
        return;
      case Event.Released:
        this.open.delete(first);
        return;
      default:
        return;
    }
  }

  /** The message in flight under an id is not needed any more. */
  private forget(id: number): void {
    const sent = this.window.get(id);
    if (sent === undefined) return;
    this.live.delete(sent.seq);
    sent.seq = 0;
    sent.released = true;
  }

  private wasWaiting(seq: number): boolean {
    const { waiting } = this;
    let low = 0;
    let high = waiting.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((waiting[middle]?.end ?? 0) <= seq) low = middle + 1;
      else high = middle;
    }
    const run = waiting[low];
    return run !== undefined && run.first <= seq;
  }
}
