/** Retained messages: found by every filter that matches, last writer wins, deleted ones stay deleted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ClusterPort } from "../../src/cluster/ports.js";
import { realClock } from "../../src/lib/clock.js";
import { Message } from "../../src/routing/message.js";
import { type RetainedLimits, RetainedStore } from "../../src/routing/retained.js";
import { RetainedSync } from "../../src/routing/retained-sync.js";
import { TopicTable } from "../../src/routing/topic.js";
import { anyFilter, anyTopic, matches } from "./naive.js";

const limits: RetainedLimits = { messages: 1000, bytes: 1_000_000, forgetAfterMs: 1000, ttlMs: 0 };
const topics = new TopicTable();

function message(topic: string, payload: string, stamp: number, publisher = "p"): Message {
  const bytes = Buffer.from(payload);
  const one = new Message(
    topics.internName(topic),
    1,
    true,
    publisher,
    bytes,
    0,
    0,
    0,
    bytes.length,
  );
  one.stamp = stamp;
  return one;
}

const payloadOf = ({ bytes, payloadStart, payloadEnd }: Message): string =>
  bytes.toString("utf8", payloadStart, payloadEnd);

function content(store: RetainedStore): string {
  return [...store.all()]
    .map(({ topic, stamp, publisher, message: held }) =>
      [topic, stamp, publisher, held === null ? "-" : payloadOf(held)].join(" "),
    )
    .sort()
    .join("\n");
}

test("a filter finds exactly the topics that a naive matcher finds, after any sets and deletes", () => {
  const write = fc.tuple(anyTopic, fc.constantFrom("", "x", "y"));
  fc.assert(
    fc.property(
      fc.array(write, { maxLength: 40 }),
      fc.array(anyFilter, { maxLength: 10 }),
      (writes, filters) => {
        const store = new RetainedStore(limits, realClock);
        const naive = new Map<string, string>();
        for (const [i, [topic, payload]] of writes.entries()) {
          assert.equal(store.set(message(topic, payload, i + 1)), "stored");
          if (payload === "") naive.delete(topic);
          else naive.set(topic, payload);
        }
        assert.equal(store.size, naive.size);
        for (const filter of filters) {
          const found = [...store.matching(filter)].map(
            (one) => `${one.topic.name} ${payloadOf(one)}`,
          );
          const expected = [...naive].filter(([topic]) => matches(filter, topic));
          assert.deepEqual(found.sort(), expected.map((pair) => pair.join(" ")).sort(), filter);
        }
      },
    ),
    { numRuns: 1000 },
  );
});

test("# finds topics with a $ below the first level, and not those that begin with one", () => {
  const store = new RetainedStore(limits, realClock);
  for (const topic of ["a/$b", "$SYS/x", "a/b/$c"]) store.set(message(topic, "x", 1));
  const found = (filter: string): string[] =>
    [...store.matching(filter)].map(({ topic }) => topic.name).sort();
  assert.deepEqual(found("#"), ["a/$b", "a/b/$c"]);
  assert.deepEqual(found("$SYS/#"), ["$SYS/x"]);
  assert.deepEqual(found("+/x"), []);
});

test("65,535 slashes recurse nowhere", () => {
  const store = new RetainedStore(limits, realClock);
  const slashes = "/".repeat(65_535);
  store.set(message(slashes, "deep", 1));
  assert.deepEqual([...store.matching("#")].map(payloadOf), ["deep"]);
  assert.deepEqual([...store.matching(`${"/".repeat(65_534)}+`)].map(payloadOf), []);
  store.set(message(slashes, "", 2));
  assert.equal([...store.matching("#")].length, 0);
});

const anyWrite = fc.tuple(
  fc.constantFrom("t/a", "t/b", "u"),
  fc.constantFrom("", "x"),
  fc.integer({ min: 1, max: 4 }),
  fc.constantFrom("p", "q", "r"),
);

/** What one publisher writes at one stamp to one topic is one thing. */
function toMessages(writes: readonly (readonly [string, string, number, string])[]): Message[] {
  const seen = new Map<string, Message>();
  for (const [topic, payload, stamp, publisher] of writes) {
    const key = `${topic} ${stamp} ${publisher}`;
    if (!seen.has(key)) seen.set(key, message(topic, payload, stamp, publisher));
  }
  return [...seen.values()];
}

