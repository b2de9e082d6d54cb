/**
 * Answers to a client's QoS 1 and 2 publishes: PUBACKs and PUBRECs leave in the order in which the
 * publishes came [MQTT-4.6.0-2, MQTT-4.6.0-3], each when its message is accepted everywhere.
 */
import { Ring } from "../lib/ring.js";
import { AckType } from "../protocol/acks.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { AcceptanceSink, Message } from "../routing/message.js";
import type { Session } from "./session.js";

/** Where the answers leave. */
export interface AckOutput {
  /** `reason` other than 0 only for an MQTT 5 client. */
  acknowledge(type: AckType, packetId: number, reason: number): void;
}

/** Whom a connection's acknowledgements tell. */
export interface AcksOwner {
  /** Some publishes were answered, maybe in the midst of another connection's work. */
  onAnswered(): void;
  /** For the first time a publish was refused that this client cannot be told of. */
  onWithheld(): void;
}

export class Acks implements AcceptanceSink {
  /** Bytes of the messages that are not answered. */
  bytes = 0;
  /** QoS 1 publishes that are not answered. */
  qos1 = 0;
  private readonly waiting = new Ring<Message>();
  private isOpen = true;
  /** Stands for an MQTT 3 client's first publish that was refused: it has no word for that, so it is not answered. */
  private withheld: object | null = null;

  constructor(
    private session: Pick<Session, "settleQos2">,
    private readonly output: AckOutput,
    private readonly version: number,
    private readonly counters: { publishesRefused: number },
    private readonly owner: AcksOwner,
  ) {}

  /** A reason code in PUBACK or PUBREC. */
  get tellsRefusal(): boolean {
    return this.version === 5;
  }

  /** Publishes that are not answered. */
  get length(): number {
    return this.waiting.length;
  }

  /** What the client has waited for the longest; null: nothing. */
  get oldest(): object | null {
    return this.withheld ?? this.waiting.peek() ?? null;
  }

  /** An MQTT 3 client's publish was refused: it was not answered, or will not be when its turn comes. */
  get hasWithheld(): boolean {
    if (this.withheld !== null || this.tellsRefusal) return this.withheld !== null;
    for (let i = 0; i < this.waiting.length; i++) {
      if ((this.waiting.at(i)?.refused ?? 0) !== 0) return true;
    }
    return false;
  }

  /** The session of the connection has moved. */
  goOn(session: Pick<Session, "settleQos2">): void {
    this.session = session;
  }

  /** A message was published: answers it now, or in its turn. */
  published(message: Message): void {
    if (message.pending === 0 && this.waiting.length === 0) {
      this.answer(message);
      return;
    }
    this.waiting.push(message);
    this.bytes += message.size;
    if (message.qos === 1) this.qos1++;
  }

  onAccepted(message: Message): void {
    if (!this.isOpen) {
      if (message.qos === 2) this.session.settleQos2(message);
      return;
    }
    let first = this.waiting.peek();
    while (first !== undefined && first.pending === 0) {
      this.waiting.shift();
      this.bytes -= first.size;
      if (first.qos === 1) this.qos1--;
      this.answer(first);
      first = this.waiting.peek();
    }
    this.owner.onAnswered();
  }

  /**
   * The connection is gone: nothing is answered any more. What waited behind others for its answer is settled, or the id
   * of one that was refused would count as taken when its client sends it again.
   */
  close(): void {
    this.isOpen = false;
    for (
      let message = this.waiting.shift();
      message !== undefined;
      message = this.waiting.shift()
    ) {
      if (message.qos === 2 && message.pending === 0) this.session.settleQos2(message);
    }
  }

  private answer(message: Message): void {
    const { refused, packetId } = message;
    if (message.qos === 2) this.session.settleQos2(message);
    if (refused !== 0) this.counters.publishesRefused++;
    const type = message.qos === 2 ? AckType.Pubrec : AckType.Puback;
    if (this.version === 5) {
      // PUBREC may say so too, but clients and conformance suites expect it of PUBACK only.
      const unmatched =
        message.matched === 0 && type === AckType.Puback ? ReasonCode.NoMatchingSubscribers : 0;
      this.output.acknowledge(type, packetId, refused === 0 ? unmatched : refused);
    } else if (refused === 0) this.output.acknowledge(type, packetId, 0);
    else if (this.withheld === null) {
      this.withheld = {};
      this.owner.onWithheld();
    }
  }
}
