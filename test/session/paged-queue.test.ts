/** Queues that are on disk: order, limits, expiry, memory, shared bodies, damage. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Qos } from "../../src/protocol/publish.js";
import { MemoryStore } from "../../src/store/memory.js";
import type { Session } from "../../src/session/session.js";
import { CrashStore, HeldStore, settle } from "./crash-store.js";
import { FakeChannel, message, subscribe, type World, world } from "./support.js";

const day = 86_400_000;

/** A session with these subscriptions, away. */
async function away(one: World, clientId: string, ...filters: string[]): Promise<Session> {
  one.connect(clientId, { expiryMs: day, clean: false });
  await settle(one);
  const session = one.sessions.get(clientId);
  assert.ok(session !== undefined);
  for (const filter of filters) subscribe(session, filter, 2);
  one.disconnect(clientId);
  await settle(one);
  return session;
}

async function publishMany(one: World, topic: string, from: number, to: number, qos: Qos = 1) {
  for (let i = from; i <= to; i++) {
    one.publish(topic, `m${i}`, qos);
    if (i % 100 === 0) await settle(one);
  }
  await settle(one);
}

/** Takes and acknowledges everything; returns the payloads. */
async function drain(one: World, clientId: string, channel: FakeChannel): Promise<string[]> {
  const payloads: string[] = [];
  for (let quiet = 0; quiet < 3; quiet++) {
    await settle(one);
    const session = one.sessions.get(clientId);
    for (const line of channel.take()) {
      const [, payload, qos, id] = /^(\S+) q(\d) id(\d+)/.exec(line) ?? [];
      const released = /^pubrel (\d+)/.exec(line)?.[1];
      if (released !== undefined) session?.onPubcomp(Number(released));
      if (payload === undefined) continue;
      quiet = 0;
      payloads.push(payload);
      if (qos === "1") session?.onPuback(Number(id));
      else session?.onPubrec(Number(id), 0);
    }
  }
  return payloads;
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`);

test("a long queue is not in memory, comes in order by pages, and leaves nothing behind", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  const session = await away(one, "c", "t");
  await publishMany(one, "t", 1, 5000);
  assert.equal(session.queued, 5000);
  assert.equal(session.pages?.inMemory, 0);
  assert.equal(session.queue?.bytes, numbers(1, 5000).join("").length + 5000);

  const after = world({}, store.copy());
  await after.load();
  for (const node of [one, after]) {
    const { channel } = node.connect("c", { expiryMs: day, clean: false, receiveMaximum: 100 });
    await settle(node);
    const held = node.sessions.get("c");
    assert.equal(held?.window.inFlight, 100);
    assert.ok((held?.pages?.inMemory ?? 0) < 2500);
    assert.deepEqual(await drain(node, "c", channel), numbers(1, 5000));
    assert.equal(held?.queued, 0);
  }
  await publishMany(after, "t", 1, 2);
  const rows = await keysOf(after, "session/c");
  assert.ok(rows.filter((key) => key.startsWith("log/")).length < 200, `${rows.length} rows`);
});

test("records that go with a commit under way hide none behind them", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  const session = await away(one, "c", "t");
  for (let i = 1; i <= 150; i++) {
    one.publish("t", `m${i}`, 1);
    await settle(one);
  }
  // All but the first and the last are done with; that they go is known, but not committed.
  const { pages, journal } = session;
  const seqs = [...(pages?.seqs() ?? [])];
  for (const seq of seqs.slice(1, -1)) {
    assert.ok(pages?.takeOut(seq));
    journal?.gone(seq, 0);
  }
  store.hold();
  await settle(one);
  const first = pages?.firstStored ?? 0;
  assert.ok(journal !== null && first > 0);
  session.channel = new FakeChannel();
  assert.ok(await journal.journals.pages.loadQueue(journal, first));
  assert.equal(pages?.inMemory, 2);
  store.letGo();
});

test("what is kept back is not sent, and what comes later is; then the rest of it comes, also after a restart", async () => {
  const store = new CrashStore();
  const one = world({ limits: { session_queue_messages: 3000 } }, store);
  const session = await away(one, "c", "t");
  await publishMany(one, "t", 1, 2500);
  session.pages?.keepBack(2000);
  const { channel } = one.connect("c", { expiryMs: day, clean: false });
  assert.deepEqual(await drain(one, "c", channel), numbers(2001, 2500));
  await publishMany(one, "t", 2501, 2600);
  assert.deepEqual(await drain(one, "c", channel), numbers(2501, 2600));
  assert.deepEqual([session.queued, session.pages?.firstStored], [0, 0]);

  const after = world({ limits: { session_queue_messages: 2005 } }, store.copy());
  await after.load();
  after.sessions.get("c")?.pages?.keepBack(2000);
  await publishMany(after, "t", 2601, 2610);
  const { droppedQueueFull } = after.sessions.counters;
  assert.deepEqual([droppedQueueFull, after.sessions.get("c")?.queued], [5, 10]);
  for (const node of [one, after]) {
    const held = node.sessions.get("c");
    const again =
      node === one ? channel : node.connect("c", { expiryMs: day, clean: false }).channel;
    const gone = [held?.pages?.dropUpTo(1500, 1000), held?.pages?.dropUpTo(1500, 1000)];
    assert.deepEqual(gone, [1000, node === one ? 500 : 495]);
    held?.pages?.release();
    held?.pump();
    const last = node === one ? [] : numbers(2601, 2610);
    assert.deepEqual(await drain(node, "c", again), [...numbers(1501, 2000), ...last]);
    assert.equal(held?.queued, 0);
  }
  const rows = await keysOf(one, "session/c");
  assert.ok(rows.filter((key) => key.startsWith("log/")).length < 200, `${rows.length} rows`);
});

test("a client that comes and goes while its queue is read gets each message once", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  const session = await away(one, "c", "t");
  await publishMany(one, "t", 1, 3000);
  const got: string[] = [];
  for (let visit = 0; visit < 12; visit++) {
    const { channel } = one.connect("c", { expiryMs: day, clean: false, receiveMaximum: 300 });
    // Sometimes it is gone before the page is there.
    if (visit % 3 === 0) await settle(one);
    for (const line of channel.take()) {
      const [, payload, id] = /^(\S+) q1 id(\d+)/.exec(line) ?? [];
      if (payload === undefined) continue;
      got.push(payload);
      session.onPuback(Number(id));
    }
    one.disconnect("c");
    await publishMany(one, "t", 3001 + visit, 3001 + visit);
  }
  const { channel } = one.connect("c", { expiryMs: day, clean: false });
  const rest = await drain(one, "c", channel);
  assert.deepEqual([...new Set([...got, ...rest])], numbers(1, 3012));
});

test("a full queue on disk loses its oldest, by count and by bytes, also for the next process", async () => {
  const limits = { session_queue_messages: 100, session_queue_bytes: 1_000_000 };
  const store = new CrashStore();
  const one = world({ limits }, store);
  const session = await away(one, "c", "t");
  await publishMany(one, "t", 1, 250);
  assert.equal(session.queued, 100);
  assert.equal(one.sessions.counters.droppedQueueFull, 150);
  const small = world({ limits: { session_queue_bytes: 1024 } }, store.copy());
  await small.load();
  small.publish("t", "x".repeat(1000), 1);
  await settle(small);
  assert.equal(small.sessions.get("c")?.queued, 5);
  const again = world({ limits }, store.copy());
  await again.load();
  const { channel } = again.connect("c", { expiryMs: day, clean: false });
  assert.deepEqual(await drain(again, "c", channel), numbers(151, 250));
});

test("what expires on disk is not sent, and makes room first", async () => {
  const limits = { session_queue_messages: 10 };
  const store = new CrashStore();
  const one = world({ limits }, store);
  const session = await away(one, "c", "t");
  for (let i = 1; i <= 10; i++) {
    const sent = message("t", `m${i}`, 1, one.router.topics);
    if (i % 2 === 0) sent.expireIn(10, one.sessions.turn.refresh());
    one.router.publish(sent);
  }
  await settle(one);
  const after = world({ limits }, store.copy());
  await after.load();
  for (const node of [one, after]) {
    node.clock.advance(11_000);
    await publishMany(node, "t", 11, 12);
    assert.equal(node.sessions.counters.droppedExpired, 5);
    assert.equal(node.sessions.counters.droppedQueueFull, 0);
    const { channel } = node.connect("c", { expiryMs: day, clean: false });
    const due = ["m1", "m3", "m5", "m7", "m9", "m11", "m12"];
    assert.deepEqual(await drain(node, "c", channel), due);
  }
  assert.equal(session.queued, 0);
});

test("a message for several sessions is stored once, and freed when the last is done", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  for (const id of ["a", "b", "c"]) await away(one, id, "t");
  for (let i = 1; i <= 20; i++) one.publish("t", `m${i}`.padEnd(500, "."), 1);
  await settle(one);
  const bytes = store.history.flat().flatMap(({ operations }) => operations);
  const stored = bytes.filter(
    (one) => one.kind === "put" && Buffer.from(one.value).includes("m7."),
  );
  assert.equal(stored.length, 1);
  assert.equal((await keysOf(one, "bodies")).length, 1);
  let node = one;
  for (const id of ["a", "b", "c"]) {
    assert.equal((await keysOf(node, "bodies")).length, 1);
    const { channel } = node.connect(id, { expiryMs: day, clean: false });
    const got = await drain(node, id, channel);
    assert.deepEqual(
      got.map((payload) => payload.replaceAll(".", "")),
      numbers(1, 20),
    );
    await settle(node);
    const next = world({}, storeOf(node).copy());
    await next.load();
    await settle(next);
    node = next;
  }
  assert.deepEqual(await keysOf(node, "bodies"), []);
});

test("sessions that end free the bodies they point to", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  for (const id of ["a", "b"]) await away(one, id, "t");
  one.publish("t", "m1", 1);
  await settle(one);
  one.sessions.delete("a");
  await settle(one);
  assert.equal((await keysOf(one, "bodies")).length, 1);
  one.sessions.delete("b");
  await settle(one);
  assert.deepEqual(await store.partitions(""), []);
});

test("a damaged record loses what it held and nothing else", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await away(one, "c", "t");
  for (let i = 1; i <= 3; i++) {
    one.publish("t", `m${i}`, 1);
    await settle(one);
  }
  const damaged = store.copy();
  const rows = (await damaged.read("session/c")).filter(([key]) => key.startsWith("log/"));
  const middle = rows.find(([, value]) => value.includes("m2"));
  assert.ok(middle !== undefined);
  middle[1][middle[1].length - 1] = 0;
  const after = world({}, damaged);
  await after.load();
  const { channel } = after.connect("c", { expiryMs: day, clean: false });
  assert.deepEqual(await drain(after, "c", channel), ["m1", "m3"]);
});

test("a record that is damaged while the node runs is counted when it is read", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await away(one, "c", "t");
  await publishMany(one, "t", 1, 3);
  for (const [key, value] of await store.read("session/c")) {
    if (key.startsWith("log/")) value[value.length - 1] = 0;
  }
  const { channel } = one.connect("c", { expiryMs: day, clean: false });
  assert.deepEqual(await drain(one, "c", channel), []);
  assert.equal(one.sessions.counters.lostDamaged, 3);
  assert.equal(one.sessions.get("c")?.queued, 0);
  await publishMany(one, "t", 4, 4);
  assert.deepEqual(await drain(one, "c", channel), ["m4"]);
});

test("a store that cannot be read is asked again a second later", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await away(one, "c", "t");
  await publishMany(one, "t", 1, 3);
  const read = store.read.bind(store);
  let refusals = 0;
  store.read = async () => {
    refusals++;
    throw new Error("away");
  };
  const { channel } = one.connect("c", { expiryMs: day, clean: false });
  await settle(one);
  assert.deepEqual(channel.take(), []);
  assert.equal(refusals, 1);
  store.read = read;
  one.clock.advance(1000);
  assert.deepEqual(await drain(one, "c", channel), numbers(1, 3));
  assert.equal(one.sessions.counters.readsFailed, 1);
});

function storeOf({ sessions }: World): CrashStore {
  const store = sessions.journals?.parts.store;
  assert.ok(store instanceof CrashStore);
  return store;
}

async function keysOf(one: World, partition: string): Promise<string[]> {
  const store = storeOf(one);
  assert.ok(store instanceof MemoryStore);
  return (await store.read(partition)).map(([key]) => key);
}
