/** The DISCONNECT with which a node closes an MQTT 5 client. */
import type { Config } from "../config/schema.js";
import { encodeDisconnect } from "../protocol/packets.js";
import { isElsewhere } from "../protocol/reason-codes.js";

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
