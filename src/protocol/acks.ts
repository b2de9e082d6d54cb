/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP in place, and the packets that never change. An acknowledgement is
 * a packet id and, in MQTT 5, a reason code that is left out when it is 0.
 */
import { checkProperties, PacketBit, propertyCheck } from "./properties.js";
import { ProtocolError } from "./protocol-error.js";
import { uint16 } from "./publish.js";
import { ReasonCode } from "./reason-codes.js";

/** First bytes with the flags that [MQTT-2.2.2-2] demands. */
export const AckType = { Puback: 0x40, Pubrec: 0x50, Pubrel: 0x62, Pubcomp: 0x70 } as const;
export type AckType = (typeof AckType)[keyof typeof AckType];

/** Most bytes that `writeAck` writes. */
export const ackBytesMax = 5;

export const pingrespFrame = Buffer.from([0xd0, 0x00]);

const { Success, NoMatchingSubscribers, UnspecifiedError, NotAuthorized, PacketIdNotFound } =
  ReasonCode;
const { ImplementationSpecificError, TopicNameInvalid, PacketIdInUse } = ReasonCode;
const { QuotaExceeded, PayloadFormatInvalid } = ReasonCode;
/** Reason codes of PUBACK and PUBREC [MQTT5 3.4.2.1], and of PUBREL and PUBCOMP [MQTT5 3.6.2.1]. */
const ofReceipts: ReadonlySet<number> = new Set([
  ...[Success, NoMatchingSubscribers, UnspecifiedError, ImplementationSpecificError],
  ...[NotAuthorized, TopicNameInvalid, PacketIdInUse, QuotaExceeded, PayloadFormatInvalid],
]);
const ofReleases: ReadonlySet<number> = new Set([Success, PacketIdNotFound]);

/** What the last `decodeAck` found. */
export const ack = { packetId: 0, reason: 0 };

/**
 * Decodes the variable header of an acknowledgement, from `start` to `end`, into `ack`.
 * @throws ProtocolError malformed packet: wrong length; protocol error: packet id 0, a reason code or a
 *   property that does not belong there
 */
export function decodeAck(
  type: AckType,
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): void {
  const length = end - start;
  if (length < 2 || (length > 2 && version !== 5)) {
    throw new ProtocolError(ReasonCode.MalformedPacket);
  }
  ack.packetId = uint16(bytes, start);
  ack.reason = 0;
  if (ack.packetId === 0) throw new ProtocolError(ReasonCode.ProtocolError, "packet id 0");
  if (length === 2) return;
  ack.reason = bytes[start + 2] as number; // length > 2
  if (length > 3) checkAckProperties(bytes, start + 3, end, userPropertiesMax);
  const codes = type === AckType.Puback || type === AckType.Pubrec ? ofReceipts : ofReleases;
  if (!codes.has(ack.reason)) throw new ProtocolError(ReasonCode.ProtocolError, "reason code");
}

function checkAckProperties(
  bytes: Buffer,
  at: number,
  end: number,
  userPropertiesMax: number,
): void {
  checkProperties(bytes, at, end, PacketBit.Ack, userPropertiesMax);
  if (propertyCheck.end !== end) throw new ProtocolError(ReasonCode.MalformedPacket);
}

/** Writes an acknowledgement; `reason` goes to MQTT 5 clients only. Returns the position after it. */
export function writeAck(
  out: Buffer,
  at: number,
  type: AckType,
  packetId: number,
  reason: number,
): number {
  out[at] = type;
  out[at + 2] = packetId >> 8;
  out[at + 3] = packetId & 0xff;
  if (reason === 0) {
    out[at + 1] = 2;
    return at + 4;
  }
  out[at + 1] = 3;
  out[at + 4] = reason;
  return at + 5;
}
