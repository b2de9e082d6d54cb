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
  tableDigest: 30,
  tableEntries: 31,
  streamTaken: 32,
  forward: 64,
  forwards: 65,
  channels: 66,
  forwardAlone: 67,
  forwardsSpread: 68,
} as const;

/** Length and type. */
export const frameHeaderBytes = 5;
/** Length, type, incarnation and counter: what precedes the message in a FORWARD. */
export const forwardHeaderBytes = frameHeaderBytes + 16;
/** Length, type, incarnation, first counter, count and likeness: what precedes the messages in FORWARDS. */
export const forwardsHeaderBytes = forwardHeaderBytes + 5;
/** Length, type, incarnation, first counter, count and span: what precedes the messages in FORWARDS_SPREAD. */
export const forwardsSpreadHeaderBytes = forwardHeaderBytes + 8;
const streamAckBytes = frameHeaderBytes + 16;
const lengthBytes = 4;
/** Least room that is made for a frame that was cut. */
const cutBytes = 64;
/** Up to this size a frame's whole room is made when its length is known; beyond, it grows. */
const wholeBytes = 131_072;
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

/** Fills in the header of a FORWARD whose message is already in place. `alone`: of a FORWARD_ALONE. */
export function sealForward(
  bytes: Buffer,
  incarnation: number,
  counter: number,
  alone = false,
): void {
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes[4] = alone ? FrameType.forwardAlone : FrameType.forward;
  bytes.writeDoubleBE(incarnation, 5);
  bytes.writeDoubleBE(counter, 13);
}

/** The number of a FORWARD or FORWARDS, from its whole frame: the incarnation of its origin… */
export const incarnationOf = (bytes: Buffer): number => bytes.readDoubleBE(5);
/** … and the counter, of FORWARDS that of the first. */
export const counterOf = (bytes: Buffer): number => bytes.readDoubleBE(13);
/** How many forwards a whole FORWARD or FORWARDS holds; the counters of the latter grow by one. */
export const countOf = (bytes: Buffer): number =>
  bytes[4] === FrameType.forwards ? bytes.readUInt32BE(forwardHeaderBytes) : 1;

/** Writes the header of a FORWARDS of `length` bytes, header included, at `at`. */
export function writeForwardsHeader(
  bytes: Buffer,
  at: number,
  length: number,
  incarnation: number,
  firstCounter: number,
  count: number,
  alike: boolean,
): void {
  bytes.writeUInt32BE(length - lengthBytes, at);
  bytes[at + lengthBytes] = FrameType.forwards;
  bytes.writeDoubleBE(incarnation, at + 5);
  bytes.writeDoubleBE(firstCounter, at + 13);
  bytes.writeUInt32BE(count, at + forwardHeaderBytes);
  bytes[at + forwardHeaderBytes + 4] = alike ? 1 : 0;
}

/** Writes the header of a FORWARDS_SPREAD, as `writeForwardsHeader`; `span`: the last counter less the first. */
export function writeForwardsSpreadHeader(
  bytes: Buffer,
  at: number,
  length: number,
  incarnation: number,
  firstCounter: number,
  count: number,
  span: number,
): void {
  writeForwardsHeader(bytes, at, length, incarnation, firstCounter, count, false);
  bytes[at + lengthBytes] = FrameType.forwardsSpread;
  bytes.writeUInt32BE(span, at + forwardHeaderBytes + 4);
}

/**
 * STREAM_ACK: every forward of that incarnation up to this counter is accepted. STREAM_TAKEN: this one is, whatever is
 * before it.
 */
export function encodeStreamAck(
  incarnation: number,
  counter: number,
  type: number = FrameType.streamAck,
): Buffer {
  const bytes = Buffer.allocUnsafe(streamAckBytes);
  bytes.writeUInt32BE(streamAckBytes - 4, 0);
  bytes[4] = type;
  bytes.writeDoubleBE(incarnation, frameHeaderBytes);
  bytes.writeDoubleBE(counter, frameHeaderBytes + 8);
  return bytes;
}

/** @throws WireError when the bytes are no body of a STREAM_ACK or STREAM_TAKEN */
export function decodeStreamAck(
  bytes: Buffer,
  start: number,
  end: number,
): { incarnation: number; counter: number } {
  if (end - start !== 16) throw new WireError("streamAck: wrong length");
  const incarnation = bytes.readDoubleBE(start);
  const counter = bytes.readDoubleBE(start + 8);
  if (!isCount(incarnation) || !isCount(counter)) throw new WireError("streamAck: no numbers");
  return { incarnation, counter };
}

const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;

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
  /** The beginning of a cut frame, `held` bytes of it. */
  private cut: Buffer | null = null;
  private held = 0;
  private stopped = false;

  constructor(private readonly onFrame: OnFrame) {}

  /** @throws WireError on a frame that is empty or too long, and whatever `onFrame` throws */
  push(chunk: Buffer): void {
    this.take(chunk, this.cut === null ? 0 : this.complete(this.cut, chunk));
  }

  /** No frame is handed on after this, not even one of the chunk being read. */
  stop(): void {
    this.stopped = true;
    this.cut = null;
  }

  /** Fills up the frame that was cut, and hands it on if it is whole. Returns how many bytes it took. */
  private complete(cut: Buffer, chunk: Buffer): number {
    const inLength = this.held < lengthBytes ? Math.min(lengthBytes - this.held, chunk.length) : 0;
    this.held += chunk.copy(cut, this.held, 0, inLength);
    if (this.held < lengthBytes) return inLength;
    const needed = lengthBytes + this.lengthAt(cut, 0);
    const count = Math.min(needed - this.held, chunk.length - inLength);
    const whole = this.held + count > cut.length ? this.grow(cut, needed, count) : cut;
    chunk.copy(whole, this.held, inLength, inLength + count);
    this.held += count;
    if (this.held === needed) {
      this.cut = null;
      // The byte after the length is within the frame, as its length is at least 1.
      this.onFrame(whole[lengthBytes] as number, whole, frameHeaderBytes, needed);
    }
    return inLength + count;
  }

  /** Room for `count` bytes more of a frame, and not for much more: its sender only says that they come. */
  private grow(cut: Buffer, needed: number, count: number): Buffer {
    const length = needed <= wholeBytes ? needed : Math.min(needed, (this.held + count) * 2);
    const grown = Buffer.allocUnsafe(length);
    cut.copy(grown, 0, 0, this.held);
    this.cut = grown;
    return grown;
  }

  private take(bytes: Buffer, at: number): void {
    while (!this.stopped && bytes.length - at >= lengthBytes) {
      const end = at + lengthBytes + this.lengthAt(bytes, at);
      if (end > bytes.length) break;
      // The byte after the length is within the frame, as its length is at least 1.
      this.onFrame(bytes[at + lengthBytes] as number, bytes, at + frameHeaderBytes, end);
      at = end;
    }
    if (at === bytes.length || this.stopped) return;
    // Copied: the rest of a frame must not pin the chunk it came with.
    this.held = bytes.length - at;
    this.cut = Buffer.allocUnsafe(Math.max(cutBytes, this.held));
    bytes.copy(this.cut, 0, at);
  }

  private lengthAt(bytes: Buffer, at: number): number {
    const length = bytes.readUInt32BE(at);
    if (length === 0 || length > this.frameMax) throw new WireError(`frame of ${length} bytes`);
    return length;
  }
}
