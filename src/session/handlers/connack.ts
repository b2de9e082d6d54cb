/** What CONNACK tells an MQTT 5 client about its session and this node; what is absent is the protocol's default. */
import type { Config } from "../../config/schema.js";
import type { ConnackProperties, ConnectPacket } from "../../protocol/packets.js";
import { receiveMaximumOf } from "../incoming-qos2.js";

/** As the protocol limits them, and so nothing to tell. */
const packetMax = 268_435_455;
const receiveMaximumDefault = 65_535;

/** The keep-alive that holds for this client, in seconds; 0: none. */
export function keepAliveOf(packet: ConnectPacket, maxSeconds: number): number {
  const asked = packet.keepAliveSeconds;
  if (maxSeconds === 0) return asked;
  return asked === 0 ? maxSeconds : Math.min(asked, maxSeconds);
}

/**
 * The properties of a CONNACK that accepts; none for MQTT 3. `assigned`: the client id that the client did not
 * bring [MQTT-3.2.2-16]; `askedMs`: the session expiry that it asked for.
 */
export function connackProperties(
  packet: ConnectPacket,
  config: Pick<Config, "limits" | "mqtt">,
  assigned: string | undefined,
  askedMs: number,
): ConnackProperties {
  if (packet.version < 5) return {};
  const { limits } = config;
  const properties: ConnackProperties = {};
  if (limits.topic_aliases > 0) properties.topicAliasMaximum = limits.topic_aliases;
  if (limits.max_qos < 2) properties.maximumQoS = limits.max_qos;
  if (!limits.retain_available) properties.retainAvailable = false;
  if (limits.max_packet < packetMax) properties.maximumPacketSize = limits.max_packet;
  if (assigned !== undefined) properties.assignedClientIdentifier = assigned;
  if (askedMs > limits.session_expiry) {
    properties.sessionExpiryInterval = Math.floor(limits.session_expiry / 1000);
  }
  const keepAlive = keepAliveOf(packet, limits.keep_alive_max);
  if (keepAlive !== packet.keepAliveSeconds) properties.serverKeepAlive = keepAlive; // [MQTT-3.1.2-21]
  // Only to those who ask [MQTT-3.1.2-28].
  const information = packet.wantsResponseInformation ? config.mqtt.response_information : "";
  if (information !== "") {
    properties.responseInformation = information.replaceAll(
      "%c",
      () => assigned ?? packet.clientId,
    );
  }
  const receiveMaximum = receiveMaximumOf(limits);
  if (receiveMaximum < receiveMaximumDefault) properties.receiveMaximum = receiveMaximum;
  return properties;
}
