/**
 * A publish on its way to a peer, in bytes (docs/wire.md, "Forward"). The cluster puts its own
 * header into the first `forwardHeaderBytes` bytes of the frame that is made here.
 */
import { forwardHeaderBytes } from "../cluster/wire/frames.js";
import type { Clock } from "../lib/clock.js";
import type { Qos } from "../protocol/publish.js";
import { Message } from "./message.js";
import { originKind, originName, originOf } from "./origins.js";
import type { TopicTable } from "./topic.js";

const qosBits = 3;
const retainBit = 4;
/** 8 is of share groups (shared-forward.ts). */
const identityBit = 16;
const identityBytes = 17;
/** Of the kind of an identity: it is another node's, whose name follows. */
const foreignBit = 128;
/** Where the seconds until it expires are in the frame. */
const expiryPlace = forwardHeaderBytes + 9;
const fixedBytes = 1 + 8 + 4 + 2 + 2 + 2 + 4;
/** The message does not expire. */
const noExpiry = 0xffff_ffff;

/** The whole frame for a message. Its bytes are its own: it can be kept until it is acknowledged. */
export function encodeForward(message: Message, qos: Qos, clock: Clock): Buffer {
  const topic = message.topic.bytes;
  const publisherBytes = Buffer.byteLength(message.publisher);
  const userBytes = message.user === "" ? 0 : Buffer.byteLength(message.user);
  const propertyBytes = message.propertiesEnd - message.propertiesStart;
  const { origin } = message;
  const kind = origin === null ? null : originKind(origin);
  const node = kind?.node ?? "";
  const length =
    forwardHeaderBytes +
    fixedBytes +
    (kind === null ? 0 : identityBytes) +
    (node === "" ? 0 : 2 + Buffer.byteLength(node)) +
    topic.length +
    publisherBytes +
    userBytes +
    propertyBytes +
    message.payloadLength;
  const frame = Buffer.allocUnsafe(length);
  let at = forwardHeaderBytes;
  const flags = qos | (message.retain ? retainBit : 0) | (kind === null ? 0 : identityBit);
  at = frame.writeUInt8(flags, at);
  at = frame.writeDoubleBE(message.stamp, at);
  at = frame.writeUInt32BE(expiryOf(message, clock), at);
  at = frame.writeUInt16BE(topic.length, at);
  frame.set(topic, at);
  at = frame.writeUInt16BE(publisherBytes, at + topic.length);
  at += frame.write(message.publisher, at);
  at = frame.writeUInt16BE(userBytes, at);
  if (userBytes > 0) at += frame.write(message.user, at);
  if (kind !== null) {
    at = frame.writeUInt8(kind.kind | (node === "" ? 0 : foreignBit), at);
    at = frame.writeDoubleBE(origin?.incarnation ?? 0, at);
    at = frame.writeDoubleBE(message.identity, at);
    if (node !== "") at = writeText(frame, node, at);
  }
  at = frame.writeUInt32BE(propertyBytes, at);
  if (propertyBytes > 0) {
    at += message.bytes.copy(frame, at, message.propertiesStart, message.propertiesEnd);
  }
  message.bytes.copy(frame, at, message.payloadStart, message.payloadEnd);
  return frame;
}

/** Before a frame that has waited is sent: writes how long its message has still to live. */
export function countDownForward(frame: Buffer, expiresMs: number, clock: Clock): void {
  const left = Math.ceil((expiresMs - clock.monotonicMs()) / 1000);
  frame.writeUInt32BE(Math.max(0, Math.min(left, noExpiry - 1)), expiryPlace);
}

/**
 * The message in a forward's bytes, which stay where they are until `Message.own`; the time that it has
 * left is written into them.
 * @throws Error when the lengths do not fit, ProtocolError when the topic is not valid
 */
export function decodeForward(
  topics: TopicTable,
  bytes: Buffer,
  start: number,
  end: number,
  clock: Clock,
): Message {
  if (end - start < fixedBytes) throw new Error("forward too short");
  const flags = bytes.readUInt8(start);
  const stamp = bytes.readDoubleBE(start + 1);
  const topicStart = start + 15;
  const topicEnd = topicStart + bytes.readUInt16BE(start + 13);
  const publisherStart = endOf(bytes, topicEnd, end) + 2;
  const publisherEnd = publisherStart + bytes.readUInt16BE(topicEnd);
  const userStart = endOf(bytes, publisherEnd, end) + 2;
  const userEnd = userStart + bytes.readUInt16BE(publisherEnd);
  const hasIdentity = (flags & identityBit) !== 0;
  const headEnd = hasIdentity ? identityEnd(bytes, userEnd, end) : userEnd;
  if (headEnd + 4 > end) throw new Error("forward cut off in its user");
  const propertiesStart = headEnd + 4;
  const propertiesEnd = propertiesStart + bytes.readUInt32BE(headEnd);
  if (propertiesEnd > end || (flags & qosBits) === 3) throw new Error("forward with wrong fields");
  const message = new Message(
    topics.intern(bytes, topicStart, topicEnd),
    // Two bits, 3 excluded above.
    (flags & qosBits) as Qos,
    (flags & retainBit) !== 0,
    bytes.toString("utf8", publisherStart, publisherEnd),
    bytes,
    propertiesStart,
    propertiesEnd,
    propertiesEnd,
    end,
  );
  message.stamp = stamp;
  const expirySeconds = bytes.readUInt32BE(start + 9);
  if (expirySeconds !== noExpiry) {
    const nowMs = Math.floor(clock.monotonicMs());
    message.expireIn(expirySeconds, nowMs);
    message.countDown(nowMs);
  }
  if (hasIdentity) {
    const kind = bytes.readUInt8(userEnd) & ~foreignBit;
    const node = bytes.toString("utf8", userEnd + identityBytes + 2, headEnd);
    const name = originName({ kind, node });
    if (name === null) throw new Error("forward of an unknown origin");
    message.origin = originOf(name, bytes.readDoubleBE(userEnd + 1));
    message.identity = bytes.readDoubleBE(userEnd + 9);
  }
  if (userEnd > userStart) message.user = bytes.toString("utf8", userStart, userEnd);
  return message;
}

function writeText(into: Buffer, text: string, at: number): number {
  const bytes = into.write(text, at + 2);
  return into.writeUInt16BE(bytes, at) + bytes;
}

/** Where the identity ends that begins at `at`, with the name of its node. */
function identityEnd(bytes: Buffer, at: number, end: number): number {
  const fixedEnd = at + identityBytes;
  if (fixedEnd > end || ((bytes[at] ?? 0) & foreignBit) === 0) return fixedEnd;
  return endOf(bytes, fixedEnd, end) + 2 + bytes.readUInt16BE(fixedEnd);
}

function expiryOf(message: Message, clock: Clock): number {
  if (message.expiresMs === 0) return noExpiry;
  return Math.min(message.secondsLeft(Math.floor(clock.monotonicMs())), noExpiry - 1);
}

/** Checks that a two-byte length at `at` lies within the frame. */
function endOf(bytes: Buffer, at: number, end: number): number {
  if (at + 2 > end || at + 2 > bytes.length) throw new Error("forward cut off");
  return at;
}
