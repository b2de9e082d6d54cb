/**
 * Messages a second through one share group of 16 members: 16 publishers take ten topics in turn, 100 messages in flight
 * each; members with a clean session, and members whose sessions are kept; at one node, and spread over three. At the end
 * every message that was answered has come to one member.
 * `npm run build && npx tsx bench/shared.ts [seconds] [nodes ...] [-- flags of Node for the brokers]`
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { frame, text } from "../src/cli/bench/wire.js";
import { realClock } from "../src/lib/clock.js";
import { type RunningBroker, startTrellis } from "./brokers.js";
import { stopAll } from "./children.js";

const words = process.argv.slice(2);
const dashes = words.indexOf("--");
const [seconds = "5", ...nodeCounts] = dashes === -1 ? words : words.slice(0, dashes);
const flags = dashes === -1 ? [] : words.slice(dashes + 1);
const runMs = Number(seconds) * 1000;
const warmUpMs = 1000;
const drainMs = 30_000;
const clients = 16;
const windowSize = 100;
/** With QoS 0 so many may be on their way in all. */
const outstandingMax = 20_000;
/** Of /proc/PID/stat: seconds and a hundred. */
const ticksPerSecond = 100;
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
      const idBytes = Buffer.from(qos === 0 ? [] : [id >> 8, id & 255]);
      frames.push(frame(0x30 | (qos << 1), text(`t/${id % 10}`), idBytes, payload));
      inFlight++;
      count.sent++;
    }
    if (frames.length > 0) socket.write(Buffer.concat(frames));
    frames = [];
  };
  // Nobody answers QoS 0: it goes on as members get what was sent.
  const unanswered = (): void => {
    if (socket.destroyed || count.isOver) return;
    if (count.sent - count.delivered < outstandingMax && socket.writableLength === 0) {
      inFlight = 0;
      more();
    }
    setImmediate(unanswered);
  };
  read(socket, onPacket, more);
  if (qos === 0) unanswered();
  else more();
  return socket;
}

/** Seconds of CPU that the processes have used, user and system. */
function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / ticksPerSecond;
}

interface Outcome {
  /** Messages delivered a second, and each second of the brokers' processors. */
  readonly rate: number;
  readonly perCpuSecond: number;
}

async function run({ ports, pids }: RunningBroker, qos: number, isKept: boolean): Promise<Outcome> {
  Object.assign(count, { delivered: 0, sent: 0, answered: 0, isOver: false });
  const name = `${isKept ? "kept" : "clean"}-${qos}`;
  const sockets: Socket[] = [];
  const portOf = (i: number): number => ports[i % ports.length] ?? 0;
  for (let i = 0; i < clients; i++)
    sockets.push(await member(portOf(i), `${name}-${i}`, qos, isKept));
  for (let i = 0; i < clients; i++) sockets.push(await publisher(portOf(i), `${name}-p${i}`, qos));
  await sleep(warmUpMs);
  const before = count.delivered;
  const cpuBefore = cpuSeconds(pids);
  const startMs = realClock.monotonicMs();
  await sleep(runMs);
  const delivered = count.delivered - before;
  const rate = (delivered * 1000) / (realClock.monotonicMs() - startMs);
  const perCpuSecond = delivered / (cpuSeconds(pids) - cpuBefore);
  count.isOver = true;
  const endMs = realClock.monotonicMs() + drainMs;
  const isDone = (): boolean =>
    (qos === 0 || count.answered === count.sent) && count.delivered === count.sent;
  while (!isDone() && realClock.monotonicMs() < endMs) await sleep(10);
  if (!isDone()) throw new Error(`not every message came once: ${JSON.stringify(count)}`);
  for (const socket of sockets) socket.destroy();
  return { rate, perCpuSecond };
}

const shown = (value: number): string => Math.round(value).toLocaleString("en");

async function all(nodes: number): Promise<void> {
  for (const [isKept, qos] of [
    [false, 0],
    [false, 1],
    [false, 2],
    [true, 1],
    [true, 2],
  ] as const) {
    // Fresh nodes: members of a run before are away, and would be in the group.
    const settings = nodes === 1 ? ["cluster.port_range=0-0"] : [];
    const running = await startTrellis(realClock, nodes, settings, undefined, flags);
    const { rate, perCpuSecond } = await run(running, qos, isKept);
    const members = isKept ? "kept" : "clean";
    console.log(`| ${nodes} | ${members} | ${qos} | ${shown(rate)} | ${shown(perCpuSecond)} |`);
    await running.stop();
  }
}

try {
  console.log("| nodes | members | QoS | msg/s | per CPU s |\n| ---: | --- | ---: | ---: | ---: |");
  for (const nodes of nodeCounts.length > 0 ? nodeCounts : ["1", "3"]) await all(Number(nodes));
} finally {
  await stopAll();
}
process.exit();
