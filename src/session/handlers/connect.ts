/** CONNECT: who may connect, with which limits, and what CONNACK says. */
import type { Access } from "../../auth/acl/access.js";
import type { Authenticator, Credentials } from "../../auth/authenticator.js";
import type { Bans } from "../../auth/bans/bans.js";
import type { Admission } from "../../auth/basic.js";
import { isUtf8 } from "node:buffer";
import type { Config } from "../../config/schema.js";
import type { Random } from "../../lib/random.js";
import { authenticationProperties } from "../../protocol/auth-packet.js";
import {
  type ConnackProperties,
  type ConnectPacket,
  encodeConnack,
  type WillPacket,
} from "../../protocol/packets.js";
import { ProtocolError } from "../../protocol/protocol-error.js";
import { isElsewhere, ReasonCode, reasonName } from "../../protocol/reason-codes.js";
import { textBeyondTopicLimits } from "../../protocol/topics.js";
import type { Channel } from "../channel.js";
import type { ListenerPolicy } from "../listener-policy.js";
import type { AttachedSession } from "../remote/near.js";
import type { ConnectRequest } from "../opening.js";
import type { Sessions } from "../sessions.js";
import { type Authenticated, EnhancedAuth } from "./auth.js";
import { connackProperties, keepAliveOf } from "./connack.js";

export interface ConnectParts {
  readonly sessions: Sessions;
  readonly config: Pick<Config, "limits" | "mqtt" | "drain">;
  readonly random: Random;
  readonly authenticator: Authenticator;
  readonly bans: Pick<Bans, "refusesClient" | "refusesUser" | "has">;
  readonly gate?: ConnectGate;
}

/** Whether clients are let in at present. */
export interface ConnectGate {
  /** Why they are not; 0: they are. */
  readonly reason: number;
}

/** The answer to a CONNECT. */
export interface Greeting {
  /** Null: refused, close after `connack`. */
  readonly session: AttachedSession | null;
  /** Null: nothing is sent. */
  readonly connack: Buffer | null;
  readonly reason: number;
  /** When the connection has to end, in wall-clock milliseconds; null: never. */
  readonly expiresAtMs: number | null;
}

type Greet = (greeting: Greeting) => void;

/** Without enhanced authentication CONNACK owes nothing to it. */
const noProof: ConnackProperties = {};

/** What a CONNECT shows. A class, as a literal with a getter would be another kind of object each time. */
class ShownByConnect implements Credentials {
  readonly name: string;
  readonly password: Buffer | null;
  readonly clientId: string;
  readonly listener: string;
  readonly certificateUser: string | null;
  readonly anonymous: boolean | null;

  constructor(
    packet: ConnectPacket,
    policy: ListenerPolicy,
    private readonly channel: Channel,
  ) {
    this.name = packet.user;
    this.password = packet.password;
    this.clientId = packet.clientId;
    this.listener = policy.name;
    this.certificateUser = policy.certificateUser;
    this.anonymous = policy.anonymous;
  }

  /** Asked of the system, and seldom of use. */
  get address(): string {
    return this.channel.info().address;
  }
}

/**
 * Handles a CONNECT. `greet` is called once, possibly before this returns, unless the connection closes
 * first; it sends CONNACK, and when it returns the session is attached. Returns the authentication that
 * the client asked for by name, which takes its AUTH packets from now on; else null.
 * @throws ProtocolError protocol error: authentication data without a method
 */
export function connect(
  packet: ConnectPacket,
  channel: Channel,
  policy: ListenerPolicy,
  parts: ConnectParts,
  greet: Greet,
): EnhancedAuth | null {
  const { authenticationMethod: method } = packet;
  if (method === null && packet.authenticationData !== null) {
    throw new ProtocolError(ReasonCode.ProtocolError, "authentication data without a method");
  }
  const refusal = parts.gate?.reason || refusalOf(packet, parts);
  if (refusal !== 0) {
    greet(refused(packet, refusal, parts));
    return null;
  }
  if (method !== null) return beginEnhanced(packet, method, channel, parts, greet);
  parts.authenticator.check(
    new ShownByConnect(packet, policy, channel),
    () => channel.isOpen,
    (verdict) => {
      if (!channel.isOpen) return;
      if (verdict.user === null) greet(refused(packet, verdict.reason, parts));
      else admit(packet, verdict, channel, parts, noProof, greet);
    },
  );
  return null;
}

/** A client that names a method shows by that who it is; its user name and password are not looked at. */
function beginEnhanced(
  packet: ConnectPacket,
  method: string,
  channel: Channel,
  parts: ConnectParts,
  greet: Greet,
): EnhancedAuth | null {
  const exchange = parts.authenticator.begin(method);
  if (exchange === null) {
    greet(refused(packet, ReasonCode.BadAuthenticationMethod, parts)); // [MQTT-4.12.0-1]
    return null;
  }
  const onAuthenticated = ({ user, data }: Authenticated): void => {
    const properties = authenticationProperties(method, data);
    if (user !== null) admit(packet, { user }, channel, parts, properties, greet);
    else greet(refused(packet, ReasonCode.NotAuthorized, parts, properties)); // [MQTT-4.12.0-4]
  };
  const auth = new EnhancedAuth(method, exchange, parts.authenticator, channel, onAuthenticated);
  auth.step(packet.authenticationData ?? Buffer.alloc(0));
  return auth;
}

