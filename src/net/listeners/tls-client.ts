/**
 * A TLS connection as a connection of MQTT sees it. Node encrypts later than it takes bytes, so what is
 * written is copied: the output's buffer is free again, and a small packet does not pin it.
 */
import type { TLSSocket } from "node:tls";
import type { ClientSocket } from "../client-socket.js";

export class TlsClient implements ClientSocket {
  readonly copiesWrites = true;

  constructor(private readonly socket: TLSSocket) {}

  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress;
  }

  get remotePort(): number | undefined {
    return this.socket.remotePort;
  }

  get writableLength(): number {
    return this.socket.writableLength;
  }

  get destroyed(): boolean {
    return this.socket.destroyed;
  }

  on(event: string, listener: (chunk: Buffer) => void): void {
    this.socket.on(event, listener);
  }

  write(bytes: Buffer): boolean {
    return this.socket.write(Buffer.from(bytes));
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  destroySoon(): void {
    this.socket.destroySoon();
  }

  destroy(): void {
    this.socket.destroy();
  }
}
