/** Frames of the link protocol: a length, a type, a body (docs/wire.md). */

export const FrameType = {
  hello: 1,
  challenge: 2,
  proof: 3,
  welcome: 4,
  refuse: 5,
  activate: 16,
  heartbeat: 17,
  members: 18,
  rowsBegin: 19,
  rowsPart: 20,
  rowsEnd: 21,
  rowsDelta: 22,
  rowsAck: 23,
  rowsResync: 24,
  streamAck: 25,
  call: 26,
  reply: 27,
  tell: 28,
  bye: 29,
  forward: 64,
} as const;

/** Length and type. */
export const frameHeaderBytes = 5;
/** Length, type, incarnation and counter: what precedes the message in a FORWARD. */
export const forwardHeaderBytes = frameHeaderBytes + 16;
/** Longest frame before the cookie is proved. */
export const unprovedFrameMax = 1024;

/** A frame of one type around a body. */
export function frame(type: number, body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes + body.length);
  bytes.writeUInt32BE(body.length + 1, 0);
  bytes[4] = type;
  bytes.set(body, frameHeaderBytes);
  return bytes;
}

/** Fills in the header of a FORWARD whose message is already in place. */
export function sealForward(bytes: Buffer, incarnation: number, counter: number): void {
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes[4] = FrameType.forward;
  bytes.writeDoubleBE(incarnation, 5);
  bytes.writeDoubleBE(counter, 13);
}

/** The number of a FORWARD, from its whole frame: the incarnation of its origin… */
export const incarnationOf = (bytes: Buffer): number => bytes.readDoubleBE(5);
/** … and the counter. */
export const counterOf = (bytes: Buffer): number => bytes.readDoubleBE(13);

/** A frame that breaks the protocol: the connection it came on is closed. */
export class WireError extends Error {
  override name = "WireError";
}

/** Gets each frame's type and body; the body is valid during the call only. */
export type OnFrame = (type: number, bytes: Buffer, start: number, end: number) => void;

/** Cuts a byte stream into frames. Keeps only the one that is not yet complete. */
export class FrameReader {
  /** Longest frame taken; raise it once the other side has proved the cookie. */
  frameMax = unprovedFrameMax;
  private parts: Buffer[] = [];
  private held = 0;
  private needed = 4;
  private stopped = false;

  constructor(private readonly onFrame: OnFrame) {}

  /** @throws WireError on a frame that is empty or too long, and whatever `onFrame` throws */
  push(chunk: Buffer): void {
    if (this.held === 0) {
      this.take(chunk);
      return;
    }
    this.parts.push(chunk);
    this.held += chunk.length;
    if (this.held < this.needed) return;
    const whole = Buffer.concat(this.parts, this.held);
    this.parts = [];
    this.held = 0;
    this.take(whole);
  }

  /** No frame is handed on after this, not even one of the chunk being read. */
  stop(): void {
    this.stopped = true;
    this.parts = [];
    this.held = 0;
  }

  private take(bytes: Buffer): void {
    let at = 0;
    this.needed = 4;
    while (!this.stopped && bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at);
      if (length === 0 || length > this.frameMax) throw new WireError(`frame of ${length} bytes`);
      this.needed = 4 + length;
      if (bytes.length - at < this.needed) break;
      const end = at + this.needed;
      // The byte after the length is within the frame, as its length is at least 1.
      this.onFrame(bytes[at + 4] as number, bytes, at + frameHeaderBytes, end);
      at = end;
      this.needed = 4;
    }
    if (at === bytes.length || this.stopped) return;
    // Copied: the rest of a frame must not pin the chunk it came with.
    this.parts = [Buffer.from(bytes.subarray(at))];
    this.held = bytes.length - at;
  }
}
