/**
 * The index of retained messages: what a filter finds, against a naive matcher; what it costs, in counts;
 * that a walk may be slow; limits and tombstones.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { filterFault } from "../../src/protocol/topics.js";
import { Message } from "../../src/routing/message.js";
import { type RetainedLimits, RetainedStore, sweepSteps } from "../../src/routing/retained.js";
import { Topic } from "../../src/routing/topic.js";
import { ManualClock } from "../session/support.js";

const roomy: RetainedLimits = {
  messages: 2_000_000,
  bytes: 1e12,
  forgetAfterMs: 1000,
  ttlMs: 0,
};

let stamps = 0;

/** A retained message; without payload: a deletion. */
function retained(name: string, payload = "x", stamp = ++stamps): Message {
  const topic = new Topic(name, Buffer.from(name), 0, undefined);
  const bytes = Buffer.from(payload);
  const message = new Message(topic, 1, true, "publisher", bytes, 0, 0, 0, bytes.length);
  message.stamp = stamp;
  return message;
}

function storeOf(names: Iterable<string>, limits = roomy): RetainedStore {
  const store = new RetainedStore(limits, new ManualClock());
  for (const name of names) store.set(retained(name));
  return store;
}

const found = (store: RetainedStore, filter: string): string[] =>
  [...store.matching(filter)].map(({ topic }) => topic.name).sort();

/** What a walk finds and what it looks at. */
function cost(store: RetainedStore, filter: string): { matched: number; visited: number } {
  const walk = store.walk(filter);
  let matched = 0;
  while (!walk.done) if (walk.step() !== null) matched++;
  return { matched, visited: walk.visited };
}

