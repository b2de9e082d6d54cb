/**
 * The packets that are not on the hot path. mqtt-packet encodes them, and decodes a CONNECT with a will or
 * properties after the strict check; whatever it still finds wrong is a malformed packet.
 */
import mqttPacket from "mqtt-packet";
import { ProtocolError } from "./protocol-error.js";
import { copyWithout, PropertyId } from "./properties.js";
import type { Qos } from "./publish.js";
import { connackReturnCode, ReasonCode, subackReturnCode } from "./reason-codes.js";
import {
  type DisconnectPacket,
  parseDisconnect,
  parseSubscribe,
  parseUnsubscribe,
  type SubscribePacket,
  type UnsubscribePacket,
} from "./requests.js";
import { checkConnect, connectCheck, PacketType } from "./strict.js";

// Its cache of all two-byte numbers would cost 6 MiB for a few packets a second.
mqttPacket.writeToStream.cacheNumbers = false;

const cleanFlag = 0x02;

export interface WillPacket {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: Qos;
  readonly retain: boolean;
  /** Raw properties without the will delay; null: none. */
  readonly properties: Buffer | null;
  readonly delaySeconds: number;
  /** Undefined: it never expires. */
  readonly expirySeconds: number | undefined;
  /** Its payload is said to be UTF-8. */
  readonly payloadIsText: boolean;
}

export interface ConnectPacket {
  readonly version: number;
  /** Clean Session, in MQTT 5 Clean Start. */
  readonly clean: boolean;
  readonly keepAliveSeconds: number;
  readonly clientId: string;
  /** Empty: none. */
  readonly user: string;
  /** Null: none. */
  readonly password: Buffer | null;
  readonly will: WillPacket | null;
  /** MQTT 5; 0 when absent. */
  readonly sessionExpirySeconds: number;
  /** 65,535 when absent. */
  readonly receiveMaximum: number;
  /** Longest packet that the client takes; infinite when absent. */
  readonly packetMax: number;
  /** Highest topic alias that the client takes; 0: none. */
  readonly topicAliasMax: number;
  readonly wantsResponseInformation: boolean;
  readonly authenticationMethod: string | null;
  readonly authenticationData: Buffer | null;
}

export type {
  DisconnectPacket,
  SubscribePacket,
  SubscribeRequest,
  UnsubscribePacket,
} from "./requests.js";

export type ControlPacket = SubscribePacket | UnsubscribePacket | DisconnectPacket;

/**
 * Decodes the CONNECT in `bytes`: its first byte at `first`, its variable header from `start` to `end`; `version` is what
 * `connectVersion` said.
 * @throws ProtocolError see `checkConnect`
 */
export function parseConnect(
  bytes: Buffer,
  first: number,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): ConnectPacket {
  checkConnect(bytes, start, end, version, userPropertiesMax);
  if (connectCheck.isPlain) return plainConnect(bytes, version);
  const { willPropertiesStart, willPropertiesEnd } = connectCheck;
  const packet = parse(readable(bytes, first, end), version);
  if (packet.cmd !== "connect") malformed();
  const { will, properties } = packet;
  return {
    version,
    clean: packet.clean ?? true,
    keepAliveSeconds: packet.keepalive ?? 0,
    clientId: packet.clientId,
    user: packet.username ?? "",
    // A copy: it may wait to be checked for longer than the bytes of this packet last.
    password: packet.password === undefined ? null : Buffer.from(packet.password),
    will: will === undefined ? null : willOf(will, bytes, willPropertiesStart, willPropertiesEnd),
    sessionExpirySeconds: properties?.sessionExpiryInterval ?? 0,
    receiveMaximum: properties?.receiveMaximum ?? 65_535,
    packetMax: properties?.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    topicAliasMax: properties?.topicAliasMaximum ?? 0,
    wantsResponseInformation: properties?.requestResponseInformation ?? false,
    authenticationMethod: properties?.authenticationMethod ?? null,
    authenticationData: properties?.authenticationData ?? null,
  };
}

/** A CONNECT of which the strict check has found everything: most are so, and many come at once. */
function plainConnect(bytes: Buffer, version: number): ConnectPacket {
  const { flags, keepAliveSeconds, clientId, user, passwordStart, passwordEnd } = connectCheck;
  return {
    version,
    clean: (flags & cleanFlag) !== 0,
    keepAliveSeconds,
    clientId,
    user,
    password: passwordEnd === 0 ? null : Buffer.from(bytes.subarray(passwordStart, passwordEnd)),
    will: null,
    sessionExpirySeconds: 0,
    receiveMaximum: 65_535,
    packetMax: Number.POSITIVE_INFINITY,
    topicAliasMax: 0,
    wantsResponseInformation: false,
    authenticationMethod: null,
    authenticationData: null,
  };
}

function willOf(
  will: NonNullable<mqttPacket.IConnectPacket["will"]>,
  bytes: Buffer,
  propertiesStart: number,
  propertiesEnd: number,
): WillPacket {
  return {
    topic: will.topic,
    payload: Buffer.from(will.payload),
    qos: will.qos ?? 0,
    retain: will.retain ?? false,
    properties: copyWithout(bytes, propertiesStart, propertiesEnd, PropertyId.WillDelay),
    delaySeconds: will.properties?.willDelayInterval ?? 0,
    expirySeconds: will.properties?.messageExpiryInterval,
    payloadIsText: will.properties?.payloadFormatIndicator ?? false,
  };
}

/**
 * Decodes a SUBSCRIBE, UNSUBSCRIBE or DISCONNECT. `type` is its first byte (see `typeOf`).
 * @throws ProtocolError protocol error: a packet that no client sends, or not now; malformed packet: wrong
 *   flags; whatever the functions of requests.ts throw
 */
