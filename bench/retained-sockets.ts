/**
 * Many retained messages over real sockets: one client loads them into a node, others then subscribe with narrow
 * wildcards. Prints the time to SUBACK, to the first and to the last message.
 * `npm run build && npx tsx bench/retained-sockets.ts [count]`
 */
import { connect, type Socket } from "node:net";
import { realClock } from "../src/lib/clock.js";
import { startTrellis } from "./brokers.js";
import { stopAll } from "./children.js";
import { residentBytes } from "../src/cli/bench/processes.js";
import { encodeConnect, encodeSubscribe } from "../src/cli/bench/wire.js";

const count = Number(process.argv[2] ?? 1_000_000);
const payload = Buffer.alloc(100, "x");
const windowSize = 1000;
const perWrite = 200;

const topicOf = (index: number): string => `site/${index % 1000}/device/${index}/state`;

function publish(index: number): Buffer {
  const topic = Buffer.from(topicOf(index));
  const length = 2 + topic.length + 2 + payload.length;
  const id = (index % 60_000) + 1;
  // At least 129 bytes, with the packet id.
  const head = [0x33, (length & 127) | 128, length >> 7, 0, topic.length];
  return Buffer.concat([Buffer.from(head), topic, Buffer.from([id >> 8, id & 255]), payload]);
}

async function open(port: number, clientId: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.write(encodeConnect(clientId, 4));
  await new Promise((resolve) => socket.once("data", resolve));
  return socket;
}

/** Publishes all with QoS 1; each PUBACK has four bytes. */
async function load(port: number): Promise<void> {
  const socket = await open(port, "loader");
  let acked = 0;
  let sent = 0;
  await new Promise<void>((resolve) => {
    const more = (): void => {
      while (sent < count && sent - acked <= windowSize - perWrite) {
        const frames: Buffer[] = [];
        for (let i = 0; i < perWrite && sent < count; i++) frames.push(publish(sent++));
        socket.write(Buffer.concat(frames));
      }
      if (acked >= count) resolve();
    };
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      acked = Math.floor(bytes / 4);
      more();
    });
    more();
  });
  socket.destroy();
}

/** Milliseconds from SUBSCRIBE to SUBACK, the first and the last of `expected` messages. */
async function subscribe(port: number, filter: string, expected: number): Promise<number[]> {
  const socket = await open(port, "reader");
  const frameBytes = (index: number): number => {
    const length = 2 + topicOf(index).length + payload.length;
    return (length < 128 ? 2 : 3) + length;
  };
  let due = 5; // SUBACK
  for (let i = 0, found = 0; found < expected; i++) {
    if (!matches(filter, topicOf(i))) continue;
    found++;
    due += frameBytes(i);
  }
  const startMs = realClock.monotonicMs();
  const times: number[] = [];
  await new Promise<void>((resolve) => {
    let bytes = 0;
    socket.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      const nowMs = realClock.monotonicMs() - startMs;
      if (times.length === 0) times.push(nowMs);
      if (bytes > 5 && times.length === 1) times.push(nowMs);
      if (bytes >= due) resolve();
    });
    socket.write(encodeSubscribe(filter, 0, false));
  });
  times.push(realClock.monotonicMs() - startMs);
  socket.destroy();
  return times;
}

function matches(filter: string, topic: string): boolean {
  const levels = topic.split("/");
  return filter.split("/").every((level, i) => level === "+" || level === levels[i]);
}

try {
  const limits = [`limits.retained_messages=${count * 2}`, "limits.retained_bytes=4GiB"];
  const { ports, pids } = await startTrellis(realClock, 1, [...limits, "cluster.port_range=0-0"]);
  const port = ports[0] ?? 0;
  const startMs = realClock.monotonicMs();
  await load(port);
  const seconds = (realClock.monotonicMs() - startMs) / 1000;
  const rss = Math.round(residentBytes(pids) / 2 ** 20);
  console.log(`${count} messages loaded in ${seconds.toFixed(1)} s; the node has ${rss} MiB`);
  console.log(
    "| filter | messages | SUBACK ms | first ms | last ms |\n| --- | ---: | ---: | ---: | ---: |",
  );
  for (const [filter, expected] of [
    ["site/123/device/123/+", 1],
    ["site/+/device/4567/state", 1],
    ["site/123/device/+/state", count / 1000],
  ] as const) {
    const runs: number[][] = [];
    for (let i = 0; i < 5; i++) runs.push(await subscribe(port, filter, expected));
    const median = (at: number): string =>
      (runs.map((run) => run[at] ?? 0).sort((a, b) => a - b)[2] ?? 0).toFixed(1);
    console.log(`| ${filter} | ${expected} | ${median(0)} | ${median(1)} | ${median(2)} |`);
  }
} finally {
  await stopAll();
}
process.exit();
