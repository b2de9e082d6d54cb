/**
 * What a channel between a connection and a session at another node carries, in bytes (docs/wire.md, "Channels"). The
 * *near* end is at the connection, which opens the channel; the *far* end is at the session.
 */
import { WireError } from "../../cluster/wire/frames.js";
import type {
  SubscribePacket,
  SubscribeRequest,
  UnsubscribePacket,
} from "../../protocol/packets.js";
import type { Qos } from "../../protocol/publish.js";
import { Message } from "../../routing/message.js";
import type { TopicTable } from "../../routing/topic.js";

/** Kinds of entries. Those from 64 on are of the far end. */
export const Kind = {
  attach: 1,
  acks: 2,
  publish: 3,
  subscribe: 4,
  unsubscribe: 5,
  detach: 6,
  skip: 7,
  credit: 8,
  held: 9,
  attached: 64,
  refused: 65,
  packets: 66,
  message: 67,
  close: 68,
  detached: 69,
  farCredit: 70,
  settled: 71,
  hold: 72,
  release: 73,
  moved: 74,
} as const;

/** Is it of a channel that the sender of the entry serves, and not of one that it has opened? */
export const isOfFarEnd = (kind: number): boolean => kind >= Kind.attached;

export const ackRecordBytes = 4;
/** `u8` one of `WillDue`, `f64` expiry. */
export const detachBytes = 9;
/** Whether the will of a connection that is gone is due; `later`: as its node closed it for its own sake. */
export const WillDue = { not: 0, now: 1, later: 2 } as const;

const movedHeadBytes = 8;

/** MOVED: `f64` the epoch of the session at its new node, and that node's name. */
export function encodeMoved(node: string, epoch: number): Buffer {
  const bytes = Buffer.allocUnsafe(movedHeadBytes + Buffer.byteLength(node));
  bytes.writeDoubleBE(epoch, 0);
  bytes.write(node, movedHeadBytes);
  return bytes;
}

/** @throws WireError when it makes no sense */
export function decodeMoved(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly node: string; readonly epoch: number } {
  const epoch = end - start > movedHeadBytes ? bytes.readDoubleBE(start) : -1;
  if (!Number.isSafeInteger(epoch) || epoch < 0) throw new WireError("channel: moved");
  return { node: bytes.toString("utf8", start + movedHeadBytes, end), epoch };
}

const noExpiry = 0xffff_ffff;
const qosMask = 3;
const retainBit = 4;
const dupBit = 8;
const ignoredBit = 16;

/** Several requests of a client may be unanswered; each costs so much of the window that no more are sent. */
const requestsMax = 64;

/** What a SUBSCRIBE or UNSUBSCRIBE of so many bytes costs until it is answered, of a window of `window` bytes. */
export function requestCost(bytes: number, window: number): number {
  return Math.max(bytes, Math.floor(window / requestsMax));
}

/** Where the parts of a message stand that is written by hand. */
interface Target {
  readonly bytes: Buffer;
  readonly at: number;
}

/** A message in flight over a channel. */
export interface Carried {
  readonly message: Message;
  readonly packetId: number;
  readonly dup: boolean;
}

/** A QoS 2 publish of the client. `ignored`: it is answered and goes nowhere. */
export interface CarriedPublish extends Carried {
  readonly ignored: boolean;
}

/** A message for a connection that puts it into packets itself. */
export interface CarriedDelivery extends Carried {
  readonly qos: Qos;
  readonly retain: boolean;
  readonly ids: readonly number[] | null;
}

const publishHeadBytes = 1 + 1 + 2 + 4;
const deliveryHeadBytes = 1 + 2 + 2;

export function publishBytes(message: Message): number {
  return publishHeadBytes + contentBytes(message);
}

/** PUBLISH: `u8` flags, `u8` reason with which it is refused, `u16` packet id, `u32` seconds to live, topic and content. */
export function writePublish(
  { bytes, at }: Target,
  { message, packetId, dup, ignored }: CarriedPublish,
  nowMs: number,
): void {
  const retain = message.retain ? retainBit : 0;
  bytes[at] = message.qos | retain | (dup ? dupBit : 0) | (ignored ? ignoredBit : 0);
  bytes[at + 1] = message.refused;
  bytes.writeUInt16BE(packetId, at + 2);
  const expires = message.expiresMs !== 0;
  const seconds = expires ? Math.min(message.secondsLeft(nowMs), noExpiry - 1) : noExpiry;
  bytes.writeUInt32BE(seconds, at + 4);
  writeContent(bytes, at + publishHeadBytes, message);
}

