/**
 * Messages as journals store them: everything that a session needs to deliver one later. What a message has in
 * common with the one before it in the record (topic, publisher, delivery) is not written again. When it
 * expires is a wall-clock time, which means the same after a restart.
 */
import type { Qos } from "../../protocol/publish.js";
import { Message } from "../../routing/message.js";
import type { Delivery, Subscriber } from "../../routing/targets.js";
import type { Topic, TopicTable } from "../../routing/topic.js";
import type { ByteReader, ByteWriter } from "./bytes.js";

const Flag = {
  qos: 3,
  retain: 4,
  expires: 8,
  /** The message itself is in a record of `bodies`. */
  body: 16,
  sameTopic: 32,
  samePublisher: 64,
  sameDelivery: 128,
} as const;

const DeliveryFlag = { qos: 3, retainAsPublished: 4, subscriptionIds: 8, share: 16 } as const;

/** Writes messages into a record. One record is written from `begin` to its end without another between. */
export class MessageWriter {
  private topic: Topic | null = null;
  private publisher = "";
  private user = "";
  private delivery: Delivery | null = null;

  constructor(readonly out: ByteWriter) {}

  /** A record begins: nothing is the same as before. */
  begin(): void {
    this.topic = null;
    this.delivery = null;
  }

  /**
   * Writes a message, or where it is if it is in a body record. `delivery` null: it is nobody's in
   * particular. `wallOffsetMs`: what makes wall-clock time of monotonic time.
   */
  write(message: Message, delivery: Delivery | null, inBody: boolean, wallOffsetMs: number): void {
    const { out } = this;
    const { topic, expiresMs } = message;
    let flags: number = message.qos;
    if (message.retain) flags |= Flag.retain;
    if (expiresMs !== 0) flags |= Flag.expires;
    if (inBody) flags |= Flag.body;
    const sameTopic = topic === this.topic;
    if (sameTopic) flags |= Flag.sameTopic;
    const samePublisher =
      this.topic !== null && message.publisher === this.publisher && message.user === this.user;
    if (samePublisher) flags |= Flag.samePublisher;
    const sameDelivery = delivery === null || delivery === this.delivery;
    if (sameDelivery) flags |= Flag.sameDelivery;
    out.byte(flags);
    if (!sameDelivery) this.writeDelivery(delivery);
    if (expiresMs !== 0) out.double(expiresMs + wallOffsetMs);
    if (inBody) {
      out.number(message.body);
      out.number(message.bodyIndex);
      out.number(message.size);
      return;
    }
    if (!sameTopic) {
      out.number(topic.bytes.length);
      out.copy(topic.bytes, 0, topic.bytes.length);
      this.topic = topic;
    }
    if (!samePublisher) {
      out.text(message.publisher);
      out.text(message.user);
      this.publisher = message.publisher;
      this.user = message.user;
    }
    this.writeContent(message);
  }

  private writeContent(message: Message): void {
    const { out } = this;
    const { bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
    out.number(propertiesEnd - propertiesStart);
    out.number(payloadEnd - payloadStart);
    if (propertiesEnd === payloadStart) out.copy(bytes, propertiesStart, payloadEnd);
    else {
      out.copy(bytes, propertiesStart, propertiesEnd);
      out.copy(bytes, payloadStart, payloadEnd);
    }
  }

  private writeDelivery(delivery: Delivery): void {
    const { out } = this;
    const { qos, retainAsPublished, subscriptionIds, share } = delivery;
    let flags: number = qos;
    if (retainAsPublished) flags |= DeliveryFlag.retainAsPublished;
    if (subscriptionIds !== null) flags |= DeliveryFlag.subscriptionIds;
    if (share !== null) flags |= DeliveryFlag.share;
    out.byte(flags);
    if (subscriptionIds !== null) {
      out.number(subscriptionIds.length);
      for (const id of subscriptionIds) out.number(id);
    }
    if (share !== null) out.text(share);
    this.delivery = delivery;
  }
}

/**
 * Reads messages of one record, in their order: each `read` moves on to the next and fills the fields;
 * `message` and `delivery` then make objects of it where they are wanted.
 */
export class MessageReader {
  qos: Qos = 0;
  retain = false;
  /** Wall-clock milliseconds; 0: it does not expire. */
  expiresWallMs = 0;
  /** Number of the record of `bodies` that holds it, and its place there; 0: it is here. */
  body = 0;
  bodyIndex = 0;
  /** As `Message.size`. */
  size = 0;
  deliveryQos: Qos = 0;
  private retainAsPublished = false;
  private subscriptionIds: readonly number[] | null = null;
  share: string | null = null;
  private topicStart = 0;
  private topicLength = 0;
  private publisherStart = 0;
  private userStart = 0;
  private propertiesStart = 0;
  private payloadStart = 0;
  private payloadEnd = 0;
  /** What was made of the fields that the next message may have in common. */
  private topic: Topic | null = null;
  private publisher: string | null = null;
  private user = "";
  private lastDelivery: Delivery | null = null;