test("two nodes that saw the same writes hold the same, in whatever order; digests tell when not", () => {
  fc.assert(
    fc.property(
      fc.array(anyWrite, { maxLength: 12 }),
      fc.infiniteStream(fc.nat()),
      (writes, order) => {
        const all = toMessages(writes);
        const shuffled = all
          .map((one) => ({ one, at: order.next().value ?? 0 }))
          .sort((a, b) => a.at - b.at)
          .map(({ one }) => one);
        const [first, second] = [
          new RetainedStore(limits, realClock),
          new RetainedStore(limits, realClock),
        ];
        for (const one of all) first.set(one);
        for (const one of [...shuffled, ...shuffled]) second.set(one);
        assert.equal(content(first), content(second));
        assert.deepEqual(first.digests(), second.digests());
        const third = new RetainedStore(limits, realClock);
        for (const one of all.slice(1)) third.set(one);
        const same = content(third) === content(first);
        const sameDigests = third.digests().every((digest, i) => digest === first.digests()[i]);
        assert.equal(sameDigests, same);
      },
    ),
    { numRuns: 1000 },
  );
});

test("an older write is refused, also against a tombstone; an equal one changes nothing", () => {
  const store = new RetainedStore(limits, realClock);
  assert.equal(store.set(message("t", "new", 5)), "stored");
  assert.equal(store.set(message("t", "old", 4)), "older");
  assert.equal(store.set(message("t", "again", 5)), "older");
  assert.equal(store.set(message("t", "", 6)), "stored");
  assert.equal(store.set(message("t", "back", 5)), "older");
  assert.deepEqual([store.size, store.bytes], [0, 0]);
  assert.equal(store.get("t")?.message, null);
});

test("beyond a limit a message is refused and counted; a smaller one in its place, or a delete, is not", () => {
  const store = new RetainedStore({ ...limits, messages: 2, bytes: 20 }, realClock);
  assert.equal(store.set(message("a", "1234567890", 1)), "stored");
  assert.equal(store.set(message("b", "12345678", 2)), "stored");
  assert.equal(store.bytes, 20);
  assert.equal(store.set(message("c", "1", 3)), "full");
  assert.equal(store.set(message("b", "123456789", 4)), "full");
  assert.equal(store.set(message("b", "1234", 5)), "stored");
  assert.equal(store.set(message("a", "", 6)), "stored");
  assert.deepEqual([store.size, store.bytes, store.counters.refusedFull], [1, 5, 2]);
  assert.equal(store.set(message("c", "1", 7)), "stored");
});

test("there are no more tombstones than there may be messages: the oldest go, and are counted", () => {
  const store = new RetainedStore({ ...limits, messages: 3 }, realClock);
  for (let i = 0; i < 5; i++) store.set(message(`t${i}`, "", i + 1));
  assert.deepEqual(
    [...store.all()].map(({ topic }) => topic),
    ["t2", "t3", "t4"],
  );
  assert.equal(store.counters.tombstonesDropped, 2);
  const fresh = new RetainedStore(limits, realClock);
  for (let i = 2; i < 5; i++) fresh.set(message(`t${i}`, "", i + 1));
  assert.deepEqual(store.digests(), fresh.digests());
});

test("tombstones are forgotten when they are old enough, and only they", () => {
  const store = new RetainedStore(limits, realClock);
  const stampAt = (ms: number): number => ms * 1024;
  store.set(message("old", "", stampAt(1000)));
  store.set(message("young", "", stampAt(1500)));
  store.set(message("kept", "x", stampAt(1)));
  assert.equal(store.sweep(2001), 1);
  assert.deepEqual([...store.all()].map(({ topic }) => topic).sort(), ["kept", "young"]);
  const fresh = new RetainedStore(limits, realClock);
  fresh.set(message("young", "", stampAt(1500)));
  fresh.set(message("kept", "x", stampAt(1)));
  assert.deepEqual(store.digests(), fresh.digests());
});

