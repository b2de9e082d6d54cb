/** AUTH [MQTT5 3.15]: MQTT 5 only, decoded by hand like the packets of the hot path, and as strictly. */
import mqttPacket from "mqtt-packet";
import { ProtocolError } from "./protocol-error.js";
import { checkProperties, Cursor, PacketBit, propertyCheck } from "./properties.js";
import { ReasonCode } from "./reason-codes.js";
import { PacketType } from "./strict.js";

export interface AuthPacket {
  readonly reason: number;
  /** Null: none, which is a protocol error [MQTT5 3.15.2.2.2]. */
  readonly method: string | null;
  /** Empty when there is none. */
  readonly data: Buffer;
}

const cursor = new Cursor();
const none = Buffer.alloc(0);
const methodId = 0x15;
const dataId = 0x16;
const reasonStringId = 0x1f;

/** Whether a packet with this first byte is an AUTH, flags aside. */
export function isAuth(firstByte: number | undefined): boolean {
  return firstByte !== undefined && firstByte >> 4 === PacketType.Auth >> 4;
}

/**
 * Decodes an AUTH; `start` and `end` are its variable header.
 * @throws ProtocolError malformed packet: flags [MQTT-3.15.1-1], MQTT 3, bytes missing or left over, and
 *   what `checkProperties` finds
 */
export function parseAuth(
  bytes: Buffer,
  first: number,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): AuthPacket {
  if (version !== 5 || bytes[first] !== PacketType.Auth) malformed();
  // Nothing at all stands for success without properties.
  if (start === end) return { reason: ReasonCode.Success, method: null, data: none };
  cursor.set(bytes, start, end);
  const reason = cursor.byte();
  if (cursor.at === end) return { reason, method: null, data: none };
  checkProperties(bytes, cursor.at, end, PacketBit.Auth, userPropertiesMax);
  if (propertyCheck.end !== end) malformed();
  return { reason, ...authProperties(bytes, propertyCheck.start, end) };
}

/** AUTH from the server; without data when it is empty. */
export function encodeAuth(reason: number, method: string, data: Buffer): Buffer {
  return mqttPacket.generate(
    { cmd: "auth", reasonCode: reason, properties: authenticationProperties(method, data) },
    { protocolVersion: 5 },
  );
}

/** The two properties of enhanced authentication, as CONNACK and AUTH carry them. */
export function authenticationProperties(
  method: string,
  data: Buffer,
): { authenticationMethod: string; authenticationData?: Buffer } {
  const properties = { authenticationMethod: method };
  return data.length === 0 ? properties : { ...properties, authenticationData: data };
}

/** Reads a table that was checked: nothing else can be in it. */
function authProperties(
  bytes: Buffer,
  start: number,
  end: number,
): { method: string | null; data: Buffer } {
  let method: string | null = null;
  let data: Buffer = none;
  cursor.set(bytes, start, end);
  while (cursor.at < end) {
    switch (cursor.varint()) {
      case methodId:
        method = cursor.text();
        break;
      case dataId: {
        const length = cursor.uint16();
        data = bytes.subarray(cursor.at, cursor.at + length);
        cursor.skip(length);
        break;
      }
      case reasonStringId:
        cursor.text();
        break;
      default: // a user property
        cursor.text();
        cursor.text();
    }
  }
  return { method, data };
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
