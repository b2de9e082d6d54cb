/**
 * Retained messages in number, without sockets: memory for each, and the time of subscriptions that match
 * few or many of them. `node --expose-gc --import tsx bench/retained.ts [count]`
 */
import { realClock } from "../src/lib/clock.js";
import { Message } from "../src/routing/message.js";
import { RetainedStore } from "../src/routing/retained.js";
import { hashString } from "../src/lib/hash.js";
import { Topic } from "../src/routing/topic.js";

const count = Number(process.argv[2] ?? 1_000_000);
const payload = Buffer.alloc(100, "x");
const limits = { messages: 2 * count, bytes: 1e12, forgetAfterMs: 604_800_000, ttlMs: 0 };
const publishers = Array.from({ length: 1000 }, (_, i) => `publisher-${i}`);

/** 1,000 sites, then devices, each with one message; some sites have something of their own. */
function topicOf(index: number): string {
  return `site/${index % 1000}/device/${index}/state`;
}

function retained(name: string, stamp: number): Message {
  const topic = new Topic(name, Buffer.from(name), hashString(name), undefined);
  const publisher = publishers[stamp % publishers.length] ?? "";
  const message = new Message(topic, 1, true, publisher, payload, 0, 0, 0, payload.length);
  message.stamp = stamp;
  return message;
}

function memory(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const before = memory();
const rssBefore = process.memoryUsage().rss;
const store = new RetainedStore(limits, realClock);
let startedMs = performance.now();
for (let i = 0; i < count; i++) store.set(retained(topicOf(i), i + 1));
for (let i = 0; i < 10; i++) store.set(retained(`site/${i * 7}/device/${i}/battery`, i + 1));
store.set(retained("site/500/alarm", 1));
const storedMs = performance.now() - startedMs;
const bytes = memory() - before;
const rss = process.memoryUsage().rss - rssBefore;
console.log(
  `${store.size} messages of ${payload.length} bytes, topics such as ${topicOf(count - 1)}`,
);
console.log(`storing one: ${((storedMs * 1000) / count).toFixed(2)} µs`);
console.log(
  `memory for one: ${Math.round(bytes / count)} bytes; RSS ${Math.round(rss / 2 ** 20)} MiB`,
);
console.log("| filter | matches | looked at | ms |\n| --- | ---: | ---: | ---: |");

const filters = [
  // First, so that what comes after it runs as it does in a node that has been up for a while.
  ["#"],
  ["nothing/#", "site/+/nothing", "+/+/device/+/nothing", "site/+/device/+"],
  ["site/500/alarm", "site/+/alarm", "site/123/device/123/#"],
  ["site/+/device/+/battery", "+/+/+/+/battery"],
  ["site/123/#", "site/123/device/+/state"],
].flat();
for (const filter of filters) {
  const timesMs: number[] = [];
  let matched = 0;
  let visited = 0;
  for (let run = 0; run < 5; run++) {
    matched = 0;
    startedMs = performance.now();
    const walk = store.walk(filter);
    while (!walk.done) if (walk.step()?.message) matched++;
    timesMs.push(performance.now() - startedMs);
    visited = walk.visited;
  }
  timesMs.sort((a, b) => a - b);
  console.log(`| ${filter} | ${matched} | ${visited} | ${timesMs[2]?.toFixed(3)} |`);
}
