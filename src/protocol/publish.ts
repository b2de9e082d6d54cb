/**
 * PUBLISH, decoded in place and encoded without an object: a publish is the packet of which there
 * are millions a second. A decoded one is a set of positions in the bytes as they arrived, in one
 * reusable view; its topic is not checked here (the table of topics does that once per topic).
 */
import { ProtocolError } from "./protocol-error.js";
import { checkProperties, PacketBit, PropertyId, propertyCheck } from "./properties.js";
import { ReasonCode } from "./reason-codes.js";

/** Quality of service of a PUBLISH. */
export type Qos = 0 | 1 | 2;

export const publishType = 0x30;
export const dupFlag = 0x08;
export const retainFlag = 0x01;

/**
 * The shape of a PUBLISH: two with the same shape and content differ in nothing but their packet ids, so
 * that one can be sent as it came. DUP is never set in it.
 */
export function publishShape(version: number, qos: Qos, retain: boolean): number {
  return publishType | (qos << 1) | (retain ? retainFlag : 0) | (version === 5 ? 0x100 : 0);
}

/** Where the parts of a PUBLISH are. Each decoder has one and fills it again and again. */
export class PublishView {
  dup = false;
  qos: Qos = 0;
  retain = false;
  /** 0 with QoS 0. */
  packetId = 0;
  topicStart = 0;
  topicEnd = 0;
  /** Raw MQTT 5 properties without their length; an empty range when there are none. */
  propertiesStart = 0;
  propertiesEnd = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** 0: none; only with properties, as all below. */
  topicAlias = 0;
  /** Where the topic alias property begins. */
  topicAliasAt = 0;
  /** -1: it never expires. */
  expirySeconds = -1;
  /** The payload is said to be UTF-8. */
  payloadIsText = false;
}

/**
 * Decodes the PUBLISH whose first byte is `first` and whose variable header and payload lie between
 * `start` and `end`. `version` 5 has properties, which are checked.
 * @throws ProtocolError malformed packet: QoS 3 [MQTT-3.3.1-4], DUP with QoS 0 [MQTT-3.3.1-2], a length
 *   beyond the packet; protocol error: packet id 0 [MQTT-2.2.1-3], an empty topic; whatever
 *   `checkProperties` throws
 */
export function decodePublish(
  bytes: Buffer,
  first: number,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
  view: PublishView,
): void {
  const qos = (first >> 1) & 3;
  view.dup = (first & dupFlag) !== 0;
  if (qos === 3 || (qos === 0 && view.dup) || start + 2 > end) malformed();
  // 0 to 3, and 3 is excluded.
  view.qos = qos as Qos;
  view.retain = (first & retainFlag) !== 0;
  view.topicStart = start + 2;
  let at = start + 2 + uint16(bytes, start);
  view.topicEnd = at;
  view.packetId = 0;
  if (qos > 0) {
    if (at + 2 > end) malformed();
    view.packetId = uint16(bytes, at);
    if (view.packetId === 0) throw new ProtocolError(ReasonCode.ProtocolError, "packet id 0");
    at += 2;
  }
  view.propertiesStart = at;
  view.propertiesEnd = at;
  view.topicAlias = 0;
  if (version === 5) at = decodeProperties(bytes, at, end, userPropertiesMax, view);
  if (at > end) malformed();
  if (view.topicStart === view.topicEnd && view.topicAlias === 0) {
    throw new ProtocolError(ReasonCode.ProtocolError, "empty topic");
  }
  view.payloadStart = at;
  view.payloadEnd = end;
}

function decodeProperties(
  bytes: Buffer,
  at: number,
  end: number,
  userPropertiesMax: number,
  view: PublishView,
): number {
  if (at >= end) malformed();
  const byte = bytes[at] as number; // below end
  if (byte === 0) {
    view.propertiesStart = view.propertiesEnd = at + 1;
    return at + 1;
  }
  checkProperties(bytes, at, end, PacketBit.Publish, userPropertiesMax);
  view.propertiesStart = propertyCheck.start;
  view.propertiesEnd = propertyCheck.end;
  view.expirySeconds = propertyCheck.expirySeconds;
  view.payloadIsText = propertyCheck.payloadFormat === 1;
  const { topicAlias } = propertyCheck;
  if (topicAlias === 0) throw new ProtocolError(ReasonCode.TopicAliasInvalid); // [MQTT-3.3.2-8]
  if (topicAlias > 0) {
    view.topicAlias = topicAlias;
    view.topicAliasAt = propertyCheck.topicAliasAt;
  }
  return view.propertiesEnd;
}

/** How many bytes the fixed header of a packet with this remaining length has. */
export function headerBytes(remaining: number): number {
  return 1 + varintBytes(remaining);
}

/** How many bytes a variable byte integer takes. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x20_0000 ? 3 : 4;
}

/** Writes a variable byte integer; returns the position after it. */
export function writeVarint(out: Buffer, at: number, value: number): number {
  while (value >= 0x80) {
    out[at++] = (value & 0x7f) | 0x80;
    value >>>= 7;
  }
  out[at++] = value;
  return at;
}

/** The two-byte integer at `at`; the caller knows that both bytes are there. */
export function uint16(bytes: Buffer, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** Bytes of the properties of a PUBLISH to an MQTT 5 client, without their length prefix. */
function allPropertyBytes(
  propertyBytes: number,
  ids: readonly number[] | null,
  alias: number,
): number {
  let total = propertyBytes + (alias === 0 ? 0 : 3);
  if (ids !== null) for (const id of ids) total += 1 + varintBytes(id);
  return total;
}

/** The remaining length of an outgoing PUBLISH. `alias`: its topic alias; 0: none. */
export function publishRemaining(
  topicBytes: number,
  qos: Qos,
  version: number,
  propertyBytes: number,
  ids: readonly number[] | null,
  payloadBytes: number,
  alias = 0,
): number {
  let remaining = 2 + topicBytes + (qos > 0 ? 2 : 0) + payloadBytes;
  if (version === 5) {
    const properties = allPropertyBytes(propertyBytes, ids, alias);
    remaining += varintBytes(properties) + properties;
  }
  return remaining;
}

/**
 * Writes everything of a PUBLISH before its payload: fixed header, topic, packet id and properties (the
 * raw ones are `source` from `propertiesStart` to `propertiesEnd`). Returns the position after it.
 */
export function writePublishHead(
  out: Buffer,
  at: number,
  first: number,
  remaining: number,
  topic: Buffer,
  packetId: number,
  version: number,
  source: Buffer,
  propertiesStart: number,
  propertiesEnd: number,
  ids: readonly number[] | null,
  alias = 0,
): number {
  out[at++] = first;
  at = writeVarint(out, at, remaining);
  out[at++] = topic.length >> 8;
  out[at++] = topic.length & 0xff;
  out.set(topic, at);
  at += topic.length;
  if (packetId !== 0) {
    out[at++] = packetId >> 8;
    out[at++] = packetId & 0xff;
  }
  if (version !== 5) return at;
  const raw = propertiesEnd - propertiesStart;
  at = writeVarint(out, at, allPropertyBytes(raw, ids, alias));
  if (raw > 0) at += source.copy(out, at, propertiesStart, propertiesEnd);
  if (ids !== null) {
    for (const id of ids) {
      out[at++] = PropertyId.SubscriptionIdentifier;
      at = writeVarint(out, at, id);
    }
  }
  if (alias !== 0) {
    out[at++] = PropertyId.TopicAlias;
    out[at++] = alias >> 8;
    out[at++] = alias & 0xff;
  }
  return at;
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
