/**
 * Publishes on their way to a peer as they came from their connection: a head that says whose they are,
 * and behind it whole PUBLISH packets (docs/wire.md, "FORWARDS"). The peer walks them as it walks what a client
 * of its own sends, so that they can also be delivered as they are.
 */
import { counterOf, forwardsSpreadHeaderBytes } from "../cluster/wire/frames.js";
import type { Clock } from "../lib/clock.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { decodePublish, PublishView, publishType } from "../protocol/publish.js";
import { Message, type Publisher } from "./message.js";
import type { PublishRun } from "./publish-run.js";
import type { Topic, TopicTable } from "./topic.js";

const mqtt5Shape = 0x100;
/** The node that took them in has checked its own limit. */
const userPropertiesMax = 65_535;
/** Of a number in a body of FORWARDS_SPREAD. */
const offsetBytes = 4;
const nothing: Buffer = Buffer.alloc(0);

/** What precedes the publishes of a connection: `u8` MQTT version, `str16` client id, `str16` user. */
export function headOf({ clientId, user, version }: Publisher): Buffer {
  const id = Buffer.from(clientId, "utf8");
  const name = Buffer.from(user, "utf8");
  const head = Buffer.alloc(5 + id.length + name.length);
  head[0] = version;
  head.writeUInt16BE(id.length, 1);
  head.set(id, 3);
  head.writeUInt16BE(name.length, 3 + id.length);
  head.set(name, 5 + id.length);
  return head;
}

/** May the message leave as it came, for a peer whose subscribers have this QoS at most? */
export function leavesAsItCame(message: Message, peerQos: number): boolean {
  if (message.via === null || message.shape === 0) return false;
  // Nor for what it was committed under.
  if (message.origin !== null) return false;
  // What waits in a stream has its time to live counted down, for which these have no place.
  return message.qos === 0 || (peerQos > 0 && message.expiresMs === 0);
}

/**
 * A number that publishes of one connection share while they are alike: of one shape, on one topic, and without
 * properties. 0: it is like no other.
 */
export function kindOf(message: Message, via: Publisher): number {
  const { topic, shape } = message;
  if (message.propertiesEnd > message.propertiesStart) return 0;
  if (via.topic !== topic || via.shape !== shape) {
    via.topic = topic;
    via.shape = shape;
    via.kind++;
  }
  return via.kind;
}

/** The messages of a whole FORWARDS_SPREAD, each with its number. */
export function messagesOf(frame: Buffer, reader: ForwardsReader): Message[] {
  const found: Message[] = [];
  const first = counterOf(frame);
  reader.openSpread(frame, forwardsSpreadHeaderBytes, frame.length);
  for (let message = reader.nextSpread(); message !== null; message = reader.nextSpread()) {
    message.counter = first + reader.offset;
    found.push(message);
  }
  return found;
}

/** Reads one body of FORWARDS after the other; one reader serves all peers. */
export class ForwardsReader {
  /** The body could not be read to its end. */
  failed = false;
  private readonly view = new PublishView();
  private bytes = nothing;
  private at = 0;
  private end = 0;
  private version = 0;
  /** The last head and what it says: runs of one connection often follow each other. */
  private head = nothing;
  /** Of the share group, if it is a body of FORWARDS_SPREAD. */
  key = "";
  /** What the number of the message that `nextSpread` gave last is above that of the first. */
  offset = 0;
  private clientId = "";
  private user = "";
  private lastTopic: Topic | null = null;

  constructor(
    private readonly topics: TopicTable,
    private readonly clock: Clock,
  ) {}

  /** Begins with the body in `bytes` from `start` to `end`. */
  open(bytes: Buffer, start: number, end: number): void {
    this.bytes = bytes;
    this.end = end;
    this.failed = false;
    this.at = this.isLastHead(start) ? start + this.head.length : this.readHead(start);
  }

  /** Begins with a body of FORWARDS_SPREAD. */
  openSpread(bytes: Buffer, start: number, end: number): void {
    const from = start + 2;
    const keyEnd = from <= end ? from + bytes.readUInt16BE(start) : end + 1;
    const fits = keyEnd <= end;
    this.key = fits ? bytes.toString("utf8", from, keyEnd) : "";
    this.open(bytes, fits ? keyEnd : end, end);
  }

  /** As `next`, of a body of FORWARDS_SPREAD. */
  nextSpread(): Message | null {
    const { bytes, at, end } = this;
    if (this.failed || at >= end) return this.next();
    if (at + offsetBytes >= end) return this.fail();
    this.offset = bytes.readUInt32BE(at);
    this.at = at + offsetBytes;
    return this.next();
  }

