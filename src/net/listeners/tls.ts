/** MQTT over TLS. */
import type { ListenerSettings } from "../../config/listeners.js";
import { Entrance } from "./entrance.js";
import type { Listener, ListenerParts } from "./listener.js";
import { TlsClient } from "./tls-client.js";
import { TlsStage } from "./tls-stage.js";

/** @throws Refusal when the certificates cannot be used */
export function tls(
  settings: Extract<ListenerSettings, { kind: "tls" }>,
  parts: ListenerParts,
): Listener {
  const stage = new TlsStage(settings, parts, (socket, handshake, policy) => {
    handshake.end();
    parts.onClient(new TlsClient(socket), policy, handshake.address);
  });
  return new Entrance(settings, parts, (handshake) => stage.begin(handshake), stage.certificates);
}