test("a stored message has bytes of its own, of exactly its size", () => {
  const store = new RetainedStore(limits, realClock);
  const payload = "payload".repeat(1000);
  const one = message("t", payload, 1);
  store.set(one);
  one.bytes.fill(0);
  const [held] = store.matching("t");
  assert.ok(held !== undefined);
  assert.equal(payloadOf(held), payload);
  assert.equal(held.bytes.buffer.byteLength, payload.length);
  assert.ok(held.retain);
});

/** Two nodes that talk through `tell` alone. */
class Pair {
  readonly stores: readonly RetainedStore[] = [
    new RetainedStore(limits, realClock),
    new RetainedStore(limits, realClock),
  ];
  readonly syncs: readonly RetainedSync[];
  readonly queue: { to: number; body: Buffer }[] = [];

  constructor() {
    this.syncs = this.stores.map(
      (store, at) => new RetainedSync(this.port(1 - at), store, topics, realClock),
    );
  }

  /** Everything is delivered, and what that makes them say. */
  run(): void {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      this.syncs[next.to]?.onTold(1 - next.to, next.body);
    }
  }

  private port(to: number): ClusterPort {
    const none = (): never => assert.fail("not of retained messages");
    return {
      ...{
        nextCounter: none,
        nextStamp: none,
        sendNumbered: none,
        sendPart: none,
        hasRoom: none,
        send: none,
      },
      ...{ setRow: none, whenSynced: none, forwardAccepted: none },
      observeStamp: () => undefined,
      livePeers: () => [to],
      nameOf: (peer) => `${peer}`,
      tellBacklog: () => 0,
      tell: (_peer, body) => void this.queue.push({ to, body: Buffer.from(body) }),
    };
  }
}

test("when a link comes up, both end with the same; what is equal is not sent", () => {
  fc.assert(
    fc.property(
      fc.array(anyWrite, { maxLength: 10 }),
      fc.array(fc.nat(2), { maxLength: 10 }),
      (writes, where) => {
        const pair = new Pair();
        for (const [i, one] of toMessages(writes).entries()) {
          const at = where[i] ?? 0;
          if (at !== 1) pair.stores[0]?.set(one);
          if (at !== 0) pair.stores[1]?.set(one);
        }
        for (const sync of pair.syncs) sync.start(0);
        pair.run();
        const [a, b] = pair.stores;
        assert.ok(a !== undefined && b !== undefined);
        assert.equal(content(a), content(b));
        const sent = pair.syncs.map(({ counters }) => counters.entriesSent);
        for (const sync of pair.syncs) sync.start(0);
        pair.run();
        assert.deepEqual(
          pair.syncs.map(({ counters }) => counters.entriesSent),
          sent,
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("a peer that missed a message is asked what it has when it takes forwards again, once", () => {
  const pair = new Pair();
  const [a, b] = pair.syncs;
  pair.stores[0]?.set(message("t", "x", 1));
  a?.catchUp(1);
  assert.equal(pair.queue.length, 0);
  a?.missed(1);
  a?.catchUp(1);
  a?.catchUp(1);
  assert.equal(pair.queue.length, 1);
  pair.run();
  assert.equal(b?.counters.entriesTaken, 1);
  assert.equal(pair.stores[1]?.size, 1);
});

test("what makes no sense is refused with an error", () => {
  const pair = new Pair();
  const bodies = [[], [0], [1, 2], [2], [2, 0, 0, 0], [9, 9, 9]].map((bytes) => Buffer.from(bytes));
  for (const body of bodies) assert.throws(() => pair.syncs[0]?.onTold(1, body));
  assert.equal(pair.stores[0]?.size, 0);
});
