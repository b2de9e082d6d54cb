/**
 * A listener whose connections have something before MQTT: a PROXY header, TLS, WebSocket. What a kind adds is
 * the function that goes on when a header, if one is due, is off the stream.
 */
import type { Socket } from "node:net";
import type { ListenerSettings } from "../../config/listeners.js";
import { Acceptor } from "./acceptor.js";
import type { Certificates } from "./certificates.js";
import { type Handshake, Handshakes } from "./handshakes.js";
import type { Listener, ListenerParts, Place } from "./listener.js";
import { ProxyGate } from "./proxied.js";

export type InternetSettings = Exclude<ListenerSettings, { kind: "unix" }>;

export class Entrance implements Listener {
  private readonly acceptor: Acceptor;
  private readonly handshakes: Handshakes;
  private readonly gate: ProxyGate | null;

  constructor(
    private readonly settings: InternetSettings,
    parts: ListenerParts,
    private readonly begin: (handshake: Handshake) => void,
    private readonly certificates: Certificates | null = null,
  ) {
    const { wheel, limits, counters } = parts;
    this.handshakes = new Handshakes(wheel, limits.connect_timeout, counters);
    this.gate = settings.proxy_protocol ? new ProxyGate(settings.trusted_proxies, parts) : null;
    this.acceptor = new Acceptor(settings.max_connections, parts, (socket) => this.enter(socket));
  }

  get place(): Place {
    return this.acceptor.place;
  }

  get pending(): number {
    return this.handshakes.size;
  }

  async listen(): Promise<void> {
    const { bind: host, port } = this.settings;
    await this.acceptor.listen({ host, port });
    this.certificates?.watch();
  }

  close(): Promise<void> {
    this.certificates?.close();
    const closed = this.acceptor.close();
    this.handshakes.close();
    return closed;
  }

  reload(): string | null {
    return this.certificates?.reload() ?? null;
  }

  private enter(socket: Socket): void {
    const handshake = this.handshakes.begin(socket);
    if (this.gate === null) this.begin(handshake);
    else this.gate.read(handshake, () => this.begin(handshake));
  }
}
