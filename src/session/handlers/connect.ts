/** CONNECT: what may connect, with which limits, and what CONNACK says. */
import type { Config } from "../../config/schema.js";
import type { Random } from "../../lib/random.js";
import {
  type ConnackProperties,
  type ConnectPacket,
  encodeConnack,
  type WillPacket,
} from "../../protocol/packets.js";
import { ReasonCode, reasonName } from "../../protocol/reason-codes.js";
import { textBeyondTopicLimits } from "../../protocol/topics.js";
import type { Channel } from "../channel.js";
import type { Session } from "../session.js";
import type { Sessions } from "../sessions.js";

export interface ConnectParts {
  readonly sessions: Sessions;
  readonly config: Pick<Config, "limits" | "mqtt">;
  readonly random: Random;
}

/** The answer to a CONNECT. */
export interface Greeting {
  /** Null: refused, close after `connack`. */
  readonly session: Session | null;
  /** Null: nothing is sent. */
  readonly connack: Buffer | null;
  readonly reason: number;
}

const foreverSeconds = 0xffff_ffff;

/**
 * Handles a CONNECT. `greet` is called once, possibly before this returns, unless the connection closes
 * first; it sends CONNACK, and when it returns the session is attached.
 */
export function connect(
  packet: ConnectPacket,
  channel: Channel,
  parts: ConnectParts,
  greet: (greeting: Greeting) => void,
): void {
  const { limits } = parts.config;
  const refusal = refusalOf(packet, limits);
  if (refusal !== 0) {
    greet(refused(packet.version, refusal, parts.config.mqtt.reason_strings));
    return;
  }
  const assigned = packet.clientId === "" ? assignedId(parts.random) : undefined;
  const askedMs = askedExpiryMs(packet, limits.session_expiry);
  const expiryMs = Math.min(askedMs, limits.session_expiry);
  const request = {
    clientId: assigned ?? packet.clientId,
    // A name that nobody has checked is nobody's: all clients are the anonymous user.
    user: "",
    clean: packet.clean,
    expiryMs,
    receiveMaximum: packet.receiveMaximum,
    will: packet.will,
  };
  parts.sessions.connect(request, channel, (outcome) => {
    if (outcome.session === null) {
      const strings = parts.config.mqtt.reason_strings;
      greet(refused(packet.version, outcome.reason, strings));
      return;
    }
    const properties = connackProperties(packet, limits, assigned, askedMs);
    const connack = encodeConnack(packet.version, outcome.present, 0, properties);
    greet({ session: outcome.session, connack, reason: 0 });
  });
}

/** The keep-alive that holds for this client, in seconds; 0: none. */
export function keepAliveOf(packet: ConnectPacket, maxSeconds: number): number {
  const asked = packet.keepAliveSeconds;
  if (maxSeconds === 0) return asked;
  return asked === 0 ? maxSeconds : Math.min(asked, maxSeconds);
}

function refusalOf(packet: ConnectPacket, limits: Config["limits"]): number {
  const { version, clientId } = packet;
  if (packet.authenticationMethod !== null) return ReasonCode.BadAuthenticationMethod;
  // MQTT 3.1 wants a client id; 3.1.1 one unless the session is clean [MQTT-3.1.3-8].
  if (clientId === "" && (version === 3 || (version === 4 && !packet.clean))) {
    return ReasonCode.ClientIdNotValid;
  }
  if (Buffer.byteLength(clientId) > limits.client_id_bytes) return ReasonCode.ClientIdNotValid;
  return packet.will === null ? 0 : willRefusal(packet.will, limits);
}

function willRefusal(will: WillPacket, limits: Config["limits"]): number {
  const beyond = textBeyondTopicLimits(will.topic, limits.topic_bytes, limits.topic_levels);
  return beyond ? ReasonCode.TopicNameInvalid : 0;
}

/** What the client asked for; an MQTT 3 session that is not clean lasts as long as it may. */
function askedExpiryMs(packet: ConnectPacket, longestMs: number): number {
  if (packet.version < 5) return packet.clean ? 0 : longestMs;
  if (packet.sessionExpirySeconds === foreverSeconds) return Number.POSITIVE_INFINITY;
  return packet.sessionExpirySeconds * 1000;
}

function refused(version: number, reason: number, withSentence: boolean): Greeting {
  if (reason === 0) return { session: null, connack: null, reason };
  const properties = withSentence ? { reasonString: reasonName(reason) } : {};
  return { session: null, connack: encodeConnack(version, false, reason, properties), reason };
}

function connackProperties(
  packet: ConnectPacket,
  limits: Config["limits"],
  assigned: string | undefined,
  askedMs: number,
): ConnackProperties {
  if (packet.version < 5) return {};
  const properties: ConnackProperties = {
    receiveMaximum: Math.min(limits.receive_maximum, limits.open_qos2),
    maximumPacketSize: limits.max_packet,
    sharedSubscriptionAvailable: false,
  };
  if (assigned !== undefined) properties.assignedClientIdentifier = assigned;
  if (askedMs > limits.session_expiry) {
    properties.sessionExpiryInterval = Math.floor(limits.session_expiry / 1000);
  }
  const keepAlive = keepAliveOf(packet, limits.keep_alive_max);
  if (keepAlive !== packet.keepAliveSeconds) properties.serverKeepAlive = keepAlive;
  return properties;
}

/** Random, so that nobody can guess another's session. */
function assignedId(random: Random): string {
  return `auto-${random.bytes(12).toString("hex")}`;
}
