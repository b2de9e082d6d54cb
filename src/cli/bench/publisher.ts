/**
 * A publisher of the load generator. Its frames are encoded once, side by side in one buffer; sending
 * a batch means patching packet id, sequence and time of the next frames and one write. It never has
 * more than its window in flight, and never touches frames that the kernel has not taken yet.
 */
import { Connection, type ConnectionOptions, type Role } from "./connection.js";
import type { Flow } from "./flow.js";
import { encodePublish, head, type Qos, stampOf, type, WireError, writeUint32 } from "./wire.js";

/** About this many bytes of frames are prepared, and at most as many leave in one write. */
const batchBytes = 65_536;

export interface PublisherOptions {
  readonly tag: number;
  readonly number: number;
  /** Topics in turn; all encode to frames of one length. */
  readonly topics: readonly string[];
  /** Deliveries that each message leads to. */
  readonly fanOut: number;
  readonly qos: Qos;
  readonly sizeBytes: number;
  readonly v5: boolean;
  /** QoS 1 and 2 in flight. */
  readonly window: number;
  readonly flow: Flow;
  /** Microseconds since the run began. */
  readonly nowUs: () => number;
  /** Called when the publisher may send again though nobody asked it to. */
  readonly onReady: () => void;
}

export class Publisher implements Role {
  readonly connection: Connection;
  /** Messages sent, acknowledged, and refused (v5 reason codes from 0x80). */
  sent = 0;
  acked = 0;
  refused = 0;
  /** Sends while `sent` is below it. */
  limit = 0;
  private readonly frames: Buffer;
  private readonly frameBytes: number;
  private readonly slots: number;
  private readonly packetIdAt: number;
  private readonly payloadAt: number;
  /** Per packet id the packet type that is awaited; 0: free. */
  private readonly awaited: Uint8Array;
  private readonly firstAwaited: number;
  private window: number;
  private inFlight = 0;

  constructor(
    private readonly options: PublisherOptions,
    connectionOptions: ConnectionOptions,
  ) {
    const { topics, qos, sizeBytes, v5, tag, number } = options;
    const shapes = topics.map((topic) => encodePublish(topic, qos, sizeBytes, v5));
    const shape = encodePublish(topics[0] ?? "", qos, sizeBytes, v5);
    this.frameBytes = shape.bytes.length;
    this.packetIdAt = shape.packetIdAt;
    this.payloadAt = shape.payloadAt;
    const rounds = Math.max(1, Math.floor(batchBytes / (this.frameBytes * topics.length)));
    this.slots = rounds * topics.length;
    const round = Buffer.concat(shapes.map(({ bytes }) => bytes));
    this.frames = Buffer.concat(Array.from({ length: rounds }, () => round));
    const stamp = stampOf(tag, number);
    for (let slot = 0; slot < this.slots; slot++) {
      writeUint32(this.frames, slot * this.frameBytes + this.payloadAt, stamp);
    }
    this.window = qos === 0 ? Number.POSITIVE_INFINITY : options.window;
    this.awaited = new Uint8Array(qos === 0 ? 1 : 65_536);
    this.firstAwaited = qos === 1 ? type.puback : type.pubrec;
    this.connection = new Connection(connectionOptions, this);
  }

  async open(): Promise<void> {
    const receiveMaximum = await this.connection.open();
    if (this.options.qos > 0) this.window = Math.min(this.window, receiveMaximum);
  }

  /** Neither awaits an acknowledgement nor has bytes that the kernel has not taken. */
  idle(): boolean {
    return this.inFlight === 0 && this.connection.socket.writableLength === 0;
  }

  /** Sends one batch, as far as window, limit and flow control allow; says whether more may follow. */
  pump(): boolean {
    const { flow } = this.options;
    const { socket } = this.connection;
    if (socket.writableLength > 0 || this.sent >= this.limit) return false;
    const free = this.window - this.inFlight;
    if (free <= 0) return false;
    const room = flow.room();
    if (room <= 0) return false;
    const slot = this.sent % this.slots;
    const most = Math.min(this.slots - slot, free, this.limit - this.sent);
    const count = this.patch(slot, Math.min(most, Math.ceil(room / this.options.fanOut)));
    if (count === 0) return false;
    const from = slot * this.frameBytes;
    socket.write(this.frames.subarray(from, from + count * this.frameBytes), this.onWritten);
    return socket.writableLength === 0;
  }

  publish(): void {
    throw new WireError("a publisher got a PUBLISH");
  }

  ack(packetType: number, packetId: number, reason: number): void {
    if (packetType === type.pubrel || this.awaited[packetId] !== packetType) {
      throw new WireError(`an acknowledgement of type ${packetType} that nobody waits for`);
    }
    if (packetType === type.pubrec && reason < 0x80) {
      this.awaited[packetId] = type.pubcomp;
      this.connection.queueAck(head.pubrel, packetId);
      return;
    }
    this.awaited[packetId] = 0;
    this.inFlight--;
    if (reason < 0x80) this.acked++;
    else {
      this.refused++;
      this.options.flow.expected -= this.options.fanOut; // a refused message is due to nobody
    }
  }

  /** PUBRELs and the next batch leave together. */
  endOfRead(): void {
    if (this.options.qos === 0) return;
    const cork = this.connection.hasAcks();
    if (cork) this.connection.socket.cork();
    // Corked bytes count as not yet taken, so the batch is built first and follows the PUBRELs.
    const more = this.pump();
    this.connection.sendAcks();
    if (cork) this.connection.socket.uncork();
    if (more) this.options.onReady();
  }

  /** Writes packet ids, sequences and times into `most` frames from `slot` on; returns how many. */
  private patch(slot: number, most: number): number {
    const { frames, frameBytes, packetIdAt, payloadAt } = this;
    const { flow, fanOut, qos, nowUs } = this.options;
    const timeUs = nowUs();
    let frame = slot * frameBytes;
    let count = 0;
    for (; count < most; count++) {
      const sequence = this.sent + count;
      if (qos > 0) {
        const packetId = 1 + (sequence % 65_535);
        if (this.awaited[packetId] !== 0) break;
        this.awaited[packetId] = this.firstAwaited;
        frames[frame + packetIdAt] = packetId >> 8;
        frames[frame + packetIdAt + 1] = packetId;
      }
      writeUint32(frames, frame + payloadAt + 4, sequence);
      writeUint32(frames, frame + payloadAt + 8, timeUs);
      frame += frameBytes;
    }
    this.sent += count;
    if (qos > 0) this.inFlight += count;
    flow.expected += count * fanOut;
    return count;
  }

  private readonly onWritten = (): void => {
    if (this.connection.socket.writableLength === 0) this.options.onReady();
  };
}
