/**
 * What leaves on one connection. Everything of a turn is gathered and goes out in one write at its end.
 * PUBLISH frames are not even copied one by one: frames that lie side by side in the bytes where they
 * arrived (or were encoded) are remembered as one run and copied together, their packet ids patched
 * in the copy. A connection that has nothing to send holds no buffer.
 */
import type { Clock } from "../lib/clock.js";
import { type AckType, ackBytesMax, writeAck } from "../protocol/acks.js";
import { uint16 } from "../protocol/publish.js";
import type { PublishRun } from "../routing/publish-run.js";
import { BufferPool, largestBytes } from "./buffer-pool.js";
import type { ClientSocket } from "./client-socket.js";
import type { NetCounters } from "./counters.js";

const runBytesMax = 65_536;
/** Frames from this size on are written from where they are, without a copy. */
export const largeBytes = 16_384;
/** Large frames of a turn leave in one system call for each so many bytes: what a slow client may pin of the reads. */
const gatheredBytesMax = 65_536;

/** What all connections share: free buffers, and the list of those that have something to send. */
export class OutputShare {
  readonly buffers = new BufferPool();
  private dirty: Output[] = [];
  private spare: Output[] = [];
  /** Called at the end of a turn, before anything leaves. */
  beforeFlush: () => void = () => undefined;
  private readonly flushAll = (): void => {
    this.beforeFlush();
    const flushing = this.dirty;
    this.dirty = this.spare;
    for (let i = 0; i < flushing.length; i++) (flushing[i] as Output).flush(); // below length
    flushing.length = 0;
    this.spare = flushing;
    this.onFlushed();
  };

  constructor(
    private readonly clock: Clock,
    readonly counters: NetCounters,
    /** `limits.connection_output_bytes`. */
    readonly bytesMax: number,
    /** Everything of the turn was handed to the sockets. */
    private readonly onFlushed: () => void,
  ) {}

  /** The output is flushed at the end of this turn. */
  add(output: Output): void {
    if (this.dirty.length === 0) this.clock.defer(this.flushAll);
    this.dirty.push(output);
  }
}

/** Whom an output tells about its backlog. */
export interface OutputOwner {
  /** `congested` has changed, in the midst of a write: the owner must not send now. */
  onCongestion(congested: boolean): void;
}

export class Output {
  /** More waits in the socket than `limits.connection_output_bytes`. */
  congested = false;
  /** Twice that: answers alone have filled it, so the client should not be read. */
  overfull = false;
  /** Nothing may leave for now: it waits here, and the connection ends when that is too much. */
  isSilent = false;
  private buffer: Buffer | null = null;
  private used = 0;
  /** How much left in the write before: as much is likely to come together again. */
  private usedBefore = 0;
  private dirty = false;
  /** The socket holds back what is written: large frames that are to leave in one system call. */
  private gathering = false;
  private runBytes: Buffer | null = null;
  /** It begins with a large frame, and has no packet ids: it leaves from where it is. */
  private runIsLarge = false;
  private runStart = 0;
  private runEnd = 0;
  private runFirstId = 0;
  private runNextId = 0;

  constructor(
    private readonly socket: ClientSocket,
    private readonly share: OutputShare,
    private readonly owner: OutputOwner,
  ) {}

  /**
   * Sends the PUBLISH in `bytes` from `start` to `end` under a packet id (0 with QoS 0, as in the bytes). The
   * bytes must stay as they are.
   */
  publish(bytes: Buffer, start: number, end: number, packetId: number): void {
    if (
      this.runBytes === bytes &&
      this.runEnd === start &&
      this.runNextId === packetId &&
      end - this.runStart <= runBytesMax
    ) {
      this.runEnd = end;
      if (packetId !== 0) this.runNextId = packetId + 1;
      return;
    }
    if (this.runBytes !== null) this.copyRun();
    const isLarge = end - start >= largeBytes;
    if (isLarge && packetId !== 0) {
      this.publishLarge(bytes, start, end, packetId);
      return;
    }
    this.runBytes = bytes;
    this.runIsLarge = isLarge;
    this.runStart = start;
    this.runEnd = end;
    this.runFirstId = packetId;
    this.runNextId = packetId === 0 ? 0 : packetId + 1;
    if (!this.dirty) this.touch();
  }

