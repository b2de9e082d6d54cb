/** Sessions that are there without their clients, and messages for them: what the measurements of stored sessions begin with. */
import { connect, type Socket } from "node:net";
import { encodeConnect, encodeDisconnect, encodeSubscribe } from "../src/cli/bench/wire.js";

const payload = Buffer.alloc(100, "x");
const clientsAtOnce = 64;
const perWrite = 200;
/** CONNACK and SUBACK; CONNACK alone; a PUBACK. */
const subscribedBytes = 9;
const connackBytes = 4;
const pubackBytes = 4;

/** The topic that the session with this number subscribes to. */
function topicOf(index: number): string {
  return `site/${index % 1000}/device/${index}/command`;
}

/** The client id of the session with this number. */
export function clientOf(index: number): string {
  return `device-${index}`;
}

/** Resolves when so many bytes came. */
function received(socket: Socket, bytes: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let left = bytes;
    socket.on("error", reject);
    socket.on("data", (chunk: Buffer) => {
      left -= chunk.length;
      if (left <= 0) resolve();
    });
  });
}

/** Makes sessions 0 to `count` - 1, each with one subscription of QoS 1, and leaves them. */
export async function makeSessions(port: number, count: number): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) await makeSession(port, next++);
  };
  await Promise.all(Array.from({ length: clientsAtOnce }, one));
}

async function makeSession(port: number, index: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const open = encodeConnect(clientOf(index), 4, null, true);
  socket.write(Buffer.concat([open, encodeSubscribe(topicOf(index), 1, false)]));
  await received(socket, subscribedBytes);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.end(encodeDisconnect());
  await closed;
}

function publishOf(index: number, sessions: number): Buffer {
  const topic = Buffer.from(topicOf(index % sessions));
  const length = 2 + topic.length + 2 + payload.length;
  const id = (index % 60_000) + 1;
  // At least 127 bytes, with the packet id.
  const head = [0x32, (length & 127) | 128, length >> 7, 0, topic.length];
  return Buffer.concat([Buffer.from(head), topic, Buffer.from([id >> 8, id & 255]), payload]);
}

/** What a filling did: acknowledged messages, within that time. */
export interface Filled {
  readonly messages: number;
  readonly seconds: number;
}

/** Publishes to all sessions in turn with QoS 1, `windowSize` in flight; ends after `messages` or the time. */
export async function fill(
  port: number,
  options: { sessions: number; messages: number; windowSize: number; maxMs?: number },
): Promise<Filled> {
  const { sessions, messages, windowSize, maxMs = Number.POSITIVE_INFINITY } = options;
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.write(encodeConnect("loader", 4));
  await received(socket, connackBytes);
  const beganMs = performance.now();
  let sent = 0;
  let bytes = 0;
  let over = false;
  await new Promise<void>((resolve, reject) => {
    const more = (): void => {
      const acked = Math.floor(bytes / pubackBytes);
      over ||= sent >= messages || performance.now() - beganMs > maxMs;
      while (!over && sent < messages && sent - acked <= windowSize - perWrite) {
        const frames: Buffer[] = [];
        for (let i = 0; i < perWrite && sent < messages; i++) {
          frames.push(publishOf(sent++, sessions));
        }
        socket.write(Buffer.concat(frames));
      }
      if (over && acked >= sent) resolve();
    };
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      more();
    });
    socket.once("close", () => reject(new Error("the broker closed the connection")));
    more();
  });
  const seconds = (performance.now() - beganMs) / 1000;
  socket.destroy();
  return { messages: sent, seconds };
}