export function parseControl(
  type: number,
  bytes: Buffer,
  start: number,
  end: number,
  version: number,
  userPropertiesMax: number,
): ControlPacket {
  switch (type) {
    case PacketType.Subscribe:
      return parseSubscribe(bytes, start, end, version, userPropertiesMax);
    case PacketType.Unsubscribe:
      return parseUnsubscribe(bytes, start, end, version, userPropertiesMax);
    case PacketType.Disconnect:
      return parseDisconnect(bytes, start, end, version, userPropertiesMax);
    default:
      throw unexpected(type);
  }
}

/** Type 0, a second CONNECT [MQTT-3.1.0-2], what only a server sends, or wrong flags. */
function unexpected(type: number): ProtocolError {
  const isRefused = type >> 4 <= 2 || fromServer.has(type);
  return new ProtocolError(isRefused ? ReasonCode.ProtocolError : ReasonCode.MalformedPacket);
}

/** First bytes of SUBACK, UNSUBACK and PINGRESP. */
const fromServer: ReadonlySet<number> = new Set([0x90, 0xb0, 0xd0]);

/** The CONNECT as mqtt-packet reads it: without what only MQTT 3.1 allows. */
function readable(bytes: Buffer, first: number, end: number): Buffer {
  const { flagsAt, flags } = connectCheck;
  if (bytes[first] === PacketType.Connect && bytes[flagsAt] === flags) {
    return bytes.subarray(first, end);
  }
  const copy = Buffer.from(bytes.subarray(first, end));
  copy[0] = PacketType.Connect;
  copy[flagsAt - first] = flags;
  return copy;
}

/** Hands one whole packet to mqtt-packet. */
function parse(packetBytes: Buffer, version: number): mqttPacket.Packet {
  const parser = mqttPacket.parser({ protocolVersion: version });
  let result: mqttPacket.Packet | undefined;
  let failed = false;
  parser.on("packet", (packet) => {
    result = packet;
  });
  parser.on("error", () => {
    failed = true;
  });
  try {
    parser.parse(packetBytes);
  } catch {
    // Its reader of numbers throws when a length inside the packet points beyond it.
    malformed();
  }
  if (failed || result === undefined) malformed();
  return result;
}

/** What CONNACK tells an MQTT 5 client; what is absent has the protocol's default. */
export type ConnackProperties = NonNullable<mqttPacket.IConnackPacket["properties"]>;

/**
 * CONNACK in the client's version; MQTT 3 gets the return code that stands for the reason, and MQTT 3.1 has no
 * flag that says whether there is a session.
 */
export function encodeConnack(
  version: number,
  sessionPresent: boolean,
  reason: number,
  properties: ConnackProperties,
): Buffer {
  if (version < 5) {
    return shortConnack(sessionPresent && version > 3, connackReturnCode(reason));
  }
  const codes = { reasonCode: reason };
  return mqttPacket.generate(
    {
      cmd: "connack",
      sessionPresent,
      properties: inOrder(properties),
      ...codes,
    },
    { protocolVersion: version },
  );
}

/** Every CONNACK of MQTT 3 so far, by its two bytes. */
const shortConnacks: Buffer[] = [];

function shortConnack(isPresent: boolean, code: number): Buffer {
  const flags = isPresent ? 1 : 0;
  const at = (code << 1) | flags;
  shortConnacks[at] ??= Buffer.from([0x20, 2, flags, code]);
  return shortConnacks[at];
}

/** Properties that come first in a CONNACK, in this order, so that equal limits are equal bytes. */
const firstInConnack = [
  "topicAliasMaximum",
  "serverKeepAlive",
  "assignedClientIdentifier",
  "authenticationMethod",
  "authenticationData",
  "retainAvailable",
  "maximumPacketSize",
  "receiveMaximum",
  "maximumQoS",
] as const satisfies readonly (keyof ConnackProperties)[];

function inOrder(properties: ConnackProperties): ConnackProperties {
  const first = firstInConnack.filter((name) => properties[name] !== undefined);
  const ordered = Object.fromEntries(first.map((name) => [name, properties[name]]));
  return { ...ordered, ...properties };
}

/** SUBACK: a granted QoS or a reason code for each filter, in their order [MQTT-3.8.4-6]. */
export function encodeSuback(version: number, packetId: number, codes: readonly number[]): Buffer {
  const granted = version === 5 ? [...codes] : codes.map(subackReturnCode);
  return mqttPacket.generate(
    { cmd: "suback", messageId: packetId, granted },
    { protocolVersion: version },
  );
}

/** UNSUBACK; reason codes go to MQTT 5 clients only. */
export function encodeUnsuback(
  version: number,
  packetId: number,
  codes: readonly number[],
): Buffer {
  return mqttPacket.generate(
    { cmd: "unsuback", messageId: packetId, granted: [...codes] },
    { protocolVersion: version },
  );
}

/** DISCONNECT from the server: MQTT 5 only. `sentence`: the Reason String; empty: none. */
export function encodeDisconnect(reason: number, sentence: string, serverReference = ""): Buffer {
  // In its shortest form: with no properties their length may be left out [MQTT5 3.14.2.2.1].
  if (serverReference !== "") {
    return mqttPacket.generate(
      { cmd: "disconnect", reasonCode: reason, properties: { serverReference } },
      { protocolVersion: 5 },
    );
  }
  if (sentence === "") return Buffer.from([PacketType.Disconnect, 1, reason]);
  return mqttPacket.generate(
    { cmd: "disconnect", reasonCode: reason, properties: { reasonString: sentence } },
    { protocolVersion: 5 },
  );
}

function malformed(): never {
  throw new ProtocolError(ReasonCode.MalformedPacket);
}
