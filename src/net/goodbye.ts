/** The packets with which a node closes a client: DISCONNECT of MQTT 5, and CONNACK for a CONNECT that went wrong. */
import type { Config } from "../config/schema.js";
import { encodeConnack, encodeDisconnect } from "../protocol/packets.js";
import { isElsewhere, ReasonCode } from "../protocol/reason-codes.js";
import { connectCheck } from "../protocol/strict.js";

/** `sentence`: a Reason String; empty: none. A client that is to go elsewhere hears where [MQTT5 4.11]. */
export function goodbye(
  reason: number,
  sentence: string,
  { drain }: Pick<Config, "drain">,
  packetMax: number,
): Buffer {
  const told = encodeDisconnect(
    reason,
    sentence,
    isElsewhere(reason) ? drain.server_reference : "",
  );
  // In short where there is no room for that [MQTT-3.14.2-3].
  return told.length <= packetMax ? told : encodeDisconnect(reason, "");
}

/**
 * CONNACK for a CONNECT that went wrong, where its version is known, else null [MQTT-3.2.2-1..6]. `version`: 0 before that was
 * read.
 */
export function refusal(version: number, reason: number, sentence: string): Buffer | null {
  const unsupported = reason === ReasonCode.UnsupportedProtocolVersion;
  if (version !== 5 && !unsupported) return null;
  const told = version === 5 || connectCheck.isNewer ? 5 : 4;
  const properties = sentence === "" ? {} : { reasonString: sentence };
  return encodeConnack(told, false, reason, properties);
}