/** Straight from MQTT 5, 4.7. */
function matches(filter: string, topic: string): boolean {
  if (/^[+#]/.test(filter) && topic.startsWith("$")) return false;
  const wanted = filter.split("/");
  const levels = topic.split("/");
  for (const [i, level] of wanted.entries()) {
    if (level === "#") return true;
    if (levels[i] === undefined) return false;
    if (level !== "+" && level !== levels[i]) return false;
    if (wanted[i + 1] === "#" && levels.length === i + 1) return true;
  }
  return wanted.length === levels.length;
}

const name = fc.constantFrom("a", "b", "c", "", "$s", "name");
const topics = fc.array(fc.array(name, { minLength: 1, maxLength: 4 }), { maxLength: 60 });
const filters = fc.array(fc.oneof(name, fc.constantFrom("+", "+", "#")), {
  minLength: 1,
  maxLength: 5,
});

test("every filter finds what a naive matcher finds, also after deletions", () => {
  fc.assert(
    fc.property(topics, topics, filters, (some, gone, levels) => {
      const filter = levels.join("/");
      if (filter === "" || filterFault(filter) !== undefined) return;
      const names = new Set(some.map((one) => one.join("/")).filter((one) => one !== ""));
      for (const prefix of ["", "a/", "a/b/"]) {
        for (let i = 0; i < 20; i++) names.add(`${prefix}f${i}/b/z`);
      }
      const store = storeOf(names);
      for (const one of gone.map((list) => list.join("/")).filter((text) => text !== "")) {
        store.set(retained(one, ""));
        names.delete(one);
      }
      const expected = [...names].filter((topic) => matches(filter, topic)).sort();
      assert.deepEqual(found(store, filter), expected);
      assert.equal(store.size, names.size);
      for (const one of names) assert.equal(store.get(one)?.topic, one);
    }),
    { numRuns: 2000 },
  );
});

test("shortcuts find the same: many branches, few of a name", () => {
  const names = Array.from({ length: 200 }, (_, i) => `site/${i}/state`);
  names.push("site/7/rare", "site/9/rare/deep", "other/1/rare", "$x/1/rare", "site/11");
  const store = storeOf(names);
  for (const filter of [
    "site/+/rare",
    "+/+/rare",
    "site/+/rare/#",
    "site/+",
    "+/+",
    "+/+/+/deep",
  ]) {
    const expected = names.filter((topic) => matches(filter, topic)).sort();
    assert.deepEqual(found(store, filter), expected, filter);
  }
});

test("a filter with wildcards costs what it matches, not what is stored", () => {
  const devices = 20_000;
  const names: string[] = [];
  for (let i = 0; i < devices; i++) names.push(`site/${i % 100}/device/${i}/state`);
  for (let i = 0; i < 1000; i++) names.push(`site/1/alarm/${i}`);
  for (let i = 0; i < 10; i++) names.push(`site/${i}/device/${i}/rare`);
  names.push("flat/one");
  const store = storeOf(names);
  const cases: [filter: string, matched: number, visitedMax: number][] = [
    ["nothing/#", 0, 1],
    ["site/+/nothing", 0, 2],
    ["site/5/device/+/nothing", 0, 2],
    ["site/5/device/+", 0, 2],
    ["+/+/+/+/nothing/#", 0, 2],
    ["flat/+", 1, 4],
    ["+/one", 1, 6],
    ["site/77/device/77/#", 1, 4],
    ["site/+/device/+/rare", 10, 150],
    ["+/+/+/+/rare", 10, 40],
    ["site/1/alarm/+", 1000, 1010],
    ["site/1/alarm/#", 1000, 1010],
    ["site/5/device/+/state", 200, 610],
    ["site/5/#", 201, 810],
  ];
  for (const [filter, matched, visitedMax] of cases) {
    const seen = cost(store, filter);
    assert.equal(seen.matched, matched, filter);
    assert.ok(seen.visited <= visitedMax, `${filter}: looked at ${seen.visited}`);
  }
});

test("the cost of a filter stays the same when ten times as much is stored beside it", () => {
  const few = Array.from({ length: 100 }, (_, i) => `home/${i}/light/state`);
  const more = (count: number): string[] =>
    Array.from({ length: count }, (_, i) => `plant/${i}/pump/speed`);
  const small = storeOf([...few, ...more(1000)]);
  const large = storeOf([...few, ...more(10_000)]);
  for (const filter of ["home/#", "home/+/light/state", "+/+/light/state", "home/5/+/+", "+/+"]) {
    assert.deepEqual(cost(large, filter), cost(small, filter), filter);
  }
});

test("a walk sees what is there when it comes to it", () => {
  const store = storeOf(["a/1", "a/2", "a/3", "a/4"]);
  const walk = store.walk("a/+");
  const first = walk.step();
  assert.equal(first?.topic, "a/1");
  store.set(retained("a/2", ""));
  store.set(retained("a/3", "newer"));
  store.set(retained("a/5", "late"));
  const seen: string[] = [];
  while (!walk.done) {
    const message = walk.step()?.message;
    if (message) seen.push(`${message.topic.name} ${message.bytes.toString()}`);
  }
  assert.deepEqual(seen, ["a/3 newer", "a/4 x", "a/5 late"]);
});

test("a slow walk misses nothing that stays, however much comes and goes meanwhile", () => {
  const stays = Array.from({ length: 300 }, (_, i) => `a/${i % 10}/stays/${i}`);
  const store = storeOf(stays);
  for (let i = 0; i < 1000; i++) store.set(retained(`a/${i % 10}/goes/${i}`));
  const walk = store.walk("#");
  const seen = new Set<string>();
  let round = 0;
  while (!walk.done) {
    const entry = walk.step();
    if (entry !== null) {
      if (entry.topic.includes("stays")) assert.ok(!seen.has(entry.topic), `${entry.topic} twice`);
      seen.add(entry.topic);
    }
    for (let i = 0; i < 5; i++) {
      round++;
      store.set(retained(`a/${round % 10}/goes/${round % 1000}`, round % 3 === 0 ? "x" : ""));
    }
    assert.ok(walk.visited < 100_000);
  }
  for (const topic of stays) assert.ok(seen.has(topic), `${topic} was missed`);
});

test("at the limit of messages a new topic is refused, one that is there is replaced", () => {
  const store = storeOf(["a", "b"], { ...roomy, messages: 2 });
  assert.equal(store.set(retained("c")), "full");
  assert.equal(store.counters.refusedFull, 1);
  assert.equal(store.get("c"), undefined);
  assert.equal(store.set(retained("a", "other")), "stored");
  assert.equal(store.set(retained("b", "")), "stored");
  assert.equal(store.set(retained("c")), "stored");
  assert.deepEqual([store.size, store.bytes, store.tombstoneCount], [2, 1 + 5 + 1 + 1, 1]);
});

test("at the limit of bytes a message that would go over it is refused, a smaller one is taken", () => {
  const store = storeOf(["a"], { ...roomy, bytes: 10 });
  assert.equal(store.set(retained("b", "12345678")), "full");
  assert.equal(store.set(retained("a", "1234567890")), "full");
  assert.equal(store.get("a")?.message?.bytes.toString(), "x");
  assert.equal(store.set(retained("b", "1234567")), "stored");
  assert.equal(store.set(retained("a", "")), "stored");
  assert.deepEqual([store.bytes, store.counters.refusedFull], [8, 2]);
});

test("a tombstone keeps an older message out until its time is over", () => {
  const clock = new ManualClock();
  const store = new RetainedStore(roomy, clock);
  const ticksPerMs = 1024;
  const stampOf = (ms: number): number => ms * ticksPerMs;
  store.set(retained("a", "x", stampOf(1000)));
  store.set(retained("a", "", stampOf(2000)));
  assert.equal(store.set(retained("a", "old", stampOf(1500))), "older");
  assert.equal(store.sweep(2999), 0);
  assert.equal(store.sweep(3001), 1);
  assert.deepEqual([store.tombstoneCount, store.counters.tombstonesSwept], [0, 1]);
  assert.deepEqual(store.digests(), new RetainedStore(roomy, clock).digests());
});

test("a sweep looks at so many tombstones at most, and the next one goes on", () => {
  const store = new RetainedStore(roomy, new ManualClock());
  for (let i = 0; i < sweepSteps + 5; i++) store.set(retained(`t/${i}`, "", 4096));
  const late = Number.MAX_SAFE_INTEGER;
  assert.equal(store.sweep(late), sweepSteps);
  assert.equal(store.sweep(late), 5);
});

test("there are no more tombstones than there may be messages; the earliest go, counted", () => {
  const store = storeOf([], { ...roomy, messages: 3 });
  for (const topic of ["a", "b", "c", "d", "e"]) store.set(retained(topic, ""));
  assert.deepEqual([store.tombstoneCount, store.counters.tombstonesDropped], [3, 2]);
  assert.deepEqual([store.get("b"), store.get("e")?.isTombstone], [undefined, true]);
});

test("a message comes out as it went in, short or long, with its properties", () => {
  const store = storeOf([]);
  for (const length of [1, 500, 5000]) {
    const topic = new Topic("ä/b", Buffer.from("ä/b"), 0, undefined);
    const bytes = Buffer.from(Array.from({ length: length + 6 }, (_, i) => (i * 7) & 0xff));
    const message = new Message(topic, 2, true, "p", bytes, 1, 4, 4, length + 4);
    message.stamp = ++stamps;
    message.user = "u";
    store.set(message);
    const out = store.get("ä/b")?.message;
    assert.ok(out);
    assert.deepEqual(
      [out.qos, out.retain, out.publisher, out.user, out.stamp, out.topic.name, out.size],
      [2, true, "p", "u", stamps, "ä/b", message.size],
    );
    const { propertiesStart, propertiesEnd, payloadStart, payloadEnd } = out;
    assert.ok(out.bytes.subarray(propertiesStart, propertiesEnd).equals(bytes.subarray(1, 4)));
    assert.ok(out.bytes.subarray(payloadStart, payloadEnd).equals(bytes.subarray(4, length + 4)));
    assert.deepEqual(out.topic.bytes, topic.bytes);
  }
});

test("nothing is left of what was cleared", () => {
  const store = storeOf(["a/b", "c"]);
  store.set(retained("c", ""));
  store.clear();
  assert.deepEqual([store.size, store.bytes, store.tombstoneCount], [0, 0, 0]);
  assert.deepEqual([...store.all()], []);
  assert.deepEqual(found(store, "#"), []);
});
