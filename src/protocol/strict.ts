/**
 * The strict check of the packets that mqtt-packet decodes: it takes them leniently (bad UTF-8 becomes
 * U+FFFD, reserved bits pass), so each is walked field by field before it is handed over.
 */
import { ProtocolError } from "./protocol-error.js";
import { checkProperties, Cursor, PacketBit, propertyCheck } from "./properties.js";
import { ReasonCode } from "./reason-codes.js";
import { topicName } from "./topics.js";

/** First bytes with the flags that [MQTT-2.2.2-2] demands. */
export const PacketType = {
  Connect: 0x10,
  Subscribe: 0x82,
  Unsubscribe: 0xa2,
  Pingreq: 0xc0,
  Disconnect: 0xe0,
  Auth: 0xf0,
} as const;

/** What the last `checkConnect` found that mqtt-packet does not tell. */
export const connectCheck = { willPropertiesStart: 0, willPropertiesEnd: 0 };

const cursor = new Cursor();
const levels: Readonly<Record<string, readonly number[]>> = { MQIsdp: [3], MQTT: [4, 5] };

/**
 * The protocol version that a CONNECT names: 3, 4 or 5.
 * @throws ProtocolError unsupported protocol version [MQTT-3.1.2-2]; protocol error: no MQTT at all
 */
export function connectVersion(bytes: Buffer, start: number, end: number): number {
  cursor.set(bytes, start, end);
  const allowed = levels[cursor.text()];
  if (allowed === undefined) throw new ProtocolError(ReasonCode.ProtocolError, "not MQTT");
  const level = cursor.byte();
  if (!allowed.includes(level)) throw new ProtocolError(ReasonCode.UnsupportedProtocolVersion);
  return level;
}

/**
 * Checks a CONNECT of a version that `connectVersion` gave.
 * @throws ProtocolError malformed packet: bytes missing or left over, reserved flag [MQTT-3.1.2-3], will
 *   flags that disagree [MQTT-3.1.2-11..15], a password without a user name (MQTT 3) [MQTT-3.1.2-22];
 *   topic name invalid: the will's
 */
export function checkConnect(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): void {
  cursor.set(bytes, start, end);
  cursor.text();
  cursor.byte();
  const flags = cursor.byte();
  const will = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 3;
  const userName = (flags & 0x80) !== 0;
  const password = (flags & 0x40) !== 0;
  if ((flags & 0x01) !== 0 || willQos === 3) malformed();
  if (!will && (flags & 0x38) !== 0) malformed();
  if (version < 5 && password && !userName) malformed();
  cursor.uint16();
  if (version === 5) skipProperties(end, PacketBit.Connect, userPropertiesMax);
  cursor.text();
  connectCheck.willPropertiesStart = connectCheck.willPropertiesEnd = 0;
  if (will) {
    if (version === 5) {
      skipProperties(end, PacketBit.Will, userPropertiesMax);
      connectCheck.willPropertiesStart = propertyCheck.start;
      connectCheck.willPropertiesEnd = propertyCheck.end;
    }
    const topicBytes = cursor.uint16();
    const topicStart = cursor.at;
    cursor.skip(topicBytes);
    topicName(bytes, topicStart, cursor.at);
    cursor.skip(cursor.uint16());
  }
  if (userName) cursor.text();
  if (password) cursor.skip(cursor.uint16());
  if (cursor.at !== end) malformed();
}

/**
 * Checks a SUBSCRIBE or UNSUBSCRIBE; filters are checked as text only.
 * @throws ProtocolError malformed packet: bytes missing, reserved or QoS 3 bits [MQTT-3.8.3-5]; protocol
 *   error: no filter at all [MQTT-3.8.3-2, MQTT-3.10.3-2], packet id 0, retain handling 3
 */
export function checkSubscribing(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
  withOptions: boolean,
): void {
  cursor.set(bytes, start, end);
  if (cursor.uint16() === 0) throw new ProtocolError(ReasonCode.ProtocolError, "packet id 0");
  const packet = withOptions ? PacketBit.Subscribe : PacketBit.Unsubscribe;
  if (version === 5) skipProperties(end, packet, userPropertiesMax);
  if (cursor.at === end) throw new ProtocolError(ReasonCode.ProtocolError, "no filter");
  while (cursor.at < end) {
    cursor.text();
    if (!withOptions) continue;
    const options = cursor.byte();
    if ((options & 3) === 3 || (options & (version === 5 ? 0xc0 : 0xfc)) !== 0) malformed();
    if ((options & 0x30) === 0x30) {
      throw new ProtocolError(ReasonCode.ProtocolError, "retain handling 3");
    }
  }
}

/** Checks a DISCONNECT. @throws ProtocolError malformed packet: bytes missing or left over */
export function checkDisconnect(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): void {
  if (start === end) return;
  if (version !== 5) malformed();
  cursor.set(bytes, start, end);
  cursor.byte();
  if (cursor.at < end) skipProperties(end, PacketBit.Disconnect, userPropertiesMax);
  if (cursor.at !== end) malformed();
}

function skipProperties(end: number, packet: number, userPropertiesMax: number): void {
  checkProperties(cursor.bytes, cursor.at, end, packet, userPropertiesMax);
  cursor.at = propertyCheck.end;
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
