/**
 * One connection of the link protocol: a pipe cut into frames. Frames that come while nobody listens
 * are held. A frame that breaks the protocol closes the pipe; it never gets further.
 */
import type { Pipe } from "../transport.js";
import { FrameReader, type OnFrame, WireError } from "./frames.js";

interface HeldFrame {
  readonly type: number;
  readonly body: Buffer;
}

/** Most bytes held for a listener that is late. */
const heldBytesMax = 16 * 1024 * 1024;

export class Wire {
  /** Called once when the connection has ended, with why if the other side broke the protocol. */
  onClose: (fault: string | null) => void = () => undefined;
  private listener: OnFrame | null = null;
  private held: HeldFrame[] = [];
  private heldBytes = 0;
  private fault: string | null = null;
  private closed = false;
  private closing = false;
  /** No frame is handed on any more. */
  private ended = false;
  private readonly reader: FrameReader;

  constructor(private readonly pipe: Pipe) {
    this.reader = new FrameReader((type, bytes, start, end) =>
      this.onFrame(type, bytes, start, end),
    );
    pipe.onData = (bytes) => this.onData(bytes);
    pipe.onClose = () => {
      this.closed = true;
      this.endReading();
      this.onClose(this.fault);
    };
  }

  get remote(): string {
    return this.pipe.remote;
  }

  get bufferedBytes(): number {
    return this.pipe.bufferedBytes;
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** What comes takes long to handle: it is read a little in each turn. */
  pace(): void {
    this.pipe.paced = true;
  }

  /** The other side is proved: frames of this length are taken from now on. */
  trust(frameMax: number): void {
    this.reader.frameMax = frameMax;
  }

  /** Hands every frame to `listener`, those held first; null holds them again. */
  listen(listener: OnFrame | null): void {
    this.listener = listener;
    // The first frames may change who listens, or end the connection.
    while (this.listener === listener && listener !== null && !this.ended) {
      const first = this.held.shift();
      if (first === undefined) return;
      const { type, body } = first;
      this.heldBytes -= body.length;
      this.guard(() => listener(type, body, 0, body.length));
    }
  }

  /** Returns whether `bytes` are the caller's again; else they must not be changed any more. */
  send(bytes: Buffer): boolean {
    return this.closed || this.pipe.write(bytes);
  }

  /** Closes after what was sent has left. */
  close(): void {
    this.closing = true;
    this.endReading();
    this.pipe.close();
  }

  /** Ends the connection now, unless `close` was called and is at work. */
  destroyUnlessClosing(): void {
    if (!this.closing) this.destroy();
  }

  destroy(): void {
    this.endReading();
    this.pipe.destroy();
  }

  private endReading(): void {
    this.ended = true;
    this.held = [];
    this.reader.stop();
  }

  private onData(bytes: Buffer): void {
    this.guard(() => this.reader.push(bytes));
  }

  private onFrame(type: number, bytes: Buffer, start: number, end: number): void {
    if (this.listener !== null) {
      this.listener(type, bytes, start, end);
      return;
    }
    this.heldBytes += end - start;
    if (this.heldBytes > heldBytesMax) throw new WireError("too much before the link was up");
    this.held.push({ type, body: Buffer.from(bytes.subarray(start, end)) });
  }

  private guard(read: () => void): void {
    try {
      read();
    } catch (error) {
      // Anything else is a bug of ours, and stops the node.
      if (!(error instanceof WireError)) throw error;
      this.fault = error.message;
      this.destroy();
    }
  }
}
