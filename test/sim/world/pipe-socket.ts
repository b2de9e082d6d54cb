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
  private onDrain: () => void = () => undefined;
  private isFull = false;
  private isPaused = false;
  private isOver = false;
  private readonly kept: Buffer[] = [];

  constructor(
    private readonly pipe: Pipe,
    /** Calls back a little later. */
    private readonly later: (look: () => void) => void,
  ) {
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
    else if (event === "drain") this.onDrain = listener as () => void;
  }

  write(bytes: Buffer): boolean {
    this.pipe.write(Buffer.from(bytes));
    if (this.pipe.bufferedBytes === 0) return true;
    if (!this.isFull) this.awaitDrain();
    return false;
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

  private awaitDrain(): void {
    this.isFull = !this.isOver && this.pipe.bufferedBytes > 0;
    if (this.isFull) this.later(() => this.awaitDrain());
    else if (!this.isOver) this.onDrain();
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
