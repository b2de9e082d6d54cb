/**
 * One retained message, or the trace of a deleted one, as small as it can be kept: a million of them is
 * what a node should bear. The message is made anew whenever somebody wants it.
 */
import { hashString } from "../lib/hash.js";
import { stampMs } from "../lib/hlc.js";
import type { Qos } from "../protocol/publish.js";
import { Message } from "./message.js";
import type { Sibling } from "./retained-siblings.js";
import { Topic } from "./topic.js";

/** Up to so many bytes are kept as a string of one byte per character: a buffer costs 300 by itself. */
const textBytesMax = 512;

export class RetainedEntry implements Sibling {
  sequence = 0;
  gone = false;
  stamp: number;
  /** Client id of whoever set or deleted it. */
  publisher: string;
  /** Of a message: when it expires on the monotonic clock; 0: never. */
  expiresMs = 0;
  /** Last level of the topic. */
  readonly name: string;
  qos: Qos = 0;
  user = "";
  /** Properties and payload; null: a tombstone. */
  content: string | Buffer | null = null;
  propertiesBytes = 0;
  /** Bytes of the topic. */
  private topicBytes = 0;

  /** A tombstone; `hold` makes it a message. */
  constructor(
    readonly topic: string,
    stamp: number,
    publisher: string,
  ) {
    this.stamp = stamp;
    this.publisher = publisher;
    this.name = topic.slice(topic.lastIndexOf("/") + 1);
  }

  get isTombstone(): boolean {
    return this.content === null;
  }

  /** Bytes of topic, properties and payload; 0: a tombstone. */
  get size(): number {
    return this.content === null ? 0 : this.topicBytes + this.content.length;
  }

  /** When it was set or deleted, on the wall clock. */
  get setMs(): number {
    return stampMs(this.stamp);
  }

  /** A copy of the message; null: a tombstone. */
  get message(): Message | null {
    const { content } = this;
    if (content === null) return null;
    const bytes = typeof content === "string" ? Buffer.from(content, "latin1") : content;
    const topic = new Topic(
      this.topic,
      Buffer.from(this.topic, "utf8"),
      hashString(this.topic),
      undefined,
    );
    const { qos, publisher, propertiesBytes: properties } = this;
    const message = new Message(
      topic,
      qos,
      true,
      publisher,
      // What waited has the time that is left written into its bytes.
      typeof content !== "string" && this.expiresMs !== 0 ? Buffer.from(bytes) : bytes,
      0,
      properties,
      properties,
      bytes.length,
    );
    message.stamp = this.stamp;
    message.expiresMs = this.expiresMs;
    message.user = this.user;
    return message;
  }

  /** It is of no use any more. */
  isOver(nowMs: number): boolean {
    return this.expiresMs !== 0 && this.expiresMs <= nowMs;
  }

  /** Takes the place of what was there. */
  hold(message: Message, expiresMs: number): void {
    this.stamp = message.stamp;
    this.publisher = message.publisher;
    this.user = message.user;
    this.qos = message.qos;
    this.expiresMs = expiresMs;
    this.propertiesBytes = message.propertiesEnd - message.propertiesStart;
    this.topicBytes = message.topic.bytes.length;
    const { bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
    this.content = contentOf(bytes, propertiesStart, propertiesEnd, payloadStart, payloadEnd);
  }

  /** Takes properties and payload from the end of stored bytes. */
  restore(bytes: Buffer, propertiesBytes: number, start: number): void {
    this.propertiesBytes = propertiesBytes;
    this.topicBytes = Buffer.byteLength(this.topic);
    this.content = contentOf(bytes, start, start, start, bytes.length);
  }

  /** What is left of a message that is taken out: nothing. */
  drop(): void {
    this.content = null;
  }
}

function contentOf(
  bytes: Buffer,
  propertiesStart: number,
  propertiesEnd: number,
  payloadStart: number,
  payloadEnd: number,
): string | Buffer {
  const properties = propertiesEnd - propertiesStart;
  const length = properties + payloadEnd - payloadStart;
  if (length <= textBytesMax) {
    const payload = bytes.toString("latin1", payloadStart, payloadEnd);
    if (properties === 0) return payload;
    return bytes.toString("latin1", propertiesStart, propertiesEnd) + payload;
  }
  // Of exactly its size: the common buffer pool would pin 8 KiB for each.
  const own = Buffer.allocUnsafeSlow(length);
  bytes.copy(own, 0, propertiesStart, propertiesEnd);
  bytes.copy(own, properties, payloadStart, payloadEnd);
  return own;
}
