/** DISCONNECT from the client: whether its will is due, and a new expiry of its session. */
import type { DisconnectPacket } from "../../protocol/packets.js";
import { ProtocolError } from "../../protocol/protocol-error.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { AttachedSession } from "../remote/near.js";

/**
 * Takes note of a DISCONNECT before the connection is closed. Returns whether the will is due: reason 0
 * discards it [MQTT-3.14.4-3].
 * @throws ProtocolError protocol error: an expiry for a session that was to end with its connection
 */
export function disconnect(session: AttachedSession, packet: DisconnectPacket): boolean {
  const { sessionExpirySeconds } = packet;
  if (sessionExpirySeconds !== undefined) {
    if (!session.persistent && sessionExpirySeconds > 0) {
      throw new ProtocolError(ReasonCode.ProtocolError, "expiry was 0 in CONNECT");
    }
    const longestMs = session.host.limits.session_expiry;
    session.expiryMs = Math.min(sessionExpirySeconds * 1000, longestMs);
  }
  return packet.reason !== ReasonCode.Success;
}
