/**
 * Splits a byte stream into packets. A chunk is walked in one loop; only an incomplete packet at its end
 * is kept, and never more of it than has arrived. A length beyond the limit is refused when it is
 * read, before anything of the packet is kept.
 */
import { ProtocolError } from "./protocol-error.js";
import { ReasonCode } from "./reason-codes.js";

/** Takes one packet: its first byte is at `first`, the rest after the fixed header from `start` to `end`. */
export interface FrameHandler {
  /** Returns false to stop: the rest waits for `resume`. */
  onFrame(bytes: Buffer, first: number, start: number, end: number): boolean;
}

const connectType = 1;
/** Up to this size a packet's whole buffer is made when its header is known; beyond, it grows. */
const wholeBytes = 16_384;

export class FrameReader {
  /** Only a CONNECT may come: another first byte is refused without waiting for the packet. */
  connectOnly = true;
  /** The beginning of an incomplete packet, `kept` bytes of it. */
  private tail: Buffer | null = null;
  private kept = 0;
  /** Its whole length; 0 while its header is not complete. */
  private needed = 0;
  private headerLength = 0;
  /** What was not walked because the handler stopped. */
  private rest: Buffer | null = null;

  constructor(
    private readonly handler: FrameHandler,
    /** Longest packet accepted, with its header. */
    public packetMax: number,
  ) {}

  /** Bytes that wait for the rest of their packet, or for `resume`. */
  get heldBytes(): number {
    return this.kept + (this.rest?.length ?? 0);
  }

  /** Walks a chunk that has arrived. @throws ProtocolError, and what the handler throws */
  push(chunk: Buffer): void {
    if (this.rest !== null) {
      this.keep(chunk);
      return;
    }
    const at = this.tail === null ? 0 : this.complete(chunk);
    if (this.rest === null && at < chunk.length) this.walk(chunk, at);
  }

  /** Keeps what has come after the handler stopped, for `resume`. */
  keep(chunk: Buffer): void {
    this.rest = this.rest === null ? chunk : Buffer.concat([this.rest, chunk]);
  }

  /** Goes on where the handler stopped. */
  resume(): void {
    const rest = this.rest;
    if (rest === null) return;
    this.rest = null;
    this.walk(rest, 0);
  }

  private walk(bytes: Buffer, at: number): void {
    const end = bytes.length;
    while (at < end) {
      let next = at + 1;
      let length = 0;
      let shift = 0;
      let byte = 0x80;
      while (next < end) {
        byte = bytes[next++] as number; // below end
        length |= (byte & 0x7f) << shift;
        if (byte < 0x80) break;
        shift += 7;
        if (shift === 28) throw tooLong(bytes, at);
      }
      const packetEnd = next + length;
      if (packetEnd - at > this.packetMax) throw new ProtocolError(ReasonCode.PacketTooLarge);
      if (byte >= 0x80 || packetEnd > end) {
        this.keepTail(bytes, at, byte >= 0x80 ? 0 : packetEnd - at, next - at);
        return;
      }
      if (!this.handler.onFrame(bytes, at, next, packetEnd)) {
        if (packetEnd < end) this.rest = bytes.subarray(packetEnd);
        return;
      }
      at = packetEnd;
    }
  }

  private keepTail(bytes: Buffer, at: number, needed: number, headerLength: number): void {
    if (this.connectOnly && (bytes[at] as number) >> 4 !== connectType) {
      throw new ProtocolError(ReasonCode.ProtocolError, "not a CONNECT");
    }
    if (isForbidden(bytes, at)) throw new ProtocolError(ReasonCode.ProtocolError, "type 0");
    this.needed = needed;
    this.headerLength = headerLength;
    this.kept = 0;
    this.append(bytes, at, bytes.length - at);
  }

  /** Adds the chunk's first bytes to the kept packet, handles it if whole. Returns how many it took. */
  private complete(chunk: Buffer): number {
    let at = 0;
    while (this.needed === 0) {
      if (at === chunk.length) return at;
      this.append(chunk, at++, 1);
      this.readHeader();
    }
    const count = Math.min(this.needed - this.kept, chunk.length - at);
    if (count > 0) this.append(chunk, at, count);
    at += count;
    if (this.kept < this.needed || this.tail === null) return at;
    const whole = this.tail;
    const end = this.needed;
    this.tail = null;
    this.kept = this.needed = 0;
    const goOn = this.handler.onFrame(whole, 0, this.headerLength, end);
    if (!goOn && at < chunk.length) this.rest = chunk.subarray(at);
    return at;
  }

  /** Looks whether the header is whole now. */
  private readHeader(): void {
    let length = 0;
    for (let i = 1; i < this.kept; i++) {
      const byte = this.tail?.[i] ?? 0;
      length |= (byte & 0x7f) << (7 * (i - 1));
      if (byte < 0x80) {
        this.headerLength = i + 1;
        this.needed = i + 1 + length;
        if (this.needed > this.packetMax) throw new ProtocolError(ReasonCode.PacketTooLarge);
        return;
      }
    }
    if (this.kept === 5) throw new ProtocolError(ReasonCode.MalformedPacket, "length over 4 bytes");
  }

  private append(bytes: Buffer, at: number, count: number): void {
    const total = this.kept + count;
    const old = this.tail;
    if (old === null || total > old.length) {
      const whole = this.needed <= wholeBytes ? this.needed : Math.min(this.needed, total * 2);
      const grown = Buffer.allocUnsafe(Math.max(whole, total));
      if (old !== null) old.copy(grown, 0, 0, this.kept);
      this.tail = grown;
    }
    this.tail?.set(bytes.subarray(at, at + count), this.kept);
    this.kept = total;
  }
}

/** Packet type 0 does not exist: nothing of such a packet is waited for. */
function isForbidden(bytes: Buffer, at: number): boolean {
  return (bytes[at] as number) < 0x10;
}

/** A length of more than four bytes [MQTT-1.5.5-1]. */
function tooLong(bytes: Buffer, at: number): ProtocolError {
  const { ProtocolError: forbidden, MalformedPacket } = ReasonCode;
  return new ProtocolError(isForbidden(bytes, at) ? forbidden : MalformedPacket);
}
