/**
 * One subscriber stops reading while many bytes pass to it and to others. Everything is in one process and goes
 * over real sockets; frames are counted, and their sequence checked, without being kept.
 */
import { connect as connectSocket, type Socket } from "node:net";
import type { TestBroker } from "../support/front-end.js";

const topic = "slow/t";
const payloadBytes = 65_536;
const quickCount = 2;
/** Publishes that the quick ones have not got, at most: they are not to become slow too. */
const ahead = 16;
const deadlineMs = 60_000;

export interface Passing {
  readonly published: number;
  /** In order, by each quick subscriber. */
  readonly quick: readonly number[];
  /** By the slow one, before it stopped and after it went on. */
  readonly slow: number;
  /** Most bytes that waited in the broker's socket to the slow one. */
  readonly waitingMax: number;
  /** How much the process has grown beyond what it was after the first 32 MiB. */
  readonly rssGrowth: number;
  readonly slowClosed: boolean;
}

/** A client that counts frames of one size. */
class Counter {
  received = 0;
  isClosed = false;
  private skip = 0;
  private filled = 0;
  private readonly head: Buffer;
  private lastSequence = -1;
  private onBytes: () => void = () => undefined;

  constructor(
    readonly socket: Socket,
    private readonly qos: 0 | 1,
    private readonly inOrder: boolean,
  ) {
    this.head = Buffer.alloc(headBytes(qos) + 4);
    socket.on("data", (bytes: Buffer) => {
      this.take(bytes);
      this.onBytes();
    });
    socket.on("error", () => undefined);
    socket.on("close", () => {
      this.isClosed = true;
      this.onBytes();
    });
    // CONNACK and SUBACK.
    this.skip = 4 + 5;
  }

  get ready(): boolean {
    return this.skip === 0;
  }

  /** Waits for a condition that something received makes true. */
  async until(condition: () => boolean, what: string): Promise<void> {
    const end = Date.now() + deadlineMs;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`waited ${deadlineMs} ms for ${what}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100);
        this.onBytes = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  private take(bytes: Buffer): void {
    const frame = frameBytes(this.qos);
    let at = Math.min(this.skip, bytes.length);
    this.skip -= at;
    while (at < bytes.length) {
      const count = Math.min(frame - this.filled, bytes.length - at);
      if (this.filled < this.head.length) bytes.copy(this.head, this.filled, at, at + count);
      this.filled += count;
      at += count;
      if (this.filled < frame) continue;
      this.filled = 0;
      this.onFrame();
    }
  }

  private onFrame(): void {
    this.received++;
    const sequence = this.head.readUInt32BE(headBytes(this.qos));
    const wanted = this.inOrder ? sequence === this.lastSequence + 1 : sequence > this.lastSequence;
    if (!wanted) throw new Error(`${sequence} after ${this.lastSequence}`);
    this.lastSequence = sequence;
    if (this.qos === 0) return;
    const idAt = headBytes(1) - 2;
    this.socket.write(Buffer.from([0x40, 2, this.head[idAt] ?? 0, this.head[idAt + 1] ?? 0]));
  }
}

/** Fixed header, topic, packet id. */
const headBytes = (qos: 0 | 1): number => 1 + 3 + 2 + topic.length + (qos === 0 ? 0 : 2);
const frameBytes = (qos: 0 | 1): number => headBytes(qos) + payloadBytes;

export function publishFrame(qos: 0 | 1, sequence: number): Buffer {
  const frame = Buffer.alloc(frameBytes(qos));
  const remaining = frame.length - 4;
  frame[0] = 0x30 | (qos << 1);
  frame[1] = (remaining & 0x7f) | 0x80;
  frame[2] = ((remaining >> 7) & 0x7f) | 0x80;
  frame[3] = remaining >> 14;
  frame.writeUInt16BE(topic.length, 4);
  frame.write(topic, 6);
  if (qos === 1) frame.writeUInt16BE((sequence % 65_535) + 1, headBytes(1) - 2);
  frame.writeUInt32BE(sequence, headBytes(qos));
  return frame;
}

export function connectFrame(clientId: string): Buffer {
  const head = [0x10, 12 + clientId.length, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0];
  return Buffer.concat([Buffer.from([...head, 0, clientId.length]), Buffer.from(clientId)]);
}

function subscribeFrame(qos: 0 | 1): Buffer {
  const head = [0x82, 5 + topic.length, 0, 1, 0, topic.length];
  return Buffer.concat([Buffer.from(head), Buffer.from(topic), Buffer.from([qos])]);
}

/** A client that has subscribed; any but the one named slow demands every message. */
export async function subscriber(port: number, clientId: string, qos: 0 | 1): Promise<Counter> {
  const socket = connectSocket({ port, host: "127.0.0.1", noDelay: true });
  const counter = new Counter(socket, qos, clientId !== "slow");
  socket.write(Buffer.concat([connectFrame(clientId), subscribeFrame(qos)]));
  await counter.until(() => counter.ready, `SUBACK for ${clientId}`);
  return counter;
}

/** Publishes `bytes` of payload; the slow subscriber reads the first message, and the rest in the end. */
export async function passBy(broker: TestBroker, qos: 0 | 1, bytes: number): Promise<Passing> {
  const { port, frontEnd } = broker;
  const messages = Math.ceil(bytes / payloadBytes);
  const quick: Counter[] = [];
  for (let i = 0; i < quickCount; i++) quick.push(await subscriber(port, `quick${i}`, qos));
  const slow = await subscriber(port, "slow", qos);
  const publisher = connectSocket({ port, host: "127.0.0.1", noDelay: true });
  publisher.on("data", () => undefined);
  publisher.write(connectFrame("publisher"));
  let waitingMax = 0;
  let rssGrowth = 0;
  let rssBefore = 0;
  for (let sent = 0; sent < messages; ) {
    publisher.write(publishFrame(qos, sent++));
    if (sent === 1) await slow.until(() => slow.received === 1, "the first message");
    slow.socket.pause();
    for (const one of quick) {
      await one.until(() => one.received > sent - ahead || one.isClosed, `message ${sent - ahead}`);
    }
    const channel = frontEnd.sessions.get("slow")?.channel;
    waitingMax = Math.max(waitingMax, channel?.info().waitingBytes ?? 0);
    if (sent % 64 !== 0) continue;
    if (sent * payloadBytes === 32 * 2 ** 20) rssBefore = process.memoryUsage().rss;
    if (rssBefore > 0) rssGrowth = Math.max(rssGrowth, process.memoryUsage().rss - rssBefore);
  }
  for (const one of quick) {
    await one.until(() => one.received === messages || one.isClosed, "the last message");
  }
  const slowClosed = slow.isClosed;
  slow.socket.resume();
  const { counters } = frontEnd.sessions;
  const lost = (): number => counters.droppedOutputFull + counters.droppedQueueFull;
  await slow.until(
    () => slow.received + lost() >= messages || slow.isClosed,
    "the slow one's rest",
  );
  for (const one of [...quick, slow]) one.socket.destroy();
  publisher.destroy();
  return {
    published: messages,
    quick: quick.map(({ received }) => received),
    slow: slow.received,
    ...{ waitingMax, rssGrowth, slowClosed },
  };
}
