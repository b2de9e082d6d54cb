/**
 * One record of a session's log: everything that happened to the session between two commits. First the messages
 * it took, numbered one after the other within the session from the record's first number on, then what became
 * of these and of earlier ones, in order. A checkpoint is a record too: what is left of all before it.
 */
import type { Qos } from "../../protocol/publish.js";
import type { Message, Origin } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { ByteReader, ByteWriter } from "./bytes.js";
import { MessageReader, MessageWriter } from "./message-codec.js";
import type { TakenShared } from "./shared-marks.js";

export const logVersion = 1;

/** Events with a first number, a second one and a count: those that continue the one before are one event. */
export const Event = {
  /** QoS 1 messages left: packet id, number of the first, how many, both counting up together. */
  Sent1: 1,
  /** QoS 2, the same. */
  Sent2: 2,
  /** The exchanges of these packet ids are complete: id, -, how many. */
  Done: 3,
  /** PUBREC came for these ids. */
  Received: 4,
  /** Messages that will not be sent: number, -, how many. */
  Gone: 5,
  /** An incoming QoS 2 message of this id is accepted by all; -, one. */
  Accepted: 6,
  /** An incoming QoS 2 exchange is over, or was refused. */
  Released: 7,
  /** The message for this packet id was not sent, and the id is free. */
  Passed: 12,
  /** Messages that are another member's of their share group now: number, -, how many. */
  Given: 13,
  /** In checkpoints: messages that wait in the queue: number, -, how many. */
  Waiting: 8,
  /** In checkpoints: the next packet id. */
  NextId: 9,
  /** In checkpoints: an incoming QoS 2 id that is open and accepted. */
  Open: 10,
  /** In checkpoints: the number of the last record that it covers; -, one. */
  Through: 11,
} as const;
export type Event = (typeof Event)[keyof typeof Event];

const Op = { Message: 32, Skip: 33, Opened: 34, Mark: 35, Taken: 36 } as const;
const stride = 4;

/** Events in their order, in one array of numbers. */
export class EventList {
  private readonly items: number[] = [];

  get isEmpty(): boolean {
    return this.items.length === 0;
  }

  add(event: Event, first: number, second: number): void {
    const { items } = this;
    const last = items.length - stride;
    if (last >= 0 && items[last] === event) {
      const count = items[last + 3] as number; // within the array, as all below
      const follows = (items[last + 1] as number) + count === first;
      const isPair = event <= Event.Sent2;
      if (follows && (!isPair || (items[last + 2] as number) + count === second)) {
        items[last + 3] = count + 1;
        return;
      }
    }
    items.push(event, first, second, 1);
  }

  writeTo(out: ByteWriter): void {
    const { items } = this;
    for (let i = 0; i < items.length; i += stride) {
      out.byte(items[i] as number);
      out.number(items[i + 1] as number);
      if ((items[i] as number) <= Event.Sent2) out.number(items[i + 2] as number);
      out.number(items[i + 3] as number);
    }
  }

  clear(): void {
    this.items.length = 0;
  }
}

/** Writes one record after the other; between two of them anybody may have it. */
export class LogWriter {
  private readonly out = new ByteWriter();
  private readonly messages = new MessageWriter(this.out);

  get length(): number {
    return this.out.length;
  }

  begin(firstSeq: number): void {
    this.messages.begin();
    this.out.number(firstSeq);
  }

  message(message: Message, delivery: Delivery, inBody: boolean, wallOffsetMs: number): void {
    this.out.byte(Op.Message);
    this.messages.write(message, delivery, inBody, wallOffsetMs);
  }

  /** This many numbers belong to messages that are done with already. */
  skip(count: number): void {
    this.out.byte(Op.Skip);
    this.out.number(count);
  }

  /** A client sent a QoS 2 message under this id, which is published after the commit. */
  opened(packetId: number, message: Message, wallOffsetMs: number): void {
    const { out } = this;
    out.byte(Op.Opened);
    out.number(packetId);
    out.double(message.origin?.incarnation ?? 0);
    out.number(message.identity);
    this.messages.write(message, null, false, wallOffsetMs);
  }

  mark(origin: Origin, identity: number): void {
    const { out } = this;
    out.byte(Op.Mark);
    out.text(origin.name);
    out.double(origin.incarnation);
    out.number(identity);
  }

  /** A message of a share group, with what it is known by. */
  taken({ origin, identity, share, seq }: TakenShared): void {
    const { out } = this;
    out.byte(Op.Taken);
    out.text(origin.name);
    out.text(share);
    out.double(origin.incarnation);
    out.number(identity);
    out.number(seq);
  }

  event(event: Event, first: number, count: number): void {
    this.out.byte(event);
    this.out.number(first);
    this.out.number(count);
  }

  sent(qos: number, packetId: number, seq: number): void {
    this.out.byte(qos === 2 ? Event.Sent2 : Event.Sent1);
    this.out.number(packetId);
    this.out.number(seq);
    this.out.number(1);
  }

  events(events: EventList): void {
    events.writeTo(this.out);
  }

  /** The record, with room for its head. */
  take(): Buffer {
    return this.out.take();
  }

  /** Before it goes back to where it is kept for the next session. */
  clear(): void {
    this.out.clear(bufferKept);
  }
}

const bufferKept = 256 * 1024;

/** Told of everything in a record, in its order. */
export interface LogHandler {
  /** `message` holds it during the call. */
  onMessage(seq: number, message: MessageReader): void;
  onOpened(packetId: number, incarnation: number, identity: number, message: MessageReader): void;
  onMark(name: string, incarnation: number, identity: number): void;
  onTaken(taken: TakenShared): void;
  /** `second` is 0 except of what was sent. */
  onEvent(event: Event, first: number, second: number, count: number): void;
}

/**
 * Reads the body of a record. Returns the number that the next message after it has.
 * @throws Error it is no such record
 */
export function readLog(body: Buffer, handler: LogHandler): number {
  const input = new ByteReader(body);
  const message = new MessageReader(input);
  let seq = input.number();
  while (!input.done) {
    const op = input.byte();
    switch (op) {
      case Op.Message:
        message.read();
        handler.onMessage(seq++, message);
        break;
      case Op.Skip:
        seq += input.number();
        break;
      case Op.Opened:
        readOpened(input, message, handler);
        break;
      case Op.Mark:
        handler.onMark(input.text(), input.double(), input.number());
        break;
      case Op.Taken:
        handler.onTaken(readTaken(input));
        break;
      default: {
        if (op < Event.Sent1 || op > Event.Given) throw new Error("an unknown event in a record");
        const first = input.number();
        const second = op <= Event.Sent2 ? input.number() : 0;
        handler.onEvent(op as Event, first, second, input.number()); // checked above
      }
    }
  }
  return seq;
}

/** The number of the first message of a record. */
export function firstSeqOf(body: Buffer): number {
  return new ByteReader(body).number();
}

function readTaken(input: ByteReader): TakenShared {
  const name = input.text();
  const share = input.text();
  const origin = { name, incarnation: input.double() };
  return { origin, share, identity: input.number(), seq: input.number() };
}

function readOpened(input: ByteReader, message: MessageReader, handler: LogHandler): void {
  const packetId = input.number();
  const incarnation = input.double();
  const identity = input.number();
  message.read();
  handler.onOpened(packetId, incarnation, identity, message);
}

/** The QoS at which a message that was read is delivered. */
export function deliveredQos({ qos, deliveryQos }: MessageReader): Qos {
  return qos < deliveryQos ? qos : deliveryQos;
}