/**
 * @throws WireError when it makes no sense, ProtocolError when its topic is not valid
 */
export function readPublish(
  bytes: Buffer,
  start: number,
  end: number,
  publisher: string,
  topics: TopicTable,
  nowMs: number,
): CarriedPublish {
  if (end - start < publishHeadBytes) throw new WireError("channel: publish cut off");
  const flags = bytes[start] as number; // checked above
  const message = readContent(bytes, start + publishHeadBytes, end, flags, publisher, topics);
  message.refused = bytes[start + 1] as number; // checked above
  const packetId = bytes.readUInt16BE(start + 2);
  message.packetId = packetId;
  const seconds = bytes.readUInt32BE(start + 4);
  if (seconds !== noExpiry) {
    message.expireIn(seconds, nowMs);
    message.countDown(nowMs);
  }
  return { message, packetId, dup: (flags & dupBit) !== 0, ignored: (flags & ignoredBit) !== 0 };
}

export function deliveryBytes({ message, ids }: CarriedDelivery): number {
  return deliveryHeadBytes + 4 * (ids?.length ?? 0) + contentBytes(message);
}

/** MESSAGE: `u8` flags, `u16` packet id, `u16` number of subscription identifiers, `u32` each, topic and content. */
export function writeDelivery({ bytes, at }: Target, delivery: CarriedDelivery): void {
  const { message, qos, retain, dup, packetId, ids } = delivery;
  bytes[at] = qos | (retain ? retainBit : 0) | (dup ? dupBit : 0);
  bytes.writeUInt16BE(packetId, at + 1);
  bytes.writeUInt16BE(ids?.length ?? 0, at + 3);
  let next = at + deliveryHeadBytes;
  if (ids !== null) for (const id of ids) next = bytes.writeUInt32BE(id, next);
  writeContent(bytes, next, message);
}

/** @throws WireError when it makes no sense, ProtocolError when its topic is not valid */
export function readDelivery(
  bytes: Buffer,
  start: number,
  end: number,
  topics: TopicTable,
): CarriedDelivery {
  if (end - start < deliveryHeadBytes) throw new WireError("channel: message cut off");
  const flags = bytes[start] as number; // checked above
  const packetId = bytes.readUInt16BE(start + 1);
  const count = bytes.readUInt16BE(start + 3);
  const contentAt = start + deliveryHeadBytes + 4 * count;
  if (contentAt > end) throw new WireError("channel: message cut off");
  const ids: number[] = [];
  for (let i = 0; i < count; i++) ids.push(bytes.readUInt32BE(start + deliveryHeadBytes + 4 * i));
  const message = readContent(bytes, contentAt, end, flags, "", topics);
  const retain = (flags & retainBit) !== 0;
  const dup = (flags & dupBit) !== 0;
  return { message, packetId, dup, retain, qos: message.qos, ids: count === 0 ? null : ids };
}

/** `str16` topic, `u32` length and raw properties, payload to the end. */
function contentBytes(message: Message): number {
  const properties = message.propertiesEnd - message.propertiesStart;
  return 2 + message.topic.bytes.length + 4 + properties + message.payloadLength;
}