/** Gets a client its session. `proof`: what CONNACK owes to enhanced authentication. */
function admit(
  packet: ConnectPacket,
  admission: Admission,
  channel: Channel,
  parts: ConnectParts,
  proof: ConnackProperties,
  greet: Greet,
): void {
  const { user, rules, expiresAtMs } = admission;
  if (parts.bans.refusesUser(user)) {
    greet(refused(packet, ReasonCode.Banned, parts, proof));
    return;
  }
  const { limits } = parts.config;
  const assigned = packet.clientId === "" ? assignedId(parts.random) : undefined;
  const askedMs = askedExpiryMs(packet, limits.session_expiry);
  const granted = connackProperties(packet, parts.config, assigned, askedMs);
  const properties = proof === noProof ? granted : { ...granted, ...proof };
  const { packetMax, version } = packet;
  if (
    packetMax !== Number.POSITIVE_INFINITY &&
    encodeConnack(version, true, 0, properties).length > packetMax
  ) {
    // Not even CONNACK may be sent [MQTT-3.1.2-24].
    greet({ session: null, connack: null, reason: ReasonCode.PacketTooLarge, expiresAtMs: null });
    return;
  }
  const expiryMs = Math.min(askedMs, limits.session_expiry);
  const clientId = assigned ?? packet.clientId;
  const access = parts.sessions.authorizer.accessOf({ clientId, user, rules: rules ?? null });
  if (packet.will !== null && !mayHaveWill(packet.will, access, parts.sessions)) {
    greet(refused(packet, ReasonCode.NotAuthorized, parts, proof));
    return;
  }
  const request = requestOf(packet, clientId, admission, access, expiryMs);
  parts.sessions.connect(request, channel, (outcome) => {
    if (outcome.session === null) {
      greet(refused(packet, outcome.reason, parts));
      return;
    }
    const { counters } = parts.sessions;
    if (askedMs > limits.session_expiry) counters.expiryShortened++;
    const keepAlive = keepAliveOf(packet, limits.keep_alive_max);
    if (keepAlive !== packet.keepAliveSeconds) counters.keepAliveShortened++;
    const connack = encodeConnack(packet.version, outcome.present, 0, properties);
    greet({ session: outcome.session, connack, reason: 0, expiresAtMs: expiresAtMs ?? null });
    // Banned while it waited for its session.
    if (!parts.bans.has({ clientId, user, host: "" })) return;
    parts.sessions.turn.defer(() => channel.close(ReasonCode.AdministrativeAction));
  });
}

/** Every field by its name: with a spread of some each CONNECT would make another kind of object. */
function requestOf(
  { clean, receiveMaximum, will }: ConnectPacket,
  clientId: string,
  admission: Admission,
  access: Access | null,
  expiryMs: number,
): ConnectRequest {
  const { user } = admission;
  const rules = admission.rules ?? null;
  return { clientId, user, access, rules, clean, expiryMs, receiveMaximum, will };
}

function refusalOf(packet: ConnectPacket, { config, bans }: ConnectParts): number {
  const { version, clientId } = packet;
  const { limits } = config;
  // MQTT 3.1 wants a client id; 3.1.1 one unless the session is clean [MQTT-3.1.3-8].
  if (clientId === "" && (version === 3 || (version === 4 && !packet.clean))) {
    return ReasonCode.ClientIdNotValid;
  }
  if (Buffer.byteLength(clientId) > limits.client_id_bytes) return ReasonCode.ClientIdNotValid;
  if (bans.refusesClient(clientId)) return ReasonCode.Banned;
  return packet.will === null ? 0 : willRefusal(packet.will, config);
}

function willRefusal(will: WillPacket, config: Pick<Config, "limits" | "mqtt">): number {
  const { limits, mqtt } = config;
  if (textBeyondTopicLimits(will.topic, limits.topic_bytes, limits.topic_levels)) {
    return ReasonCode.TopicNameInvalid;
  }
  if (will.qos > limits.max_qos) return ReasonCode.QosNotSupported; // [MQTT-3.2.2-12]
  if (will.retain && !limits.retain_available) return ReasonCode.RetainNotSupported; // [MQTT-3.2.2-13]
  const isWrong = mqtt.check_payload_format && will.payloadIsText && !isUtf8(will.payload);
  return isWrong ? ReasonCode.PayloadFormatInvalid : 0;
}

/** May the client publish to the topic of its will? It is asked again when the will is due. */
function mayHaveWill(will: WillPacket, access: Access | null, sessions: Sessions): boolean {
  if (access === null || access.decide("publish", will.topic).allowed) return true;
  sessions.authorizer.counters.deniedWills++;
  return false;
}

/** What the client asked for; an MQTT 3 session that is not clean lasts as long as it may. */
function askedExpiryMs(packet: ConnectPacket, longestMs: number): number {
  if (packet.version < 5) return packet.clean ? 0 : longestMs;
  return packet.sessionExpirySeconds * 1000;
}

function refused(
  { version, packetMax }: ConnectPacket,
  reason: number,
  { config }: ConnectParts,
  proof: ConnackProperties = {},
): Greeting {
  if (reason === 0) return { session: null, connack: null, reason, expiresAtMs: null };
  const sentence = config.mqtt.reason_strings ? { reasonString: reasonName(reason) } : {};
  const reference = isElsewhere(reason) ? config.drain.server_reference : "";
  // A client that is to go elsewhere hears where [MQTT5 4.11].
  const where = reference === "" ? {} : { serverReference: reference };
  // Without its sentence where there is no room for that [MQTT-3.2.2-19], and then without the rest.
  const fits = [{ ...where, ...sentence }, where].find(
    (more) => encodeConnack(version, false, reason, { ...proof, ...more }).length <= packetMax,
  );
  const connack = encodeConnack(version, false, reason, { ...proof, ...fits });
  return { session: null, connack, reason, expiresAtMs: null };
}

/** Random, so that nobody can guess another's session; in the form of a UUID. */
function assignedId(random: Random): string {
  const hex = random.bytes(16).toString("hex");
  return `auto-${hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`;
}
