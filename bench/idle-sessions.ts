/**
 * What persistent sessions cost while nobody is there: each has one subscription and some messages of 100 bytes in its
 * queue. A node is filled over sockets, killed, and started again on what it stored; then what it has in memory is
 * printed. `npm run bench:idle-sessions -- [sessions] [messages each] [folder]`; a folder is kept and, where it
 * is full already, used again.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { encodeConnect, encodeDisconnect, encodeSubscribe } from "../src/cli/bench/wire.js";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import { realClock, sleep } from "../src/lib/clock.js";
import { accepting, Child, core, freePort, stopAll } from "./children.js";

const sessions = Number(process.argv[2] ?? 100_000);
const each = Number(process.argv[3] ?? 10);
const kept = process.argv[4];
const folder = kept ?? mkdtempSync(join(tmpdir(), "bench-"));
const launcher = fileURLToPath(new URL("../bin/broker", import.meta.url));

const payload = Buffer.alloc(100, "x");
const clientsAtOnce = 64;
const windowSize = 1000;
const perWrite = 200;
/** Where in a CONNECT of MQTT 3.1.1 its flags are. */
const connectFlagsAt = 9;
/** CONNACK and SUBACK; CONNACK alone; a PUBACK. */
const subscribedBytes = 9;
const connackBytes = 4;
const pubackBytes = 4;
/** A node that uses less of its core than this for so long is quiet. */
const quietShare = 0.02;
const quietMs = 5000;
const startMaxMs = 120_000;

interface Node {
  readonly child: Child;
  readonly port: number;
}

async function start(): Promise<Node> {
  const port = await freePort();
  const environment = {
    BROKER_NODE__RUN_DIR: join(folder, "run"),
    BROKER_CLUSTER__COOKIE_FILE: join(folder, "cookie"),
  };
  mkdirSync(join(folder, "run"), { mode: 0o700, recursive: true });
  const settings = [`listeners.tcp.port=${port}`, "cluster.port_range=0-0"];
  const args = ["foreground", "--node", "idle@127.0.0.1", "--data", join(folder, "data")];
  const sets = settings.flatMap((setting) => ["--set", setting]);
  const child = new Child(
    realClock,
    process.execPath,
    [launcher, ...args, ...sets],
    core.broker,
    environment,
  );
  await accepting(realClock, child, port, startMaxMs);
  return { child, port };
}

async function end({ child }: Node): Promise<void> {
  process.kill(child.pid, "SIGKILL");
  await child.ended;
}

const topicOf = (index: number): string => `site/${index % 1000}/device/${index}/command`;

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

/** Makes one session and leaves it. */
async function makeSession(port: number, index: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const open = encodeConnect(`device-${index}`, 4);
  open[connectFlagsAt] = 0;
  socket.write(Buffer.concat([open, encodeSubscribe(topicOf(index), 1, false)]));
  await received(socket, subscribedBytes);
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.end(encodeDisconnect());
  await closed;
}

async function makeSessions(port: number): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < sessions) await makeSession(port, next++);
  };
  await Promise.all(Array.from({ length: clientsAtOnce }, one));
}

function publishOf(index: number): Buffer {
  const topic = Buffer.from(topicOf(index % sessions));
  const length = 2 + topic.length + 2 + payload.length;
  const id = (index % 60_000) + 1;
  // At least 127 bytes, with the packet id.
  const head = [0x32, (length & 127) | 128, length >> 7, 0, topic.length];
  return Buffer.concat([Buffer.from(head), topic, Buffer.from([id >> 8, id & 255]), payload]);
}

/** Publishes to every session in turn, with QoS 1. */
async function fill(port: number): Promise<void> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.write(encodeConnect("loader", 4));
  await received(socket, connackBytes);
  const count = sessions * each;
  let sent = 0;
  let bytes = 0;
  await new Promise<void>((resolve) => {
    const more = (): void => {
      const acked = Math.floor(bytes / pubackBytes);
      while (sent < count && sent - acked <= windowSize - perWrite) {
        const frames: Buffer[] = [];
        for (let i = 0; i < perWrite && sent < count; i++) frames.push(publishOf(sent++));
        socket.write(Buffer.concat(frames));
      }
      if (acked >= count) resolve();
    };
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      more();
    });
    more();
  });
  socket.destroy();
}

/** Resolves when the node has nothing to do any more. */
async function quiet({ child }: Node): Promise<void> {
  for (;;) {
    const before = cpuSeconds([child.pid]);
    await sleep(realClock, quietMs);
    const share = (cpuSeconds([child.pid]) - before) / (quietMs / 1000);
    if (share < quietShare) return;
  }
}

/** Lines of the process's status, in MB. */
function memoryOf({ child }: Node): string {
  const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
  return ["VmRSS", "RssAnon", "RssFile"]
    .map((name) => {
      const kibibytes = Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0);
      return `${name} ${Math.round((kibibytes * 1024) / 1e6)} MB`;
    })
    .join(", ");
}

const secondsSince = (startMs: number): string =>
  ((realClock.monotonicMs() - startMs) / 1000).toFixed(1);

try {
  if (!existsSync(join(folder, "data"))) {
    const startMs = realClock.monotonicMs();
    const first = await start();
    await makeSessions(first.port);
    await fill(first.port);
    await end(first);
    console.log(
      `${sessions} sessions, ${each} messages each: filled in ${secondsSince(startMs)} s`,
    );
  }
  const startMs = realClock.monotonicMs();
  const again = await start();
  console.log(`accepts connections after ${secondsSince(startMs)} s`);
  await quiet(again);
  console.log(`idle: ${memoryOf(again)}`);
  await end(again);
} finally {
  await stopAll();
  if (kept === undefined) rmSync(folder, { recursive: true });
}
process.exit();
