/**
 * MQTT 5 property tables, checked strictly byte by byte [MQTT5 2.2.2]: known, allowed in this packet,
 * not twice, of the right type and value. What they mean is read elsewhere.
 */
import { ProtocolError } from "./protocol-error.js";
import { ReasonCode } from "./reason-codes.js";
import { text } from "./topics.js";

/** Which packet a property table belongs to; bits, so that a property can name several. */
export const PacketBit = {
  Connect: 1,
  Publish: 2,
  Will: 4,
  Subscribe: 8,
  Unsubscribe: 16,
  Disconnect: 32,
  /** PUBACK, PUBREC, PUBREL and PUBCOMP. */
  Ack: 64,
  Auth: 128,
} as const;
const { Connect, Publish, Will, Subscribe, Unsubscribe, Disconnect, Ack, Auth } = PacketBit;
const everyPacket = 0xff;

type PropertyType = "flag" | "uint16" | "uint32" | "varint" | "text" | "binary" | "pair";
interface Property {
  readonly id: number;
  readonly type: PropertyType;
  readonly packets: number;
  /** 0 is a protocol error. */
  readonly positive?: boolean;
}

export const PropertyId = {
  PayloadFormat: 0x01,
  MessageExpiry: 0x02,
  ResponseTopic: 0x08,
  SubscriptionIdentifier: 0x0b,
  SessionExpiry: 0x11,
  WillDelay: 0x18,
  TopicAlias: 0x23,
  UserProperty: 0x26,
} as const;

/** Those of packets that only a server sends belong to none here: from a client they are a mistake. */
const properties: readonly Property[] = [
  { id: PropertyId.PayloadFormat, type: "flag", packets: Publish | Will },
  { id: PropertyId.MessageExpiry, type: "uint32", packets: Publish | Will },
  { id: 0x03, type: "text", packets: Publish | Will },
  { id: PropertyId.ResponseTopic, type: "text", packets: Publish | Will },
  { id: 0x09, type: "binary", packets: Publish | Will },
  { id: PropertyId.SubscriptionIdentifier, type: "varint", packets: Subscribe, positive: true },
  { id: PropertyId.SessionExpiry, type: "uint32", packets: Connect | Disconnect },
  { id: 0x12, type: "text", packets: 0 },
  { id: 0x13, type: "uint16", packets: 0 },
  { id: 0x15, type: "text", packets: Connect | Auth },
  { id: 0x16, type: "binary", packets: Connect | Auth },
  { id: 0x17, type: "flag", packets: Connect },
  { id: PropertyId.WillDelay, type: "uint32", packets: Will },
  { id: 0x19, type: "flag", packets: Connect },
  { id: 0x1a, type: "text", packets: 0 },
  { id: 0x1c, type: "text", packets: Disconnect },
  { id: 0x1f, type: "text", packets: Ack | Disconnect | Auth },
  { id: 0x21, type: "uint16", packets: Connect, positive: true },
  { id: 0x22, type: "uint16", packets: Connect },
  { id: PropertyId.TopicAlias, type: "uint16", packets: Publish },
  { id: 0x24, type: "flag", packets: 0 },
  { id: 0x25, type: "flag", packets: 0 },
  { id: PropertyId.UserProperty, type: "pair", packets: everyPacket },
  { id: 0x27, type: "uint32", packets: Connect, positive: true },
  { id: 0x28, type: "flag", packets: 0 },
  { id: 0x29, type: "flag", packets: 0 },
  { id: 0x2a, type: "flag", packets: 0 },
];
const byId: (Property | undefined)[] = [];
for (const property of properties) byId[property.id] = property;

/** What the last `checkProperties` found; the positions are those of the table without its length. */
export const propertyCheck = {
  start: 0,
  end: 0,
  /** -1: absent, as below. */
  topicAlias: -1,
  /** Where the topic alias property begins: its id, then two bytes. */
  topicAliasAt: 0,
  expirySeconds: -1,
  payloadFormat: -1,
  subscriptionId: -1,
  sessionExpirySeconds: -1,
};

/**
 * Checks the property table whose length prefix is at `at`; it must end by `end`. The result is in
 * `propertyCheck`.
 * @throws ProtocolError malformed packet: lengths, unknown ids, bad strings; protocol error: a property
 *   twice, or not allowed in this packet, or with a value that is not; quota exceeded: more user
 *   properties than `userPropertiesMax`
 */
export function checkProperties(
  bytes: Buffer,
  at: number,
  end: number,
  packet: number,
  userPropertiesMax: number,
): void {
  cursor.set(bytes, at, end);
  const length = cursor.varint();
  const start = cursor.at;
  if (start + length > end) malformed();
  cursor.end = start + length;
  forgetValues();
  let userProperties = 0;
  let seenLow = 0;
  let seenHigh = 0;
  // A table that cannot be read is malformed, whatever else is wrong with it.
  let fault: ProtocolError | undefined;
  while (cursor.at < cursor.end) {
    const from = cursor.at;
    const id = cursor.varint();
    const property = byId[id];
    if (property === undefined) malformed();
    const value = readValue(property);
    if ((property.packets & packet) === 0) fault ??= notAllowed(id, packet);
    if (id === PropertyId.UserProperty) {
      if (++userProperties > userPropertiesMax) throw new ProtocolError(ReasonCode.QuotaExceeded);
      continue;
    }
    const bit = 1 << (id & 31);
    const seen = id < 32 ? seenLow : seenHigh;
    if ((seen & bit) !== 0) fault ??= error("property twice");
    if (id < 32) seenLow |= bit;
    else seenHigh |= bit;
    if (!isAllowed(property, value)) fault ??= error("value not allowed");
    note(id, value, from);
  }
  if (cursor.at !== cursor.end) malformed();
  if (fault !== undefined) throw fault;
  propertyCheck.start = start;
  propertyCheck.end = cursor.end;
}

