/** Durable sessions: what is in the store after every commit, and what a node makes of it that starts anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../../src/store/memory.js";
import { subscribe, type World, world } from "./support.js";
import { CrashStore, settle } from "./crash-store.js";

const day = 86_400_000;

test("an offline session survives with its queue and its subscriptions", async () => {
  const store = new CrashStore();
  const before = world({}, store);
  const { session } = before.connect("c", { expiryMs: day });
  await settle(before);
  assert.equal(session.channel !== null, true);
  subscribe(session, "t/#", 1);
  before.disconnect("c");
  const sent = [1, 2, 3].map((i) => before.publish("t/x", `m${i}`, 1));
  assert.deepEqual(
    sent.map(({ pending }) => pending),
    [1, 1, 1],
  );
  await settle(before);
  assert.deepEqual(
    sent.map(({ pending }) => pending),
    [0, 0, 0],
  );
  assert.equal(session.pages?.inMemory, 0);

  const after = world({}, store.copy());
  await after.load();
  assert.equal(after.sessions.get("c")?.queued, 3);
  const late = after.publish("t/y", "m4", 1);
  await settle(after);
  assert.equal(late.pending, 0);
  const { channel } = after.connect("c", { expiryMs: day, clean: false });
  await settle(after);
  assert.deepEqual(channel.take(), ["m1 q1 id1", "m2 q1 id2", "m3 q1 id3", "m4 q1 id4"]);
});

test("what was in flight is sent again with DUP, under the same ids, then what waits [MQTT-4.4.0-1]", async () => {
  const store = new CrashStore();
  const before = world({}, store);
  const { channel: first } = before.connect("c", { expiryMs: day, receiveMaximum: 4 });
  await settle(before);
  const session = sessionOf(before);
  subscribe(session, "t", 2);
  for (let i = 1; i <= 6; i++) before.publish("t", `m${i}`, i % 2 === 0 ? 2 : 1);
  // QoS 1 leaves at once, QoS 2 when its packet id is durable.
  assert.deepEqual(first.take(), ["m1 q1 id1", "m3 q1 id3"]);
  await settle(before);
  assert.deepEqual(first.take(), ["m2 q2 id2", "m4 q2 id4"]);
  session.onPubrec(4, 0);
  session.onPubrec(2, 0);
  assert.deepEqual(first.take(), []);
  await settle(before);
  assert.deepEqual(first.take(), ["pubrel 4", "pubrel 2"]);
  session.onPuback(1);
  await settle(before);
  assert.deepEqual(first.take(), ["m5 q1 id5"]);

  const after = world({}, store.copy());
  await after.load();
  const { channel } = after.connect("c", { expiryMs: day, clean: false });
  await settle(after);
  assert.deepEqual(channel.take(), [
    "m3 q1 id3 dup",
    "m5 q1 id5 dup",
    "pubrel 4",
    "pubrel 2",
    "m6 q2 id6",
  ]);
});

test("an ended session leaves nothing behind, also when another begins at once", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  one.connect("c", { expiryMs: day });
  await settle(one);
  subscribe(sessionOf(one), "t", 1);
  one.disconnect("c");
  one.publish("t", "old", 1);
  await settle(one);
  one.connect("c", { expiryMs: day, clean: true });
  await settle(one);
  const fresh = sessionOf(one);
  assert.equal(fresh.queued, 0);
  subscribe(fresh, "u", 1);
  await settle(one);
  const after = world({}, store.copy());
  await after.load();
  assert.deepEqual([...(after.sessions.get("c")?.subscriptions.keys() ?? [])], ["u"]);
  after.sessions.delete("c");
  await settle(after);
  assert.deepEqual(await storeOf(after).partitions("session/"), []);
});

function sessionOf(one: World) {
  const session = one.sessions.get("c");
  assert.ok(session !== undefined);
  return session;
}

function storeOf({ sessions }: World) {
  const store = sessions.journals?.parts.store;
  assert.ok(store instanceof MemoryStore);
  return store;
}
