/**
 * A WebSocket as a connection of MQTT sees it: a stream of bytes, wherever its messages begin and end
 * [MQTT-6.0.0-2]. A text message closes it [MQTT-6.0.0-1].
 */
import type { Socket } from "node:net";
import type { WebSocket } from "ws";
import type { ClientSocket } from "../client-socket.js";
import type { ListenerCounters } from "./counters.js";

/** Room for headers of HTTP and WebSocket beside the first packet. */
const overheadBytes = 4096;
/** Pings are not answered while this much waits to be sent: their sender does not read. */
const pongBytesMax = 65_536;

const closedNormally = 1000;
const closedForText = 1003;

export class WebSocketClient implements ClientSocket {
  readonly copiesWrites: boolean;
  destroyed = false;
  private onData: (chunk: Buffer) => void = ignore;
  private onClose: () => void = ignore;
  private paused = false;
  /** Messages that came with others in one read, while the connection was paused. */
  private waiting: Buffer[] = [];

  constructor(
    private readonly webSocket: WebSocket,
    /** What it runs on. */
    private readonly socket: Socket,
    private readonly counters: ListenerCounters,
    firstBytesMax: number,
    encrypted: boolean,
  ) {
    this.copiesWrites = encrypted;
    this.limitFirst(firstBytesMax + overheadBytes);
    webSocket.on("message", (data, isBinary) => {
      // With the binary type of Node, which is the default, messages are buffers.
      if (isBinary) this.take(data as Buffer);
      else this.fail(closedForText);
    });
    webSocket.on("ping", (data) => {
      if (socket.writableLength <= pongBytesMax && !this.destroyed) webSocket.pong(data);
    });
    // Too large, too many fragments, not masked, ...: ws has sent the close code.
    webSocket.on("error", () => this.fail(null));
    webSocket.on("close", () => this.lost());
  }

  get writableLength(): number {
    return this.socket.writableLength;
  }

  on(event: "data" | "drain" | "error" | "close", listener: (chunk: Buffer) => void): void {
    if (event === "data") this.onData = listener;
    else if (event === "close") this.onClose = () => listener(Buffer.alloc(0));
    else if (event === "drain") this.socket.on("drain", listener);
  }

  write(bytes: Buffer): boolean {
    if (this.destroyed) return true;
    const own = this.copiesWrites ? Buffer.from(bytes) : bytes;
    this.webSocket.send(own, { binary: true, compress: false });
    return !this.socket.writableNeedDrain;
  }

  pause(): void {
    this.paused = true;
    this.webSocket.pause();
  }

  resume(): void {
    this.paused = false;
    while (!this.paused && this.waiting.length > 0) {
      const chunk = this.waiting.shift();
      if (chunk !== undefined) this.onData(chunk);
    }
    if (!this.paused) this.webSocket.resume();
  }

  destroySoon(): void {
    this.webSocket.close(closedNormally);
  }

  destroy(): void {
    this.webSocket.terminate();
  }

  private take(chunk: Buffer): void {
    if (this.destroyed || chunk.length === 0) return;
    if (this.paused) this.waiting.push(chunk);
    else this.onData(chunk);
  }

  /** Before the first message is whole, a stranger may send no more than a CONNECT may have. */
  private limitFirst(bytesMax: number): void {
    const { socket, webSocket } = this;
    let bytes = 0;
    const count = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes <= bytesMax) return;
      this.counters.webSocketsFailed++;
      webSocket.terminate();
    };
    socket.on("data", count);
    webSocket.once("message", () => socket.off("data", count));
  }

  private fail(code: number | null): void {
    if (this.destroyed) return;
    this.counters.webSocketsFailed++;
    if (code !== null) this.webSocket.close(code);
    this.lost();
  }

  private lost(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.waiting = [];
    this.onClose();
  }
}

function ignore(): void {}
