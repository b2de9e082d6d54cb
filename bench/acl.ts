/**
 * What access rules cost a node: the same load with an ACL file and without, in turns, and the ratio. One publisher
 * takes 1,000 topics in turn with QoS 0, one subscriber has all. `npm run build && npx tsx bench/acl.ts [rounds]`
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { realClock, sleep } from "../src/lib/clock.js";
import { type RunningBroker, startTrellis } from "./brokers.js";
import { stopAll } from "./children.js";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import { encodeConnect, encodeSubscribe } from "../src/cli/bench/wire.js";

const rounds = Number(process.argv[2] ?? 9);
const topics = 1000;
const roundMs = 1500;
/** Messages that may be outstanding. */
const backlog = 20_000;
const payload = Buffer.alloc(100, "x");

const rules = [
  "deny all publish private/#",
  ...Array.from({ length: 20 }, (_, i) => `allow user user${i} all own/${i}/#`),
  "allow all all site/#",
  "allow all subscribe #",
];

/** One after the other, a message on each topic. */
const cycle = Buffer.concat(
  Array.from({ length: topics }, (_, i) => {
    const topic = Buffer.from(`site/${i % 10}/device/${i}/state`);
    const length = 2 + topic.length + payload.length;
    const lengthBytes = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
    return Buffer.concat([Buffer.from([0x30, ...lengthBytes, 0, topic.length]), topic, payload]);
  }),
);

async function open(port: number, clientId: string): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.write(encodeConnect(clientId, 4));
  await new Promise((resolve) => socket.once("data", resolve));
  return socket;
}

/** Messages for each CPU second of a node, from one client to another: other programs are felt less in that. */
class Load {
  private readonly received = { bytes: 0 };

  private constructor(
    private readonly publisher: Socket,
    subscriber: Socket,
    private readonly pids: readonly number[],
  ) {
    subscriber.on("data", (chunk: Buffer) => {
      this.received.bytes += chunk.length;
    });
  }

  static async open({ ports, pids }: RunningBroker): Promise<Load> {
    const port = ports[0] ?? 0;
    const subscriber = await open(port, "subscriber");
    subscriber.write(encodeSubscribe("#", 0, false));
    await new Promise((resolve) => subscriber.once("data", resolve));
    return new Load(await open(port, "publisher"), subscriber, pids);
  }

  async run(ms: number): Promise<number> {
    const { received, publisher, pids } = this;
    received.bytes = 0;
    const before = cpuSeconds(pids);
    const startMs = realClock.monotonicMs();
    const mostBytes = (backlog / topics) * cycle.length;
    let sent = 0;
    while (realClock.monotonicMs() - startMs < ms) {
      while (sent - received.bytes < mostBytes) {
        publisher.write(cycle);
        sent += cycle.length;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (received.bytes < sent) await sleep(realClock, 1);
    return ((sent / cycle.length) * topics) / (cpuSeconds(pids) - before);
  }
}

const folder = mkdtempSync(join(tmpdir(), "acl-bench-"));
try {
  const file = join(folder, "rules.acl");
  writeFileSync(file, `${rules.join("\n")}\n`);
  const plain = await startTrellis(realClock, 1);
  const ruled = await startTrellis(realClock, 1, [
    `auth.acl_file=${file}`,
    "cluster.port_range=0-0",
  ]);
  const loads = [await Load.open(plain), await Load.open(ruled)];
  for (const load of loads) await load.run(roundMs);
  const ratios: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const [without = 1, withRules = 0] = [
      await loads[0]?.run(roundMs),
      await loads[1]?.run(roundMs),
    ];
    ratios.push(withRules / without);
    console.log(
      `msg per CPU s: ${Math.round(without)} without, ${Math.round(withRules)} with rules`,
    );
  }
  ratios.sort((a, b) => a - b);
  console.log(`ratio: ${ratios[rounds >> 1]?.toFixed(2)} (median of ${rounds})`);
} finally {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