  /** Sends a run of small PUBLISH packets, under ids from `packetId` on. False: they are too large for that. */
  publishRun({ bytes, start, end, count, longest }: PublishRun, packetId: number): boolean {
    if (longest >= largeBytes || end - start > runBytesMax) return false;
    const goesOn =
      this.runBytes === bytes &&
      this.runEnd === start &&
      this.runNextId === packetId &&
      end - this.runStart <= runBytesMax;
    if (!goesOn) {
      if (this.runBytes !== null) this.copyRun();
      this.runBytes = bytes;
      this.runIsLarge = false;
      this.runStart = start;
      this.runFirstId = packetId;
      if (!this.dirty) this.touch();
    }
    this.runEnd = end;
    this.runNextId = packetId === 0 ? 0 : packetId + count;
    return true;
  }

  /**
   * Sends an acknowledgement; `reason` other than 0 only to an MQTT 5 client. It leaves before the run
   * that is being gathered, to which it has no order: a client gets the PUBREC of a message before the
   * message itself.
   */
  acknowledge(type: AckType, packetId: number, reason: number): void {
    const buffer = this.room(ackBytesMax);
    this.used = writeAck(buffer, this.used, type, packetId, reason);
  }

  /** Sends a whole packet. */
  packet(bytes: Buffer): void {
    if (bytes.length >= largeBytes) {
      this.writeOut();
      this.write(bytes);
      return;
    }
    const buffer = this.reserve(bytes.length);
    buffer.set(bytes, this.used);
    this.used += bytes.length;
  }

  /** Hands everything to the socket. */
  flush(): void {
    if (!this.isSilent) this.writeOut();
    // What the socket holds back cannot be taken back from it.
    else if (this.gathering) this.socket.destroy();
    if (this.gathering) this.endGathering();
    // Not before: what copying a run puts into the buffer leaves now, and needs no flush of its own.
    this.dirty = false;
  }

  /** Bytes that wait in the socket. */
  get waitingBytes(): number {
    return this.socket.writableLength;
  }

  /** Reads the socket's backlog anew. */
  measure(): void {
    const waiting = this.socket.writableLength;
    this.overfull = waiting > 2 * this.share.bytesMax;
    const congested = waiting > this.share.bytesMax;
    if (congested === this.congested) return;
    this.congested = congested;
    this.owner.onCongestion(congested);
  }

  /** A buffer with room for `count` bytes at `used`; the run before them is in it. */
  private reserve(count: number): Buffer {
    if (this.runBytes !== null) this.copyRun();
    return this.room(count);
  }

  /** A buffer with room for `count` bytes at `used`. */
  private room(count: number): Buffer {
    if (!this.dirty) this.touch();
    const { buffer } = this;
    return buffer !== null && this.used + count <= buffer.length
      ? buffer
      : this.changeBuffer(count);
  }

  /** Takes a buffer, or a larger one with what is gathered; if there is none so large, that leaves now. */
  private changeBuffer(count: number): Buffer {
    const { buffers } = this.share;
    if (this.used + count > largestBytes) this.writeBuffer();
    const old = this.buffer;
    const buffer = buffers.take(Math.max(this.used + count, this.usedBefore));
    if (old !== null) {
      buffer.set(old.subarray(0, this.used));
      buffers.give(old);
    }
    this.buffer = buffer;
    return buffer;
  }

  private touch(): void {
    this.dirty = true;
    this.share.add(this);
  }

  private copyRun(): void {
    const source = this.runBytes;
    if (source === null) return;
    this.runBytes = null;
    if (this.runIsLarge) {
      this.writeLarge(source.subarray(this.runStart, this.runEnd));
      return;
    }
    const length = this.runEnd - this.runStart;
    const buffer = this.reserve(length);
    const at = this.used;
    // A view made by hand costs half of Buffer#subarray.
    buffer.set(new Uint8Array(source.buffer, source.byteOffset + this.runStart, length), at);
    this.used = at + length;
    if (this.runFirstId !== 0) patchPacketIds(buffer, at, at + length, this.runFirstId);
  }