  constructor(private readonly input: ByteReader) {}

  /** @throws RangeError the record is damaged */
  read(): void {
    const { input } = this;
    const flags = input.byte();
    // Two bits that were a QoS when they were written.
    this.qos = (flags & Flag.qos) as Qos;
    this.retain = (flags & Flag.retain) !== 0;
    if ((flags & Flag.sameDelivery) === 0) this.readDelivery();
    this.expiresWallMs = (flags & Flag.expires) === 0 ? 0 : input.double();
    this.body = 0;
    if ((flags & Flag.body) !== 0) {
      this.body = input.number();
      this.bodyIndex = input.number();
      this.size = input.number();
      return;
    }
    if ((flags & Flag.sameTopic) === 0) {
      this.topicLength = input.number();
      this.topicStart = input.skip(this.topicLength);
      this.topic = null;
    }
    if ((flags & Flag.samePublisher) === 0) {
      this.publisherStart = input.at;
      input.skip(input.number());
      this.userStart = input.at;
      input.skip(input.number());
      this.publisher = null;
    }
    const properties = input.number();
    const payload = input.number();
    this.propertiesStart = input.skip(properties);
    this.payloadStart = input.skip(payload);
    this.payloadEnd = input.at;
    this.size = this.topicLength + properties + payload;
  }

  /**
   * The message, whose bytes are those of the record unless it expires: then they are its own, as what is left
   * is written into them. `expiresMs`: on the monotonic clock, 0: never.
   * @throws ProtocolError the topic is none
   */
  message(topics: TopicTable, expiresMs: number): Message {
    const { bytes } = this.input;
    const { topicStart, topicLength, propertiesStart, payloadStart, payloadEnd } = this;
    this.topic ??= topics.intern(bytes, topicStart, topicStart + topicLength);
    if (this.publisher === null) this.readNames();
    const message = new Message(
      this.topic,
      this.qos,
      this.retain,
      this.publisher ?? "",
      bytes,
      propertiesStart,
      payloadStart,
      payloadStart,
      payloadEnd,
    );
    message.user = this.user;
    message.expiresMs = expiresMs;
    if (expiresMs === 0) message.isOwn();
    else message.own();
    return message;
  }

  /** How `subscriber` gets it. */
  delivery(subscriber: Subscriber): Delivery {
    const before = this.lastDelivery;
    if (before !== null && before.subscriber === subscriber) return before;
    const { deliveryQos: qos, retainAsPublished, subscriptionIds, share } = this;
    const made = { subscriber, qos, retainAsPublished, noLocal: false, subscriptionIds, share };
    this.lastDelivery = made;
    return made;
  }

  private readNames(): void {
    const { input } = this;
    const { at } = input;
    input.at = this.publisherStart;
    this.publisher = input.text();
    input.at = this.userStart;
    this.user = input.text();
    input.at = at;
  }

  private readDelivery(): void {
    const { input } = this;
    const flags = input.byte();
    this.lastDelivery = null;
    // Two bits that were a QoS when they were written.
    this.deliveryQos = (flags & DeliveryFlag.qos) as Qos;
    this.retainAsPublished = (flags & DeliveryFlag.retainAsPublished) !== 0;
    this.subscriptionIds = null;
    if ((flags & DeliveryFlag.subscriptionIds) !== 0) {
      const count = input.number();
      this.subscriptionIds = Array.from({ length: count }, () => input.number());
    }
    this.share = (flags & DeliveryFlag.share) === 0 ? null : input.text();
  }
}
