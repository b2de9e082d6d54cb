/**
 * Routes in number, without sockets: how fast topics find who subscribed, how fast subscriptions come and
 * go, what a row of a peer takes, and what changing routes cost those who publish. Rates are per CPU
 * second of the process (all threads, garbage collection too).
 * `npm run bench:routes`, or `node --expose-gc --import tsx bench/routes.ts [--count N] [--runs N] [--only CASE,...]
 * [--json]`; cases are memory, rows (a part of it), match, subscribe, storm, worst.
 */
import { parseArgs } from "node:util";
import { rowHash } from "../src/cluster/row-table.js";
import { decode, encode } from "../src/cluster/wire/messages.js";
import { frameHeaderBytes } from "../src/cluster/wire/frames.js";
import { Message } from "../src/routing/message.js";
import { RouteIndex } from "../src/routing/route-index.js";
import type { Router } from "../src/routing/router.js";
import type { Topic } from "../src/routing/topic.js";
import {
  BenchCluster,
  copyIn,
  exactOf,
  mixedOf,
  newRouter,
  subscriberOf,
  subscription,
  topicOf,
  turn,
  wildOf,
} from "./routes-scene.js";
import { runTable } from "./routes-table.js";

const { values: options } = parseArgs({
  options: {
    count: { type: "string", default: "1000000" },
    runs: { type: "string", default: "5" },
    only: { type: "string", default: "" },
    json: { type: "boolean", default: false },
  },
});
const count = Number(options.count);
const runs = Number(options.runs);
/** Subscriptions, topics and publishes of one measurement. */
const batch = 200_000;
const perTurn = 500;

const { note, print, medians } = runTable();

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

/** The CPU time of the longest turn: the machine may have other work, and time on the wall is also theirs. */
class TurnWatch {
  maxMs = 0;
  private before = cpuSeconds();
  private stopped = false;

  constructor() {
    this.turn();
  }

  stop(): void {
    this.stopped = true;
  }

  private turn(): void {
    const now = cpuSeconds();
    this.maxMs = Math.max(this.maxMs, (now - this.before) * 1000);
    this.before = now;
    if (!this.stopped) setImmediate(() => this.turn());
  }
}

