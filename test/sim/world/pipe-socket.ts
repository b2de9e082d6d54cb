/** An end of a simulated connection as the socket of an MQTT connection. */
import type { Pipe } from "../../../src/cluster/transport.js";
import type { ClientSocket } from "../../../src/net/client-socket.js";

export class PipeSocket implements ClientSocket {
  readonly remoteAddress = "client";
  readonly remotePort = 1;
  readonly copiesWrites = true;
  destroyed = false;
  private onData: (chunk: Buffer) => void = () => undefined;
  private onClose: () => void = () => undefined;
  private isPaused = false;
  private isOver = false;
  private readonly kept: Buffer[] = [];

  constructor(private readonly pipe: Pipe) {
    pipe.onData = (bytes) => {
      this.kept.push(bytes);
      this.hand();
    };
    pipe.onClose = () => {
      this.isOver = true;
      this.hand();
    };
  }

  get writableLength(): number {
    return this.pipe.bufferedBytes;
  }

  on(event: "data", listener: (chunk: Buffer) => void): void;
  on(event: "drain" | "error" | "close", listener: () => void): void;
  on(event: string, listener: (chunk: Buffer) => void): void {
    if (event === "data") this.onData = listener;
    // It is told nothing else then.
    else if (event === "close") this.onClose = listener as () => void;
  }

  write(bytes: Buffer): boolean {
    this.pipe.write(Buffer.from(bytes));
    return true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    this.hand();
  }

  destroySoon(): void {
    this.pipe.close();
  }

  destroy(): void {
    this.destroyed = true;
    this.pipe.destroy();
  }

  /** What has come, unless nobody reads; the end last. */
  private hand(): void {
    while (!this.isPaused) {
      const chunk = this.kept.shift();
      if (chunk !== undefined) {
        this.onData(chunk);
        continue;
      }
      const { onClose } = this;
      if (this.isOver) {
        this.onClose = () => undefined;
        onClose();
      }
      return;
    }
  }
}
