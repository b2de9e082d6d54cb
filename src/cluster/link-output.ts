/**
 * What leaves on one connection of a link: everything of a turn of the event loop is gathered in one buffer and
 * goes out in one write at its end. A connection that has nothing to send holds no buffer.
 */
import type { Clock } from "../lib/clock.js";
import type { Wire } from "./wire/wire.js";

/** What one read of a publisher brings fits, with what else a turn may have. */
const bufferBytes = 81_920;
/** Frames from this size on are written from where they are, without a copy. */
const largeBytes = 20_480;
const freeBuffersMax = 8;
const noBuffer: Buffer = Buffer.alloc(0);
/** Of all links: few of them send in one turn. */
const free: Buffer[] = [];

export class LinkOutput {
  /** Called before the write of a turn: frames may still be added. */
  beforeFlush: () => void = () => undefined;
  /** Where `reserve` has made room. */
  buffer: Buffer = noBuffer;
  private used = 0;
  private scheduled = false;
  private readonly flushTurn = (): void => this.flush();

  constructor(
    private readonly wire: Pick<Wire, "send" | "bufferedBytes">,
    private readonly clock: Pick<Clock, "defer">,
  ) {}

  /** Bytes that the network has not taken yet. */
  get bufferedBytes(): number {
    return this.used + this.wire.bufferedBytes;
  }

  /** A write is due at the end of this turn, and nothing before it waits for the network. */
  get leavesSoon(): boolean {
    return this.scheduled && this.wire.bufferedBytes === 0;
  }

  /** Sends a frame, which must not be changed afterwards. */
  push(frame: Buffer): void {
    const { length } = frame;
    if (length >= largeBytes) {
      this.writeOut();
      this.wire.send(frame);
      return;
    }
    const at = this.reserve(length);
    this.buffer.set(frame, at);
  }

  /** Makes room for the next `length` bytes in `buffer`, to be filled at once, and returns where. */
  reserve(length: number): number {
    if (!this.scheduled) this.schedule();
    if (this.used + length > this.buffer.length) {
      this.writeOut();
      this.buffer =
        length > bufferBytes
          ? Buffer.allocUnsafeSlow(length)
          : (free.pop() ?? Buffer.allocUnsafeSlow(bufferBytes));
    }
    const at = this.used;
    this.used += length;
    return at;
  }

  /** There will be something to flush at the end of this turn. */
  schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    this.clock.defer(this.flushTurn);
  }

  flush(): void {
    this.scheduled = true; // what is added now leaves now
    this.beforeFlush();
    this.scheduled = false;
    this.writeOut();
  }

  private writeOut(): void {
    const { buffer, used } = this;
    this.buffer = noBuffer;
    this.used = 0;
    if (used === 0) return;
    const isOurs = this.wire.send(buffer.subarray(0, used));
    if (isOurs && buffer.length === bufferBytes && free.length < freeBuffersMax) free.push(buffer);
  }
}
