/** The kinds of listeners; a newcomer adds one file and one line. */
import type { ListenerSettings } from "../../config/listeners.js";
import type { Listener, ListenerParts } from "./listener.js";
import { tcp } from "./tcp.js";
import { tls } from "./tls.js";
import { unix } from "./unix.js";
import { ws } from "./ws.js";
import { wss } from "./wss.js";

/**
 * Makes a listener; it listens when it is told to.
 * @throws Refusal when its certificates cannot be used
 */
export function makeListener(settings: ListenerSettings, parts: ListenerParts): Listener {
  switch (settings.kind) {
    case "tcp":
      return tcp(settings, parts);
    case "tls":
      return tls(settings, parts);
    case "ws":
      return ws(settings, parts);
    case "wss":
      return wss(settings, parts);
    case "unix":
      return unix(settings, parts);
  }
}