function memory(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Half of the filters are our own clients', half a peer's. */
async function filled(): Promise<Router> {
  const router = newRouter();
  const own = Array.from({ length: 10_000 }, (_, i) => subscriberOf(`client-${i}`));
  for (let i = 0; i < count; i++) {
    const subscriber = own[i % own.length];
    if ((i & 8) === 0 && subscriber !== undefined) {
      router.subscribe(subscriber, mixedOf(i), subscription, true);
    } else router.setPeerRow(0, mixedOf(i), 13);
    if (i % perTurn === 0) await turn();
  }
  return router;
}

function matching(router: Router): void {
  // One after the other in a buffer, as they come from a socket.
  const texts = Array.from({ length: batch }, (_, i) => topicOf(i, count));
  const bytes = Buffer.from(texts.join(""));
  let started = cpuSeconds();
  let found = 0;
  let at = 0;
  for (let i = 0; i < batch; i++) {
    const end = at + (texts[i] ?? "").length;
    const topic = router.topics.intern(bytes, at, end);
    at = end;
    const { local, peers } = router.targetsOf(topic);
    found += local.length + peers.length;
  }
  note("topics matched, not seen before, /CPU s", batch / (cpuSeconds() - started));
  started = cpuSeconds();
  for (const name of texts) found -= router.index.match(name).local.length;
  note("of which the match alone, /CPU s", batch / (cpuSeconds() - started));
  if (found === 0) throw new Error("nothing was found");
}

async function subscribing(router: Router): Promise<void> {
  const filters = Array.from({ length: batch }, (_, i) => mixedOf(count + i));
  const one = subscriberOf("another");
  let started = cpuSeconds();
  for (let i = 0; i < batch; i++) {
    router.subscribe(one, filters[i] ?? "", subscription, true);
    if (i % perTurn === 0) await turn();
  }
  note("subscribe, /CPU s", batch / (cpuSeconds() - started));
  started = cpuSeconds();
  for (let i = 0; i < batch; i++) {
    router.unsubscribe(one, filters[i] ?? "");
    if (i % perTurn === 0) await turn();
  }
  note("unsubscribe, /CPU s", batch / (cpuSeconds() - started));
}

/** 1,000 topics are published to while a client subscribes and unsubscribes 1,000 times a second. */
async function storm(router: Router, name: string, filterOf: ((i: number) => string) | null) {
  const taker = subscriberOf("taker");
  const topics: Topic[] = [];
  for (let i = 0; i < 1000; i++) {
    const filter = `load/${i}/data`;
    router.subscribe(taker, filter, subscription, false);
    topics.push(router.topics.internName(filter));
  }
  await turn();
  const restless = subscriberOf("restless");
  const payload = Buffer.alloc(100);
  const endMs = performance.now() + 1000;
  const started = cpuSeconds();
  let changedMs = performance.now();
  let changes = 0;
  let published = 0;
  for (let nowMs = changedMs; nowMs < endMs; nowMs = performance.now()) {
    for (; filterOf !== null && changedMs < nowMs; changedMs += 1) {
      router.subscribe(restless, filterOf(changes), subscription, false);
      router.unsubscribe(restless, filterOf(changes++));
    }
    for (let i = 0; i < 200; i++) {
      const topic = topics[published++ % topics.length] as Topic; // within the array
      router.publish(new Message(topic, 0, false, "p", payload, 0, 0, 0, 100));
    }
    await turn();
  }
  note(`1 → 1 over 1,000 topics, ${name}, msg/CPU s`, published / (cpuSeconds() - started));
  for (const { name: filter } of topics) router.unsubscribe(taker, filter);
}

/** What the rows of a peer take, as they come in a snapshot of frames, and what that does to the event loop. */
async function copying(name: string, keyOf: (index: number) => string): Promise<void> {
  const before = memory();
  const router = newRouter();
  let held = (): void => {};
  const copy = copyIn(router, 0, () => held());
  copy.begin();
  let hash = 0;
  for (let at = 0; at < count; ) {
    const rows: (string | number)[] = [];
    for (let i = 0; i < 2000 && at < count; i++) {
      const key = keyOf(at++);
      rows.push(key, 13);
      hash = (hash + rowHash(key, 13)) >>> 0;
    }
    const frame = encode("rowsPart", rows);
    copy.part(decode("rowsPart", frame, frameHeaderBytes, frame.length));
    await turn();
  }
  const watch = new TurnWatch();
  await turn();
  const done = new Promise<void>((resolve) => {
    held = resolve;
  });
  let peak = 0;
  setImmediate(() => {
    copy.end({ seq: 1, count, hash });
    peak = process.memoryUsage().heapUsed + process.memoryUsage().external - before;
  });
  await done;
  peak = Math.max(peak, process.memoryUsage().heapUsed + process.memoryUsage().external - before);
  watch.stop();
  note(`a snapshot of ${name} replaces the rows: CPU time of the longest turn, ms`, watch.maxMs);
  note(`peer row, ${name}: bytes at the end of the snapshot, garbage included`, peak / count);
  await turn();
  note(`peer row, ${name}: bytes`, (memory() - before) / count);
  if (copy.count !== count) throw new Error("rows are missing");
}

/** Sending a snapshot of all rows. */
async function sending(): Promise<void> {
  const cluster = new BenchCluster();
  for (let i = 0; i < count; i++) {
    cluster.setRow(mixedOf(i), 13);
    if (i % 2000 === 0) await turn();
  }
  await turn();
  for (let run = 0; run < runs; run++) {
    memory();
    const watch = new TurnWatch();
    await turn();
    await cluster.snapshot();
    watch.stop();
    note("a snapshot is sent: CPU time of the longest turn, ms", watch.maxMs);
  }
}

/**
 * 1,000 filters that all begin like the topic for 127 levels, each with its own choice of `+` and names: a match
 * has to walk all of them to the last level, where none matches.
 */
function worst(): void {
  const index = new RouteIndex();
  const one = subscriberOf("one");
  const levels = 128;
  for (let i = 0; i < 1000; i++) {
    const filter: string[] = Array.from({ length: levels }, (_, at) =>
      (i >> (at % 10)) & 1 ? "+" : "a",
    );
    filter[levels - 1] = "z";
    index.setLocal(filter.join("/"), one, { ...subscription, durable: false });
  }
  const topic = Array(levels).fill("a").join("/");
  const rounds = 20;
  const started = cpuSeconds();
  for (let i = 0; i < rounds; i++) index.match(topic);
  note(
    "worst case: 1,000 filters of 128 levels, µs a match",
    ((cpuSeconds() - started) * 1e6) / rounds,
  );
}

const storms: [string, ((i: number) => string) | null][] = [
  ["nothing else", null],
  ["and a client changes exact filters", (i) => `other/${i % 5000}/x`],
  ["and a client changes filters such as a/b/+", (i) => `other/${i % 5000}/+`],
  ["and a client changes filters such as +/b", (i) => `+/b/${i % 5000}`],
];

async function main(): Promise<void> {
  const only = options.only.split(",");
  const wanted = (name: string): boolean => options.only === "" || only.includes(name);
  if (wanted("memory") || wanted("rows")) {
    for (let run = 0; run < runs; run++) {
      await copying("exact filters", exactOf);
      await copying("wildcards", wildOf);
    }
  }
  if (wanted("memory")) await sending();
  const before = memory();
  if (options.only === "memory") {
    print(`${count} rows, Node ${process.versions.node}, ${runs} runs`);
    return;
  }
  const router = await filled();
  note("bytes for each of the filters held, half our own", (memory() - before) / count);
  for (let run = 0; run < runs; run++) {
    if (wanted("match")) for (let k = 0; k < 5; k++) matching(router);
    if (wanted("subscribe")) await subscribing(router);
    if (!wanted("storm")) continue;
    for (const [name, filterOf] of storms) await storm(router, name, filterOf);
  }
  if (wanted("worst")) for (let run = 0; run < runs; run++) worst();
  if (options.json) console.log(JSON.stringify(medians()));
  else print(`${count} filters, Node ${process.versions.node}, ${runs} runs`);
}

await main();