function writeContent(bytes: Buffer, at: number, message: Message): void {
  const { topic, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
  let next = bytes.writeUInt16BE(topic.bytes.length, at);
  bytes.set(topic.bytes, next);
  next = bytes.writeUInt32BE(propertiesEnd - propertiesStart, next + topic.bytes.length);
  next += message.bytes.copy(bytes, next, propertiesStart, propertiesEnd);
  message.bytes.copy(bytes, next, payloadStart, payloadEnd);
}

function readContent(
  bytes: Buffer,
  at: number,
  end: number,
  flags: number,
  publisher: string,
  topics: TopicTable,
): Message {
  const topicStart = at + 2;
  const topicEnd = topicStart <= end ? topicStart + bytes.readUInt16BE(at) : end + 1;
  const propertiesStart = topicEnd + 4;
  if (propertiesStart > end) throw new WireError("channel: topic cut off");
  const propertiesEnd = propertiesStart + bytes.readUInt32BE(topicEnd);
  const qos = flags & qosMask;
  if (propertiesEnd > end || qos === 3) throw new WireError("channel: content cut off");
  return new Message(
    topics.intern(bytes, topicStart, topicEnd),
    // Two bits, and 3 is excluded.
    qos as Qos,
    (flags & retainBit) !== 0,
    publisher,
    bytes,
    propertiesStart,
    propertiesEnd,
    propertiesEnd,
    end,
  );
}

const noLocalBit = 4;
const asPublishedBit = 8;
const handlingShift = 4;

/** SUBSCRIBE: `u16` packet id, `u32` subscription identifier, then for each filter `u8` options as in MQTT 5 and `str16`. */
export function encodeSubscribe({ packetId, subscriptionId, requests }: SubscribePacket): Buffer {
  const filters = requests.map(({ filter }) => Buffer.from(filter, "utf8"));
  const bytes = Buffer.allocUnsafe(6 + filters.reduce((sum, { length }) => sum + 3 + length, 0));
  bytes.writeUInt16BE(packetId, 0);
  let at = bytes.writeUInt32BE(subscriptionId, 2);
  for (const [index, filter] of filters.entries()) {
    const { qos, noLocal, retainAsPublished, retainHandling } = requests[index] as SubscribeRequest; // as many
    const flags = (noLocal ? noLocalBit : 0) | (retainAsPublished ? asPublishedBit : 0);
    at = bytes.writeUInt8(qos | flags | (retainHandling << handlingShift), at);
    at = bytes.writeUInt16BE(filter.length, at);
    at += filter.copy(bytes, at);
  }
  return bytes;
}

/** @throws WireError when it makes no sense */
export function decodeSubscribe(bytes: Buffer, start: number, end: number): SubscribePacket {
  if (end - start < 6) throw new WireError("channel: subscribe cut off");
  const requests: SubscribeRequest[] = [];
  for (let at = start + 6; at < end; ) {
    const flags = bytes[at] as number; // below end
    const filter = readText(bytes, at + 1, end);
    at += 3 + bytes.readUInt16BE(at + 1);
    const qos = flags & qosMask;
    const retainHandling = flags >> handlingShift;
    if (qos === 3 || retainHandling > 2) throw new WireError("channel: subscription options");
    requests.push({
      filter,
      qos: qos as Qos, // checked above
      noLocal: (flags & noLocalBit) !== 0,
      retainAsPublished: (flags & asPublishedBit) !== 0,
      retainHandling,
    });
  }
  const packetId = bytes.readUInt16BE(start);
  return { cmd: "subscribe", packetId, subscriptionId: bytes.readUInt32BE(start + 2), requests };
}

/** UNSUBSCRIBE: `u16` packet id, then the filters, `str16` each. */
export function encodeUnsubscribe({ packetId, filters }: UnsubscribePacket): Buffer {
  const texts = filters.map((filter) => Buffer.from(filter, "utf8"));
  const bytes = Buffer.allocUnsafe(2 + texts.reduce((sum, { length }) => sum + 2 + length, 0));
  let at = bytes.writeUInt16BE(packetId, 0);
  for (const text of texts) {
    at = bytes.writeUInt16BE(text.length, at);
    at += text.copy(bytes, at);
  }
  return bytes;
}

/** @throws WireError when it makes no sense */
export function decodeUnsubscribe(bytes: Buffer, start: number, end: number): UnsubscribePacket {
  if (end - start < 2) throw new WireError("channel: unsubscribe cut off");
  const filters: string[] = [];
  for (let at = start + 2; at < end; ) {
    filters.push(readText(bytes, at, end));
    at += 2 + bytes.readUInt16BE(at);
  }
  return { cmd: "unsubscribe", packetId: bytes.readUInt16BE(start), filters };
}

function readText(bytes: Buffer, at: number, end: number): string {
  const textEnd = at + 2 <= end ? at + 2 + bytes.readUInt16BE(at) : end + 1;
  if (textEnd > end) throw new WireError("channel: text cut off");
  return bytes.toString("utf8", at + 2, textEnd);
}
