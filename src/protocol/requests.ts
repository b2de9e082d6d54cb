/**
 * SUBSCRIBE, UNSUBSCRIBE and DISCONNECT, decoded field by field: a packet with anything wrong in it is
 * refused as a whole, before any of it takes effect.
 */
import { checkProperties, Cursor, PacketBit, propertyCheck } from "./properties.js";
import { ProtocolError } from "./protocol-error.js";
import type { Qos } from "./publish.js";
import { ReasonCode } from "./reason-codes.js";
import { isShared, sharedFault, wildcardFault } from "./topics.js";

export interface SubscribeRequest {
  readonly filter: string;
  readonly qos: Qos;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0: send retained messages; 1: only for a new subscription; 2: never [MQTT-3.3.1-9..11]. */
  readonly retainHandling: number;
}

export interface SubscribePacket {
  readonly cmd: "subscribe";
  readonly packetId: number;
  /** 0: none. */
  readonly subscriptionId: number;
  readonly requests: readonly SubscribeRequest[];
}

export interface UnsubscribePacket {
  readonly cmd: "unsubscribe";
  readonly packetId: number;
  readonly filters: readonly string[];
}

export interface DisconnectPacket {
  readonly cmd: "disconnect";
  readonly reason: number;
  /** Undefined: the expiry of CONNECT stays. */
  readonly sessionExpirySeconds: number | undefined;
}

const cursor = new Cursor();
const noLocalBit = 0x04;
const retainAsPublishedBit = 0x08;

/**
 * Decodes a SUBSCRIBE; `start` and `end` are its variable header and payload.
 * @throws ProtocolError malformed packet: bytes missing, packet id 0 [MQTT-2.2.1-3], a malformed filter,
 *   reserved or QoS 3 bits [MQTT-3.8.3-5]; protocol error: no filter at all [MQTT-3.8.3-2], a malformed
 *   `$share` filter [MQTT-4.8.2-1, MQTT-4.8.2-2], no-local on a shared one [MQTT-3.8.3-4], retain
 *   handling 3; whatever `checkProperties` throws
 */
export function parseSubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): SubscribePacket {
  const packetId = requestHead(bytes, start, end, version, userPropertiesMax, PacketBit.Subscribe);
  const subscriptionId = version === 5 ? Math.max(0, propertyCheck.subscriptionId) : 0;
  const requests: SubscribeRequest[] = [];
  while (cursor.at < end) {
    const filter = filterText();
    const options = cursor.byte();
    if ((options & 3) === 3 || (options & (version === 5 ? 0xc0 : 0xfc)) !== 0) malformed();
    const retainHandling = options >> 4;
    if (retainHandling === 3) throw protocolError("retain handling 3");
    const fault = sharedFault(filter);
    if (fault !== undefined) throw protocolError(fault);
    const noLocal = (options & noLocalBit) !== 0;
    if (noLocal && isShared(filter)) throw protocolError("no-local on a shared subscription");
    requests.push({
      ...{ filter, noLocal, retainHandling },
      qos: (options & 3) as Qos, // 3 was excluded
      retainAsPublished: (options & retainAsPublishedBit) !== 0,
    });
  }
  return { cmd: "subscribe", packetId, subscriptionId, requests };
}

/**
 * Decodes an UNSUBSCRIBE.
 * @throws ProtocolError malformed packet: bytes missing, packet id 0, a malformed filter; protocol error: no
 *   filter at all [MQTT-3.10.3-2]; whatever `checkProperties` throws
 */
export function parseUnsubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): UnsubscribePacket {
  const packet = PacketBit.Unsubscribe;
  const packetId = requestHead(bytes, start, end, version, userPropertiesMax, packet);
  const filters: string[] = [];
  while (cursor.at < end) filters.push(filterText());
  return { cmd: "unsubscribe", packetId, filters };
}

/** What a client may say when it disconnects [MQTT5 3.14.2.1]. */
const ofClients: ReadonlySet<number> = new Set([
  ...[0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99],
]);

/**
 * Decodes a DISCONNECT.
 * @throws ProtocolError malformed packet: bytes left over; protocol error: a reason code that does not exist, or
 *   that only a server gives [MQTT-3.14.2-1]; whatever `checkProperties` throws
 */
export function parseDisconnect(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): DisconnectPacket {
  let reason: number = ReasonCode.Success;
  let sessionExpirySeconds: number | undefined;
  if (start < end) {
    if (version !== 5) malformed();
    cursor.set(bytes, start, end);
    reason = cursor.byte();
  }
  if (start + 1 < end) {
    checkProperties(bytes, start + 1, end, PacketBit.Disconnect, userPropertiesMax);
    if (propertyCheck.end !== end) malformed();
    const { sessionExpirySeconds: seconds } = propertyCheck;
    if (seconds >= 0) sessionExpirySeconds = seconds;
  }
  if (!ofClients.has(reason)) throw protocolError("reason code of DISCONNECT");
  return { cmd: "disconnect", reason, sessionExpirySeconds };
}

/** Packet id and properties; the cursor is then at the first filter. Returns the packet id. */
function requestHead(
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
  packet: number,
): number {
  cursor.set(bytes, start, end);
  const packetId = cursor.uint16();
  if (packetId === 0) malformed();
  if (version === 5) {
    checkProperties(bytes, cursor.at, end, packet, userPropertiesMax);
    cursor.at = propertyCheck.end;
  }
  if (cursor.at === end) throw protocolError("no filter");
  return packetId;
}

function filterText(): string {
  const filter = cursor.text();
  if (wildcardFault(filter) !== undefined) malformed();
  return filter;
}

function protocolError(detail: string): ProtocolError {
  return new ProtocolError(ReasonCode.ProtocolError, detail);
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