  /** The next message; its bytes stay where they are until `Message.own`. Null: that was all. */
  next(): Message | null {
    const { bytes, view, at: first } = this;
    const topic = this.read();
    if (topic === null) {
      this.bytes = nothing;
      return null;
    }
    const { propertiesStart, propertiesEnd, payloadStart, payloadEnd } = view;
    const message = new Message(
      topic,
      view.qos,
      view.retain,
      this.clientId,
      bytes,
      propertiesStart,
      propertiesEnd,
      payloadStart,
      payloadEnd,
    );
    message.user = this.user;
    message.frameStart = first;
    message.shape = this.shapeAt(first);
    if (propertiesEnd > propertiesStart && view.expirySeconds !== -1) {
      message.expireIn(view.expirySeconds, Math.floor(this.clock.monotonicMs()));
    }
    return message;
  }

  /**
   * The whole body as a run of `count` publishes that are alike, of which only the first is decoded. Null: they
   * are not what their sender says; `next` gives them one by one.
   */
  run(count: number): PublishRun | null {
    const { bytes, view, at: start, end } = this;
    const topic = this.read();
    if (topic === null) return null;
    const { qos, payloadStart, propertiesStart, propertiesEnd } = view;
    const longest = this.walkAlike(start, payloadStart, count);
    this.at = start;
    if (longest === 0 || propertiesEnd > propertiesStart) return null;
    const shape = this.shapeAt(start);
    return { topic, qos, shape, publisher: this.clientId, bytes, start, end, count, longest };
  }

  /** Bytes of the longest packet; 0: those behind the first do not fill the body, or are not like it. */
  private walkAlike(start: number, payloadStart: number, count: number): number {
    const { bytes, end } = this;
    const first = bytes[start];
    // Each has at least what precedes the payload of the first.
    const least = payloadStart - start;
    let longest = this.at - start;
    for (let seen = 1; seen < count; seen++) {
      const packet = this.at;
      if (packet >= end || bytes[packet] !== first || this.afterHeader(packet) === 0) return 0;
      const length = this.at - packet;
      if (length < least) return 0;
      if (length > longest) longest = length;
    }
    return this.at === end ? longest : 0;
  }

  /** Decodes the packet at `at` into the view, and moves on behind it. Null: there is none, or `failed`. */
  private read(): Topic | null {
    const { bytes, at: first } = this;
    if (this.failed || first >= this.end) return null;
    const start = this.afterHeader(first);
    if (start === 0) return this.fail();
    const type = bytes[first] as number; // below end
    try {
      decodePublish(bytes, type, start, this.at, this.version, userPropertiesMax, this.view);
      return this.topicOf(bytes);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      return this.fail();
    }
  }

  private shapeAt(first: number): number {
    const type = this.bytes[first] as number; // of a packet that was read
    return this.version === 5 ? type | mqtt5Shape : type;
  }

  /** The topic that the view points at. */
  private topicOf(bytes: Buffer): Topic {
    const { topicStart, topicEnd } = this.view;
    const last = this.lastTopic;
    if (last?.is(bytes, topicStart, topicEnd)) return last;
    const topic = this.topics.intern(bytes, topicStart, topicEnd);
    this.lastTopic = topic;
    return topic;
  }

  /** Where the variable header of the packet at `first` begins, 0 if it is none; `at` is its end then. */
  private afterHeader(first: number): number {
    const { bytes, end } = this;
    let next = first + 1;
    let length = 0;
    for (let shift = 0; shift < 28 && next < end; shift += 7) {
      const byte = bytes[next++] as number; // below end
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        this.at = next + length;
        const isPublish = ((bytes[first] as number) & 0xf0) === publishType;
        return isPublish && this.at <= end ? next : 0;
      }
    }
    return 0;
  }

  private fail(): null {
    this.failed = true;
    this.bytes = nothing;
    return null;
  }

  private isLastHead(start: number): boolean {
    const { head, bytes } = this;
    if (head.length === 0 || this.end - start < head.length) return false;
    for (let i = 0; i < head.length; i++) if (head[i] !== bytes[start + i]) return false;
    return true;
  }

  /** Returns where the head ends; beyond the body, and with `failed`, when it does not fit. */
  private readHead(start: number): number {
    const { bytes, end } = this;
    const idEnd = start + 3 <= end ? start + 3 + bytes.readUInt16BE(start + 1) : end;
    const userEnd = idEnd + 2 <= end ? idEnd + 2 + bytes.readUInt16BE(idEnd) : end + 1;
    if (userEnd > end) {
      this.failed = true;
      return end;
    }
    this.version = bytes[start] as number; // below end
    this.clientId = bytes.toString("utf8", start + 3, idEnd);
    this.user = bytes.toString("utf8", idEnd + 2, userEnd);
    this.head = Buffer.from(bytes.subarray(start, userEnd));
    return userEnd;
  }
}