function forgetValues(): void {
  propertyCheck.topicAlias = propertyCheck.expirySeconds = propertyCheck.payloadFormat = -1;
  propertyCheck.subscriptionId = propertyCheck.sessionExpirySeconds = -1;
}

/**
 * [MQTT5 2.2.2.2] calls it malformed, [MQTT5 4.13] a protocol error ("data that is not allowed by the
 * protocol"); mosquitto's conformance suite wants the former in PUBLISH and requests, and brokers say the latter
 * everywhere else. A subscription identifier belongs to PUBLISH, but not to a client's [MQTT-3.3.4-6].
 */
function notAllowed(id: number, packet: number): ProtocolError {
  const isForServers = packet === Publish && id === PropertyId.SubscriptionIdentifier;
  const isMalformed = !isForServers && (packet & (Subscribe | Unsubscribe | Publish)) !== 0;
  const reason = isMalformed ? ReasonCode.MalformedPacket : ReasonCode.ProtocolError;
  return new ProtocolError(reason, "property not allowed here");
}

function error(detail: string): ProtocolError {
  return new ProtocolError(ReasonCode.ProtocolError, detail);
}

/** Keeps the values that the broker itself acts on. */
function note(id: number, value: number, from: number): void {
  switch (id) {
    case PropertyId.PayloadFormat:
      propertyCheck.payloadFormat = value;
      break;
    case PropertyId.MessageExpiry:
      propertyCheck.expirySeconds = value;
      break;
    case PropertyId.TopicAlias:
      propertyCheck.topicAlias = value;
      propertyCheck.topicAliasAt = from;
      break;
    case PropertyId.SubscriptionIdentifier:
      propertyCheck.subscriptionId = value;
      break;
    case PropertyId.SessionExpiry:
      propertyCheck.sessionExpirySeconds = value;
      break;
  }
}

/** Reads a value; returns it when it is a number, 0 for a response topic that is none, else 1. */
function readValue(property: Property): number {
  switch (property.type) {
    case "flag":
      return cursor.byte();
    case "uint16":
      return cursor.uint16();
    case "uint32":
      return cursor.uint16() * 0x1_0000 + cursor.uint16();
    case "varint":
      return cursor.varint();
    case "text": {
      const value = cursor.text();
      const isTopic = property.id === PropertyId.ResponseTopic;
      return isTopic && (value === "" || /[+#]/.test(value)) ? 0 : 1;
    }
    case "binary":
      cursor.skip(cursor.uint16());
      return 1;
    case "pair":
      cursor.text();
      cursor.text();
      return 1;
  }
}

/** [MQTT-3.3.2-14] for the response topic. */
function isAllowed({ type, id, positive }: Property, value: number): boolean {
  if (type === "flag") return value <= 1;
  return value !== 0 || (positive !== true && id !== PropertyId.ResponseTopic);
}

/** Where the four bytes of the message expiry interval are in a checked property table; -1: none. */
export function expiryAt(bytes: Buffer, start: number, end: number): number {
  cursor.set(bytes, start, end);
  while (cursor.at < end) {
    const id = cursor.varint();
    if (id === PropertyId.MessageExpiry) return cursor.at;
    const property = byId[id];
    if (property === undefined) malformed();
    skipValue(property.type);
  }
  return -1;
}

function skipValue(type: PropertyType): void {
  switch (type) {
    case "flag":
      cursor.skip(1);
      break;
    case "uint16":
      cursor.skip(2);
      break;
    case "uint32":
      cursor.skip(4);
      break;
    case "varint":
      cursor.varint();
      break;
    case "pair":
      cursor.skip(cursor.uint16());
      cursor.skip(cursor.uint16());
      break;
    default:
      cursor.skip(cursor.uint16());
  }
}

/** A copy of a checked property table without the property `without`; null: nothing was left. */
export function copyWithout(
  bytes: Buffer,
  start: number,
  end: number,
  without: number,
): Buffer | null {
  const parts: Buffer[] = [];
  cursor.set(bytes, start, end);
  while (cursor.at < end) {
    const from = cursor.at;
    const id = cursor.varint();
    const property = byId[id];
    if (property === undefined) malformed();
    skipValue(property.type);
    if (id !== without) parts.push(bytes.subarray(from, cursor.at));
  }
  return parts.length === 0 ? null : Buffer.concat(parts);
}

/** Reads a packet's fields in order, and never beyond its end. */
export class Cursor {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  set(bytes: Buffer, at: number, end: number): void {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  byte(): number {
    if (this.at >= this.end) malformed();
    return this.bytes[this.at++] as number; // below end
  }

  uint16(): number {
    const high = this.byte();
    return (high << 8) | this.byte();
  }

  /** A variable byte integer of at most four bytes, in its shortest form [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0) malformed();
        return value;
      }
    }
    malformed();
  }

  skip(count: number): void {
    if (this.at + count > this.end) malformed();
    this.at += count;
  }

  /** A string with its length prefix: UTF-8 without U+0000. */
  text(): string {
    const length = this.uint16();
    const from = this.at;
    this.skip(length);
    return text(this.bytes, from, this.at);
  }
}
const cursor = new Cursor();

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