  private publishLarge(bytes: Buffer, start: number, end: number, packetId: number): void {
    const from = packetIdAt(bytes, start) + 2;
    const buffer = this.reserve(from - start);
    buffer.set(bytes.subarray(start, from), this.used);
    this.used += from - start;
    buffer[this.used - 2] = packetId >> 8;
    buffer[this.used - 1] = packetId & 0xff;
    this.writeLarge(bytes.subarray(from, end));
  }

  /** Writes what is gathered and then these bytes, from where they are. */
  private writeLarge(bytes: Buffer): void {
    this.gather();
    this.writeOut();
    this.write(bytes);
    if (this.gathering && this.socket.writableLength >= gatheredBytesMax) this.endGathering();
  }

  /** A large frame and what precedes it leave with its neighbours, if they are likely to be taken at once. */
  private gather(): void {
    const { socket } = this;
    if (this.gathering || socket.cork === undefined || socket.writableLength > 0) return;
    this.gathering = true;
    socket.cork();
    if (!this.dirty) this.touch();
  }

  private endGathering(): void {
    this.gathering = false;
    this.socket.uncork?.();
    if (this.socket.writableLength > 0) this.measure();
  }

  private writeOut(): void {
    if (this.runBytes !== null) this.copyRun();
    if (this.used > 0) this.writeBuffer();
  }

  private writeBuffer(): void {
    const buffer = this.buffer;
    if (buffer === null) return;
    const { used } = this;
    if (this.gathering && used >= largeBytes) this.endGathering();
    this.buffer = null;
    this.used = 0;
    this.usedBefore = used;
    const copied = this.write(buffer.subarray(0, used));
    // Nothing waits in the socket: the kernel has taken a copy of every byte.
    const { writableLength, copiesWrites } = this.socket;
    if (copied || writableLength === 0 || copiesWrites === true) this.share.buffers.give(buffer);
  }

  /**
   * Returns whether a copy was written: what waits in a socket must not pin much more than itself, or a client
   * that stopped reading would hold a whole buffer for every few bytes.
   */
  private write(bytes: Buffer): boolean {
    const { socket } = this;
    if (this.isSilent) socket.destroy();
    if (socket.destroyed) return false;
    this.share.counters.bytesOut += bytes.length;
    const pins = bytes.buffer.byteLength > 2 * bytes.length && socket.copiesWrites !== true;
    // While large frames are held back what leaves between them is copied, so that its buffer is free again.
    const copies = this.gathering ? bytes.length < largeBytes : pins && socket.writableLength > 0;
    const isTaken = socket.write(copies ? Buffer.from(bytes) : bytes);
    if (!isTaken && !this.gathering) this.measure();
    return copies;
  }
}

/** Position of the packet id of the PUBLISH (QoS ≥ 1) that starts at `at`. */
function packetIdAt(bytes: Buffer, at: number): number {
  let next = at + 1;
  while ((bytes[next] as number) >= 0x80) next++; // a whole header is there
  next++;
  return next + 2 + uint16(bytes, next);
}

/** Numbers the PUBLISH frames (QoS ≥ 1) between `at` and `end` from `id` on. */
function patchPacketIds(bytes: Buffer, at: number, end: number, id: number): void {
  while (at < end) {
    let next = at + 1;
    let remaining = 0;
    let shift = 0;
    let byte = 0x80;
    while (byte >= 0x80) {
      byte = bytes[next++] as number; // a whole header is there
      remaining |= (byte & 0x7f) << shift;
      shift += 7;
    }
    const idAt = next + 2 + uint16(bytes, next);
    bytes[idAt] = id >> 8;
    bytes[idAt + 1] = id & 0xff;
    at = next + remaining;
    id++;
  }
}
