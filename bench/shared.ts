/**
 * Messages a second through one share group of 16 members: 16 publishers take ten topics in turn, 100 messages in flight
 * each; members with a clean session, and members whose sessions are kept. At the end every message that was answered
 * has come to one member. `npm run build && npx tsx bench/shared.ts [seconds]`
 */
import { connect, type Socket } from "node:net";
import { frame, text } from "../src/cli/bench/wire.js";
import { realClock } from "../src/lib/clock.js";
import { startTrellis } from "./brokers.js";
import { stopAll } from "./children.js";

const runMs = Number(process.argv[2] ?? 5) * 1000;
const warmUpMs = 1000;
const drainMs = 30_000;
const clients = 16;
const windowSize = 100;
const payload = Buffer.alloc(100, "x");
const count = { delivered: 0, sent: 0, answered: 0, isOver: false };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls `onPacket` for every whole packet shorter than 130 bytes, and `onRead` after each piece that came. */
function read(
  socket: Socket,
  onPacket: (packet: Buffer) => void,
  onRead: () => void = () => undefined,
): void {
  let rest: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    while (bytes.length - at >= 2) {
      const end = at + 2 + (bytes[at + 1] ?? 0);
      if (end > bytes.length) break;
      onPacket(bytes.subarray(at, end));
      at = end;
    }
    rest = bytes.subarray(at);
    onRead();
  });
}

async function open(port: number, clientId: string, isClean: boolean): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const head = Buffer.from([4, isClean ? 2 : 0, 0, 0]);
  socket.write(frame(0x10, text("MQTT"), head, text(clientId)));
  await new Promise((resolve) => socket.once("data", resolve));
  return socket;
}

async function member(port: number, name: string, qos: number, isKept: boolean): Promise<Socket> {
  const socket = await open(port, name, !isKept);
  socket.write(frame(0x82, Buffer.from([0, 1]), text("$share/bench/t/+"), Buffer.from([qos])));
  await new Promise((resolve) => socket.once("data", resolve));
  let answers: number[] = [];
  const onPacket = (packet: Buffer): void => {
    const kind = (packet[0] ?? 0) >> 4;
    const idAt = kind === 3 ? 4 + packet.readUInt16BE(2) : 2;
    if (kind === 3) count.delivered++;
    const answer = kind !== 3 ? 0x70 : qos === 1 ? 0x40 : 0x50;
    answers.push(answer, 2, packet[idAt] ?? 0, packet[idAt + 1] ?? 0);
  };
  read(socket, onPacket, () => {
    if (answers.length > 0) socket.write(Buffer.from(answers));
    answers = [];
  });
  return socket;
}

async function publisher(port: number, name: string, qos: number): Promise<Socket> {
  const socket = await open(port, name, true);
  let id = 0;
  let inFlight = 0;
  let frames: Buffer[] = [];
  const onPacket = (packet: Buffer): void => {
    if ((packet[0] ?? 0) >> 4 === 5) {
      frames.push(Buffer.from([0x62, 2, packet[2] ?? 0, packet[3] ?? 0]));
      return;
    }
    inFlight--;
    count.answered++;
  };
  const more = (): void => {
    while (inFlight < windowSize && !count.isOver) {
      id = (id % 60_000) + 1;
      const idBytes = Buffer.from([id >> 8, id & 255]);
      frames.push(frame(0x30 | (qos << 1), text(`t/${id % 10}`), idBytes, payload));
      inFlight++;
      count.sent++;
    }
    if (frames.length > 0) socket.write(Buffer.concat(frames));
    frames = [];
  };
  read(socket, onPacket, more);
  more();
  return socket;
}

/** Messages delivered a second. */
async function run(port: number, qos: number, isKept: boolean): Promise<number> {
  Object.assign(count, { delivered: 0, sent: 0, answered: 0, isOver: false });
  const name = `${isKept ? "kept" : "clean"}-${qos}`;
  const sockets: Socket[] = [];
  for (let i = 0; i < clients; i++) sockets.push(await member(port, `${name}-${i}`, qos, isKept));
  for (let i = 0; i < clients; i++) sockets.push(await publisher(port, `${name}-p${i}`, qos));
  await sleep(warmUpMs);
  const before = count.delivered;
  const startMs = realClock.monotonicMs();
  await sleep(runMs);
  const rate = ((count.delivered - before) * 1000) / (realClock.monotonicMs() - startMs);
  count.isOver = true;
  const endMs = realClock.monotonicMs() + drainMs;
  const isDone = (): boolean => count.answered === count.sent && count.delivered === count.sent;
  while (!isDone() && realClock.monotonicMs() < endMs) await sleep(10);
  if (!isDone()) throw new Error(`not every message came once: ${JSON.stringify(count)}`);
  for (const socket of sockets) socket.destroy();
  return rate;
}

try {
  console.log("| members | QoS | msg/s |\n| --- | ---: | ---: |");
  for (const isKept of [false, true]) {
    for (const qos of [1, 2]) {
      // A node each: members of a run before are away, and would be in the group.
      const { ports, stop } = await startTrellis(realClock, 1, ["cluster.port_range=0-0"]);
      const rate = Math.round(await run(ports[0] ?? 0, qos, isKept));
      console.log(`| ${isKept ? "kept" : "clean"} | ${qos} | ${rate.toLocaleString("en")} |`);
      await stop();
    }
  }
} finally {
  await stopAll();
}
process.exit();
