/**
 * Messages through persistent sessions, 100 bytes, QoS 1, 1,000 in flight: into the queues of sessions whose clients are
 * away, out of them again when they come back, and through sessions whose clients are there, beside the same with clean ones.
 * `npm run bench:sessions -- [--store lmdb|redis] [--sessions 1,10,100,1000] [--seconds 3] [--runs 3] [--online 1,100]`. Redis
 * is started here, with `appendonly yes` and `appendfsync everysec`, on the same cores as the others.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Connection, type Role } from "../src/cli/bench/connection.js";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import { runLoad } from "../src/cli/bench/run.js";
import { head } from "../src/cli/bench/wire.js";
import { realClock } from "../src/lib/clock.js";
import { accepting, Child, core, findProgram, freePort, stopAll } from "./children.js";
import { clientOf, fill, makeSessions } from "./filling.js";
import { type LoneNode, startLoneNode } from "./lone-node.js";
import { parseLoadOptions, seconds, whole } from "./options.js";

const windowSize = 1000;
/** Queues hold whatever the measured time brings. */
const queueSettings = [
  "limits.session_queue_messages=100000000",
  "limits.session_queue_bytes=64GiB",
];
const most = 100_000_000;

const { values } = parseArgs({
  options: {
    store: { type: "string", default: "lmdb" },
    sessions: { type: "string", default: "1,10,100,1000" },
    online: { type: "string", default: "1,100" },
    seconds: { type: "string", default: "3" },
    runs: { type: "string", default: "3" },
  },
});
const counts = (name: string, list: string): number[] =>
  list === "" ? [] : list.split(",").map((word) => whole(name, word, 1, 100_000));
const measuredMs = seconds("seconds", values.seconds, 0.5);
const runs = whole("runs", values.runs, 1, 100);
if (values.store !== "lmdb" && values.store !== "redis") throw new Error("--store lmdb or redis");
const folder = mkdtempSync(join(tmpdir(), "bench-"));

/** One figure of a run: messages a second, and per CPU second of the node. */
interface Rate {
  readonly perSecond: number;
  readonly perCpuSecond: number;
}

async function startRedis(): Promise<string[]> {
  const program = findProgram("redis-server");
  if (program === undefined) throw new Error("redis-server is not installed");
  const port = await freePort();
  const lasting = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, ...lasting];
  const child = new Child(realClock, program, args, [core.broker, core.load]);
  await accepting(realClock, child, port);
  return ["store.kind=redis", `store.redis.addresses=127.0.0.1:${port}`];
}

/** Runs `work`, which says how many messages it moved, and how long that took. */
async function rateOf(
  { child }: LoneNode,
  work: () => Promise<{ messages: number; seconds: number }>,
): Promise<Rate> {
  const before = cpuSeconds([child.pid]);
  const { messages, seconds: took } = await work();
  const cpu = cpuSeconds([child.pid]) - before;
  return { perSecond: messages / took, perCpuSecond: messages / cpu };
}

/** A client that comes back and acknowledges what waited for it. */
class Returning implements Role {
  received = 0;
  readonly connection: Connection;

  constructor(index: number, port: number, onLost: (error: Error) => void) {
    this.connection = new Connection(
      {
        ...{ address: { host: "127.0.0.1", port }, clientId: clientOf(index), version: 4 },
        ...{ login: null, tls: null, persistent: true, onLost },
        readBuffer: Buffer.allocUnsafeSlow(65_536),
      },
      this,
    );
  }

  publish(_: Uint8Array, __: number, ___: number, ____: number, packetId: number): void {
    this.received++;
    this.connection.queueAck(head.puback, packetId);
  }

  ack(): void {
    // It publishes nothing.
  }

  endOfRead(): void {
    this.connection.sendAcks();
  }
}

