/** MQTT over WebSocket over TLS. */
import type { ListenerSettings } from "../../config/listeners.js";
import { Entrance } from "./entrance.js";
import type { Listener, ListenerParts } from "./listener.js";
import { TlsStage } from "./tls-stage.js";
import { WebSocketStage } from "./web-socket-stage.js";

/** @throws Refusal when the certificates cannot be used */
export function wss(
  settings: Extract<ListenerSettings, { kind: "wss" }>,
  parts: ListenerParts,
): Listener {
  const inner = new WebSocketStage(settings, parts);
  const outer = new TlsStage(settings, parts, (socket, handshake, policy) => {
    inner.begin(socket, handshake, policy);
  });
  return new Entrance(settings, parts, (handshake) => outer.begin(handshake), outer.certificates);
}
