/** MQTT over WebSocket. */
import type { ListenerSettings } from "../../config/listeners.js";
import { Entrance } from "./entrance.js";
import type { Listener, ListenerParts } from "./listener.js";
import { WebSocketStage } from "./web-socket-stage.js";

export function ws(
  settings: Extract<ListenerSettings, { kind: "ws" }>,
  parts: ListenerParts,
): Listener {
  const stage = new WebSocketStage(settings, parts);
  return new Entrance(settings, parts, (handshake) => {
    stage.begin(handshake.socket, handshake, parts.policy);
  });
}
