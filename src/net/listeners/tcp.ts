/** MQTT over TCP. Without a proxy before it, an accepted socket is the client's connection as it is. */
import type { ListenerSettings } from "../../config/listeners.js";
import { Acceptor } from "./acceptor.js";
import { readDirectly } from "../../lib/direct-reads.js";
import { Entrance } from "./entrance.js";
import type { Listener, ListenerParts, Place } from "./listener.js";

type TcpSettings = Extract<ListenerSettings, { kind: "tcp" }>;

export function tcp(settings: TcpSettings, parts: ListenerParts): Listener {
  if (!settings.proxy_protocol) return new PlainTcp(settings, parts);
  return new Entrance(settings, parts, (handshake) => {
    handshake.end();
    parts.onClient(handshake.socket, parts.policy, handshake.address);
  });
}

class PlainTcp implements Listener {
  readonly pending = 0;
  private readonly acceptor: Acceptor;

  constructor(
    private readonly settings: TcpSettings,
    parts: ListenerParts,
  ) {
    const { onClient, policy } = parts;
    this.acceptor = new Acceptor(settings.max_connections, parts, (socket) => {
      readDirectly(socket);
      onClient(socket, policy, null);
    });
  }

  get place(): Place {
    return this.acceptor.place;
  }

  listen(): Promise<void> {
    const { bind: host, port } = this.settings;
    return this.acceptor.listen({ host, port });
  }

  close(): Promise<void> {
    return this.acceptor.close();
  }

  reload(): null {
    return null;
  }
}
