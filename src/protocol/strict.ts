/**
 * The strict check of CONNECT, which mqtt-packet decodes: it takes it leniently (bad UTF-8 becomes U+FFFD,
 * reserved bits pass), so it is walked field by field before it is handed over.
 */
import { ProtocolError } from "./protocol-error.js";
import { checkProperties, Cursor, PacketBit, propertyCheck } from "./properties.js";
import { ReasonCode } from "./reason-codes.js";
import { isText, topicName } from "./topics.js";

/** First bytes with the flags that [MQTT-2.2.2-2] demands. */
export const PacketType = {
  Connect: 0x10,
  Subscribe: 0x82,
  Unsubscribe: 0xa2,
  Pingreq: 0xc0,
  Disconnect: 0xe0,
  Auth: 0xf0,
} as const;

/** What the last `connectVersion` and `checkConnect` found that mqtt-packet does not tell. */
export const connectCheck = {
  willPropertiesStart: 0,
  willPropertiesEnd: 0,
  /** Of the connect flags; `flags` are those that hold. */
  flagsAt: 0,
  flags: 0,
  /** The level is unsupported and one of MQTT 5 or later. */
  isNewer: false,
  /** It has no will and no properties: what follows is all that it says. */
  isPlain: false,
  keepAliveSeconds: 0,
  clientId: "",
  user: "",
  passwordStart: 0,
  /** 0: none. */
  passwordEnd: 0,
};

/**
 * The first byte of a packet, as the version reads it: in MQTT 3.1 flags of other packets than PUBLISH mean
 * nothing (or a DUP that a client sets when it sends again), so they are those of [MQTT-2.2.2-2].
 */
export function typeOf(first: number, version: number): number {
  if (version !== 3) return first;
  const type = first & 0xf0;
  return type === 0x60 || type === 0x80 || type === 0xa0 ? type | 2 : type;
}

const cursor = new Cursor();
const names = [Buffer.from("MQTT"), Buffer.from("MQIsdp")] as const;
/** Set by bridges between brokers of one kind; they connect again without it when they are refused. */
const bridgeBit = 0x80;

/**
 * The protocol version that a CONNECT names: 3, 4 or 5. `first` is its first byte.
 * @throws ProtocolError unsupported protocol version [MQTT-3.1.2-2]; protocol error: no MQTT at all, flags
 *   in the first byte [MQTT-2.2.2-2] other than in MQTT 3.1
 */
export function connectVersion(first: number, bytes: Buffer, start: number, end: number): number {
  cursor.set(bytes, start, end);
  const isFirst = isNamed(names[0]);
  const isOld = !isFirst && isNamed(names[1]);
  const isConnect = isFirst ? first === PacketType.Connect : first >> 4 === PacketType.Connect >> 4;
  if (!isConnect || !(isFirst || isOld)) {
    throw new ProtocolError(ReasonCode.ProtocolError, "not a CONNECT"); // [MQTT-3.1.0-1]
  }
  const level = cursor.byte();
  if (isOld ? level === 3 : level === 4 || level === 5) return level;
  connectCheck.isNewer = isFirst && (level & ~bridgeBit) >= 5;
  throw new ProtocolError(ReasonCode.UnsupportedProtocolVersion);
}

/** MQTT 5 asks for the shortest form of a length [MQTT-1.5.5-1]; small MQTT 3 clients reserve two bytes for it. */
export function checkLength(version: number, bytes: Buffer, start: number): void {
  if (version === 5 && bytes[start - 1] === 0) {
    throw new ProtocolError(ReasonCode.MalformedPacket, "length not in its shortest form");
  }
}

/** Is this the protocol name at the cursor? If so it moves on behind it. */
function isNamed(name: Buffer): boolean {
  const { bytes, at, end } = cursor;
  const { length } = name;
  if (at + 2 + length > end || bytes[at] !== 0 || bytes[at + 1] !== length) return false;
  for (let i = 0; i < length; i++) if (bytes[at + 2 + i] !== name[i]) return false;
  cursor.skip(2 + length);
  return true;
}

/**
 * Checks a CONNECT of a version that `connectVersion` gave.
 * @throws ProtocolError malformed packet: bytes missing or left over, reserved flag [MQTT-3.1.2-3], will
 *   flags that disagree [MQTT-3.1.2-11..15], a password without a user name (MQTT 3) [MQTT-3.1.2-22], the
 *   will's topic; client id not valid: it is no text
 */
export function checkConnect(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): void {
  cursor.set(bytes, start, end);
  cursor.skip(cursor.uint16());
  cursor.byte();
  connectCheck.flagsAt = cursor.at;
  const flags = cursor.byte();
  const will = (flags & 0x04) !== 0;
  const willQos = (flags >> 3) & 3;
  const userName = (flags & 0x80) !== 0;
  const password = (flags & 0x40) !== 0;
  if ((flags & 0x01) !== 0 || willQos === 3) malformed();
  if (!will && (flags & 0x38) !== 0) malformed();
  if (version < 5 && password && !userName) malformed();
  connectCheck.keepAliveSeconds = cursor.uint16();
  connectCheck.isPlain = !will && (version < 5 || bytes[cursor.at] === 0);
  if (version === 5) skipProperties(end, PacketBit.Connect, userPropertiesMax);
  clientId();
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
  credentials(version, flags, end);
}

function credentials(version: number, flags: number, end: number): void {
  const userName = (flags & 0x80) !== 0;
  const password = (flags & 0x40) !== 0;
  connectCheck.flags = flags;
  connectCheck.user = "";
  connectCheck.passwordEnd = 0;
  // In MQTT 3.1 the length of the packet takes precedence over these flags.
  if (userName && version === 3 && cursor.at === end) connectCheck.flags &= 0x3f;
  else if (userName) connectCheck.user = cursor.text();
  if (password && version === 3 && cursor.at === end) connectCheck.flags &= 0xbf;
  else if (password) {
    connectCheck.passwordStart = cursor.at + 2;
    cursor.skip(cursor.uint16());
    connectCheck.passwordEnd = cursor.at;
  }
  if (cursor.at !== end) malformed();
}

/** A client id that is no text is refused like any that the server does not take [MQTT-3.1.3-8]. */
function clientId(): void {
  const length = cursor.uint16();
  const from = cursor.at;
  cursor.skip(length);
  if (!isText(cursor.bytes, from, cursor.at)) throw new ProtocolError(ReasonCode.ClientIdNotValid);
  connectCheck.clientId = cursor.bytes.toString("utf8", from, cursor.at);
}

function skipProperties(end: number, packet: number, userPropertiesMax: number): void {
  checkProperties(cursor.bytes, cursor.at, end, packet, userPropertiesMax);
  cursor.at = propertyCheck.end;
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
