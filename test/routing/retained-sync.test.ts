/** Two nodes that meet with different retained messages: both end with the same, at a pace that holds up nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Message } from "../../src/routing/message.js";
import { RetainedStore } from "../../src/routing/retained.js";
import { RetainedSync } from "../../src/routing/retained-sync.js";
import { Topic, TopicTable } from "../../src/routing/topic.js";
import { ManualClock } from "../session/support.js";
import { LoneCluster } from "../support/front-end.js";

const limits = { messages: 100_000, bytes: 1e9, forgetAfterMs: 1e9, ttlMs: 0 };
const perTurn = 2000;

/** Tells the other side at once, and counts. */
class Pipe extends LoneCluster {
  told = 0;
  backlog = 0;
  other: (body: Buffer) => void = () => undefined;

  override tell(_peer: number, body: Uint8Array): void {
    this.told++;
    this.other(Buffer.from(body));
  }

  override tellBacklog(): number {
    return this.backlog;
  }
}

function side(clock: ManualClock): { pipe: Pipe; store: RetainedStore; sync: RetainedSync } {
  const pipe = new Pipe();
  const store = new RetainedStore(limits, clock);
  return { pipe, store, sync: new RetainedSync(pipe, store, new TopicTable(), clock) };
}

function set(store: RetainedStore, name: string, payload: string, stamp: number): void {
  const topic = new Topic(name, Buffer.from(name), 0, undefined);
  const bytes = Buffer.from(payload);
  const message = new Message(topic, 1, true, "p", bytes, 0, 0, 0, bytes.length);
  message.stamp = stamp;
  store.set(message);
}

/** a has many; b has some of its own, newer and older ones, and deletions. */
function pair(clock: ManualClock): [ReturnType<typeof side>, ReturnType<typeof side>] {
  const a = side(clock);
  const b = side(clock);
  a.pipe.other = (body) => b.sync.onTold(0, body);
  b.pipe.other = (body) => a.sync.onTold(0, body);
  for (let i = 0; i < 10_000; i++) set(a.store, `t/${i}`, "a", 100);
  set(b.store, "t/1", "newer", 200);
  set(b.store, "t/2", "older", 50);
  set(b.store, "t/3", "", 200);
  set(b.store, "b/only", "b", 100);
  return [a, b];
}

const text = (store: RetainedStore, topic: string): string | undefined =>
  store.get(topic)?.message?.bytes.toString();

test("both sides end with the newest of everything, in turns of bounded work", () => {
  const clock = new ManualClock();
  const [a, b] = pair(clock);
  a.sync.start(0);
  b.sync.start(0);
  let turns = 0;
  for (let before = 0; a.pipe.told > before; turns++) {
    assert.ok(a.pipe.told - before <= perTurn + 1, `${a.pipe.told - before} in one turn`);
    before = a.pipe.told;
    clock.advance(0);
  }
  assert.ok(turns >= 10_000 / perTurn);
  assert.deepEqual(a.store.digests(), b.store.digests());
  assert.deepEqual([a.store.size, b.store.size], [10_000, 10_000]);
  for (const { store } of [a, b]) {
    assert.deepEqual(
      [text(store, "t/1"), text(store, "t/2"), text(store, "b/only")],
      ["newer", "a", "b"],
    );
    assert.equal(store.get("t/3")?.isTombstone, true);
    // They are published again at the QoS at which they came.
    assert.deepEqual([store.get("t/1")?.message?.qos, store.get("b/only")?.message?.qos], [1, 1]);
  }
});

test("nodes that hold the same send nothing but digests", () => {
  const [a, b] = [side(new ManualClock()), side(new ManualClock())];
  a.pipe.other = (body) => b.sync.onTold(0, body);
  for (const { store } of [a, b]) set(store, "t", "same", 1);
  a.sync.start(0);
  assert.deepEqual([a.pipe.told, b.pipe.told], [1, 0]);
});

test("it waits while the link is full, and ends when the link is gone", () => {
  const clock = new ManualClock();
  const [a, b] = pair(clock);
  a.pipe.backlog = 1e6;
  b.sync.start(0);
  clock.advance(1000);
  assert.equal(a.pipe.told, 0);
  a.pipe.backlog = 0;
  clock.advance(100);
  for (let i = 0; i < 10; i++) clock.advance(0);
  assert.ok(a.pipe.told > 9000);
  const before = a.pipe.told;
  b.store.clear();
  a.pipe.backlog = Number.POSITIVE_INFINITY;
  b.sync.start(0);
  a.pipe.backlog = 0;
  clock.advance(1000);
  assert.equal(a.pipe.told, before);
});
