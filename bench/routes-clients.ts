/**
 * What clients of a node that holds many filters get over their sockets: subscriptions and
 * unsubscriptions (one filter a packet, 100 packets under way), and messages from one publisher to one
 * subscriber over 1,000 topics while another client subscribes and unsubscribes 1,000 times a second. Rates
 * are per CPU second of the node. `npx tsx bench/routes-clients.ts [filters] [runs]`, after `npm run build`.
 */
import { connect, type Socket } from "node:net";
import { generate, type Packet } from "mqtt-packet";
import { realClock, sleep } from "../src/lib/clock.js";
import { brokers } from "./brokers.js";
import { stopAll } from "./children.js";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import { mixedOf } from "./routes-scene.js";
import { runTable } from "./routes-table.js";

const held = Number(process.argv[2] ?? 1_000_000);
const runs = Number(process.argv[3] ?? 5);
const perClient = 1000;
const perPacket = 100;
const window = 100;
const batch = 20_000;
const subackBytes = 5;
const unsubackBytes = 4;
const topics = 1000;
const stormMs = 4000;

/** A connection that counts the bytes that come; `until` waits for so many more. */
class Client {
  received = 0;
  private wanted = Number.POSITIVE_INFINITY;
  private wake: () => void = () => undefined;

  private constructor(readonly socket: Socket) {
    socket.setNoDelay(true);
    socket.on("data", (chunk) => {
      this.received += chunk.length;
      if (this.received >= this.wanted) this.wake();
    });
  }

  static async open(port: number, clientId: string): Promise<Client> {
    const client = new Client(connect(port, "127.0.0.1"));
    const connack = client.until(4);
    client.socket.write(generate({ cmd: "connect", clientId, protocolVersion: 4, clean: true }));
    await connack;
    return client;
  }

  until(bytes: number): Promise<void> {
    if (this.received >= bytes) return Promise.resolve();
    this.wanted = bytes;
    return new Promise((resolve) => {
      this.wake = () => {
        this.wanted = Number.POSITIVE_INFINITY;
        resolve();
      };
    });
  }
}

const subscribeTo = (filters: readonly string[], messageId: number): Buffer =>
  generate({
    ...{ cmd: "subscribe", messageId },
    subscriptions: filters.map((topic) => ({ topic, qos: 0 })),
  } as Packet); // a complete packet of its kind

const unsubscribeFrom = (filter: string, messageId: number): Buffer =>
  generate({ cmd: "unsubscribe", messageId, unsubscriptions: [filter] });

async function fill(port: number): Promise<void> {
  for (let i = 0; i < held; i += perClient) {
    const client = await Client.open(port, `holder-${i}`);
    const before = client.received;
    for (let at = 0; at < perClient; at += perPacket) {
      const filters = Array.from({ length: perPacket }, (_, j) => mixedOf(i + at + j));
      client.socket.write(subscribeTo(filters, 1 + at));
    }
    // Each SUBACK has a byte for each filter.
    await client.until(before + (perClient / perPacket) * 4 + perClient);
  }
}

/** Sends packets of which each is answered by so many bytes, `window` under way. */
async function requests(client: Client, packets: readonly Buffer[], answer: number): Promise<void> {
  const before = client.received;
  for (let at = 0; at < packets.length; at += window) {
    client.socket.write(Buffer.concat(packets.slice(at, at + window)));
    await client.until(before + Math.min(at + window, packets.length) * answer);
  }
}

/** 1,000 filters at a time: a client may have no more. */
async function comeAndGo(port: number, pids: readonly number[]): Promise<[number, number]> {
  const client = await Client.open(port, "comer");
  const cpu = [0, 0];
  for (let done = 0; done < batch; done += perClient) {
    const filters = Array.from({ length: perClient }, (_, i) => mixedOf(held + done + i));
    const comes = filters.map((filter, i) => subscribeTo([filter], 1 + i));
    const goes = filters.map((filter, i) => unsubscribeFrom(filter, 1 + i));
    const started = cpuSeconds(pids);
    await requests(client, comes, subackBytes);
    const between = cpuSeconds(pids);
    await requests(client, goes, unsubackBytes);
    cpu[0] = (cpu[0] ?? 0) + between - started;
    cpu[1] = (cpu[1] ?? 0) + cpuSeconds(pids) - between;
  }
  client.socket.destroy();
  return [batch / (cpu[0] ?? 1), batch / (cpu[1] ?? 1)];
}

/** Messages per CPU second, 5,000 under way at most; `filterOf`: what the restless client takes and leaves. */
async function publishing(
  port: number,
  pids: readonly number[],
  filterOf: ((i: number) => string) | null,
): Promise<number> {
  const taker = await Client.open(port, "taker");
  const publisher = await Client.open(port, "publisher");
  const restless = await Client.open(port, "restless");
  const before = taker.received + 5;
  taker.socket.write(subscribeTo(["load/+/data"], 1));
  await taker.until(before);
  const frames = Array.from({ length: topics }, (_, i) => {
    const topic = `load/${String(i).padStart(4, "0")}/data`;
    return generate({ cmd: "publish", topic, payload: Buffer.alloc(100), ...plain });
  });
  const all = Buffer.concat(frames);
  const startedMs = performance.now();
  const started = cpuSeconds(pids);
  let changes = 0;
  let sent = 0;
  while (performance.now() - startedMs < stormMs) {
    const due = Math.floor(performance.now() - startedMs);
    for (; filterOf !== null && changes < due; changes++) {
      const filter = filterOf(changes);
      restless.socket.write(Buffer.concat([subscribeTo([filter], 1), unsubscribeFrom(filter, 2)]));
    }
    publisher.socket.write(all);
    sent += all.length;
    await taker.until(before + sent - 5 * all.length);
    await sleep(realClock, 0);
  }
  await taker.until(before + sent);
  const rate = (sent / all.length) * (topics / (cpuSeconds(pids) - started));
  for (const client of [taker, publisher, restless]) client.socket.destroy();
  return rate;
}

const plain = { qos: 0 as const, retain: false, dup: false };

const storms: [string, ((i: number) => string) | null][] = [
  ["nothing else", null],
  ["and exact filters come and go", (i) => `other/${i % 5000}/x`],
  ["and filters such as a/b/+", (i) => `other/${i % 5000}/+`],
  ["and filters such as +/b", (i) => `+/b/${i % 5000}`],
];

async function main(): Promise<void> {
  const trellis = brokers.find(({ name }) => name === "trellis");
  if (trellis === undefined) throw new Error("no broker");
  const { ports, pids, stop } = await trellis.start(realClock, 1);
  const port = ports[0] ?? 0;
  const table = runTable();
  await fill(port);
  for (let run = 0; run < runs; run++) {
    const [comes, goes] = await comeAndGo(port, pids);
    table.note("subscribe over a socket, /CPU s", comes);
    table.note("unsubscribe over a socket, /CPU s", goes);
    for (const [name, filterOf] of storms) {
      const rate = await publishing(port, pids, filterOf);
      table.note(`1 → 1 over 1,000 topics, ${name}, msg/CPU s`, rate);
    }
  }
  await stop();
  table.print(`${held} filters, Node ${process.versions.node}, ${runs} runs`);
}

try {
  await main();
} finally {
  await stopAll();
  process.exit();
}