/** All clients come back; ends when `messages` were received. */
async function drain(
  port: number,
  sessions: number,
  messages: number,
): Promise<{ messages: number; seconds: number }> {
  const beganMs = performance.now();
  let lost: Error | null = null;
  const clients = Array.from(
    { length: sessions },
    (_, index) => new Returning(index, port, (error) => (lost = error)),
  );
  await Promise.all(clients.map(({ connection }) => connection.open()));
  const total = (): number => clients.reduce((sum, { received }) => sum + received, 0);
  while (total() < messages) {
    if (lost !== null) throw lost;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const took = (performance.now() - beganMs) / 1000;
  if (total() > messages) throw new Error(`${total() - messages} messages came twice`);
  for (const { connection } of clients) connection.close();
  return { messages, seconds: took };
}

async function throughOnline(node: LoneNode, clients: number, persistent: boolean): Promise<Rate> {
  const { perCpuSecond, msgsPerSecond, lost, duplicates, outOfOrder } = await runLoad(
    parseLoadOptions([
      ...["throughput", "--pub", `127.0.0.1:${node.port}`, "--pid", `${node.child.pid}`],
      ...["--publishers", `${Math.min(clients, 4)}`, "--subscribers", `${clients}`],
      ...["--topics", `${clients}`, "--qos", "1", "--seconds", `${measuredMs / 1000}`],
      ...["--window", `${Math.max(1, Math.floor(windowSize / Math.min(clients, 4)))}`],
      ...(persistent ? ["--persistent"] : []),
    ]),
    realClock,
  );
  const wrong = lost + duplicates + outOfOrder;
  if (wrong > 0) throw new Error(`${wrong} messages were lost, came twice or out of order`);
  return { perSecond: msgsPerSecond, perCpuSecond: perCpuSecond ?? 0 };
}

const rates = new Map<string, Rate[]>();
function note(title: string, rate: Rate): void {
  rates.set(title, [...(rates.get(title) ?? []), rate]);
}

async function run(settings: readonly string[], index: number): Promise<void> {
  for (const sessions of counts("sessions", values.sessions)) {
    const node = await startLoneNode(join(folder, `${index}-${sessions}`), settings);
    await makeSessions(node.port, sessions);
    let messages = 0;
    const filled = await rateOf(node, async () => {
      const done = await fill(node.port, {
        ...{ sessions, messages: most, windowSize, maxMs: measuredMs },
      });
      ({ messages } = done);
      return done;
    });
    note(`into ${sessions} offline`, filled);
    note(`out of ${sessions}`, await rateOf(node, () => drain(node.port, sessions, messages)));
    await node.child.stop();
  }
  for (const clients of counts("online", values.online)) {
    const node = await startLoneNode(join(folder, `${index}-online-${clients}`), settings);
    note(`through ${clients} online`, await throughOnline(node, clients, true));
    note(`through ${clients} clean`, await throughOnline(node, clients, false));
    await node.child.stop();
  }
}

const thousands = (value: number): string => `${Math.round(value / 1000)} k`;
function spread(title: string, all: readonly number[]): string {
  const sorted = [...all].sort((a, b) => a - b);
  const [least = 0, middle = 0, greatest = 0] = [0, sorted.length >> 1, sorted.length - 1].map(
    (at) => sorted[at],
  );
  return `${title} ${thousands(middle)} (${thousands(least)} - ${thousands(greatest)})`;
}

try {
  const kind = values.store === "redis" ? await startRedis() : ["store.kind=lmdb"];
  for (let index = 0; index < runs; index++) await run([...queueSettings, ...kind], index);
  console.log(`store ${values.store}, ${runs} runs of ${values.seconds} s, median (least - most)`);
  for (const [title, all] of rates) {
    const second = spread(
      "msg/s",
      all.map(({ perSecond }) => perSecond),
    );
    const cpu = spread(
      "per CPU second",
      all.map(({ perCpuSecond }) => perCpuSecond),
    );
    console.log(`${title.padEnd(24)} ${second}, ${cpu}`);
  }
} finally {
  await stopAll();
  rmSync(folder, { recursive: true });
}
process.exit();
