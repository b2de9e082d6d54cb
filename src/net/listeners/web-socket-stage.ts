/**
 * WebSockets on accepted sockets [MQTT-6]: HTTP requests to one path that offer a subprotocol of MQTT are
 * upgraded, all others get an answer and are closed. Nothing is compressed.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { Socket } from "node:net";
import { WebSocketServer } from "ws";
import type { WebSocketSettings } from "../../config/listeners.js";
import type { ListenerPolicy } from "../../session/listener-policy.js";
import { addressText } from "../client-socket.js";
import type { Handshake } from "./handshakes.js";
import type { ListenerParts } from "./listener.js";
import { WebSocketClient } from "./web-socket-client.js";

/** The one that is taken if several are offered is the first of these [MQTT-6.0.0-3, MQTT-6.0.0-4]. */
const subprotocols = ["mqtt", "mqttv3.1"];

const headerBytesMax = 8192;
/** Empty or tiny fragments cost much more than their bytes. */
const fragmentsMax = 4096;
const chunksMax = 16_384;
/** A client that was sent a Close and does not close is cut off then. */
const closingMs = 2000;

interface Arrival {
  readonly handshake: Handshake;
  readonly policy: ListenerPolicy;
}

export class WebSocketStage {
  private readonly http: Server;
  private readonly upgrades: WebSocketServer;
  private readonly arrivals = new WeakMap<object, Arrival>();

  constructor(
    private readonly settings: WebSocketSettings,
    private readonly parts: ListenerParts,
  ) {
    const options = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      autoPong: false,
      maxPayload: settings.max_message,
      maxFragments: fragmentsMax,
      maxBufferedChunks: chunksMax,
      closeTimeout: closingMs,
      handleProtocols: (offered: Set<string>) =>
        subprotocols.find((name) => offered.has(name)) ?? false,
    };
    this.upgrades = new WebSocketServer(options);
    this.http = createServer({ maxHeaderSize: headerBytesMax });
    this.http.on("request", (request, response) => {
      parts.counters.webSocketsRefused++;
      const found = pathOf(request) === settings.path;
      response.writeHead(found ? 426 : 404, { connection: "close", upgrade: "websocket" });
      response.end();
    });
    this.http.on("upgrade", (request, socket, head) => {
      // What node:http hands over is what was put in: a TCP or TLS socket.
      this.onUpgrade(request, socket as Socket, head);
    });
    this.http.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      // No HTTP, or too much of it. A client that just went away asked for nothing.
      if (error.code !== "ECONNRESET") parts.counters.webSocketsRefused++;
      socket.destroy();
    });
  }

  /** Waits for the request on a socket whose next bytes are HTTP. */
  begin(socket: Socket, handshake: Handshake, policy: ListenerPolicy): void {
    this.arrivals.set(socket, { handshake, policy });
    this.http.emit("connection", socket);
  }

  private onUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => undefined);
    const arrival = this.arrivals.get(socket);
    if (pathOf(request) !== this.settings.path) this.refuse(socket, "404 Not Found");
    else if (!offersMqtt(request)) this.refuse(socket, "400 Bad Request");
    else if (arrival === undefined) socket.destroy();
    else this.upgrade(request, socket, head, arrival);
  }

  private upgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Buffer,
    { handshake, policy }: Arrival,
  ): void {
    const { parts, settings } = this;
    this.upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      const { remoteAddress, remotePort } = handshake.socket;
      handshake.end();
      const client = new WebSocketClient(
        webSocket,
        socket,
        parts.counters,
        parts.limits.max_packet_before_connect,
        settings.kind === "wss",
      );
      const own = remoteAddress === undefined ? "" : addressText(remoteAddress, remotePort ?? 0);
      parts.onClient(client, policy, handshake.address ?? own);
    });
  }

  private refuse(socket: Socket, status: string): void {
    this.parts.counters.webSocketsRefused++;
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }
}

function pathOf({ url = "" }: IncomingMessage): string {
  return url.replace(/\?.*$/s, "");
}

function offersMqtt({ headers }: IncomingMessage): boolean {
  const offered = headers["sec-websocket-protocol"] ?? "";
  return offered.split(",").some((name) => subprotocols.includes(name.trim()));
}
