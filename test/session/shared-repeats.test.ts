/** Messages that may come again after a crash, and members of share groups: nothing is lost, and nothing comes twice. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Receipt } from "../../src/cluster/ports.js";
import type { Message, Origin } from "../../src/routing/message.js";
import type { Qos } from "../../src/protocol/publish.js";
import { CrashStore, settle } from "./crash-store.js";
import { message, subscribe, type World, world } from "./support.js";

const day = 86_400_000;
const key = "$share/g/t";
const committed: Origin = { name: "a@h/qos2", incarnation: 5 };

async function join(one: World, clientId: string, filter = key, expiryMs = day): Promise<void> {
  one.connect(clientId, { expiryMs, receiveMaximum: 1 });
  await settle(one);
  const session = one.sessions.get(clientId);
  assert.ok(session);
  subscribe(session, filter, 2);
  await settle(one);
}

/** Publishes what its node had committed under this number. */
function publish(one: World, identity: number, origin = committed, qos: Qos = 2): Message {
  one.sessions.turn.refresh();
  const sent = message("t", `m${identity}`, qos, one.router.topics);
  sent.origin = origin;
  sent.identity = identity;
  one.router.publish(sent);
  return sent;
}

const queued = (one: World, clientId: string): number => one.sessions.get(clientId)?.queued ?? -1;

for (const expiryMs of [day, 0]) {
  const kind = expiryMs === 0 ? "in memory" : "persistent";

  test(`a message passed on to a member that has taken later ones of its origin is not lost (${kind})`, async () => {
    const one = world({}, new CrashStore());
    await join(one, "first", key, expiryMs);
    for (const identity of [1, 2, 3]) publish(one, identity);
    await settle(one);
    assert.equal(queued(one, "first"), 2);
    await join(one, "second", key, expiryMs);
    let identity = 3;
    while (queued(one, "second") < 1) publish(one, ++identity);
    await settle(one);
    one.disconnect("first");
    await settle(one);
    // All but the one that was sent with QoS 2, and the one in flight to the second.
    assert.equal(queued(one, "second"), identity - 2);
    assert.equal(one.sessions.counters.droppedRepeats, 0);
    // The node that published them publishes again.
    for (let again = 2; again <= identity; again++) publish(one, again);
    await settle(one);
    assert.equal(queued(one, "second"), identity - 2);
    assert.equal(one.sessions.counters.droppedRepeats, identity - 1);
  });

  test(`what a member has given away may come back to it (${kind})`, async () => {
    const one = world({}, new CrashStore());
    await join(one, "first", key, expiryMs);
    publish(one, 1);
    await settle(one);
    await join(one, "second", key, day);
    one.sessions.get("first")?.unsubscribe(key);
    publish(one, 2);
    publish(one, 3);
    await settle(one);
    assert.equal(queued(one, "second"), 1);
    const first = one.sessions.get("first");
    assert.ok(first);
    subscribe(first, key, 2);
    one.disconnect("second");
    await settle(one);
    assert.deepEqual([queued(one, "first"), queued(one, "second")], [1, 0]);
    one.connect("second", { expiryMs: day, clean: false, receiveMaximum: 1 });
    await settle(one);
    if (expiryMs === 0) one.disconnect("first");
    else one.sessions.delete("first");
    await settle(one);
    assert.equal(queued(one, "second"), 1);
    assert.equal(one.sessions.counters.droppedRepeats, 0);
  });
}

test("after a restart a member knows each that it took, and which it gave away", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await join(one, "m");
  one.disconnect("m");
  for (const identity of [3, 5, 9]) publish(one, identity);
  await settle(one);
  await join(one, "other");
  one.connect("m", { expiryMs: day, clean: false, receiveMaximum: 1 });
  await settle(one);
  one.disconnect("m");
  await settle(one);
  // 3 was sent to it; 5 and 9 are the other's.
  assert.deepEqual([queued(one, "m"), queued(one, "other")], [0, 1]);
  one.sessions.get("other")?.unsubscribe(key);
  one.disconnect("other");
  await settle(one);

  const after = world({}, store.copy());
  await after.load();
  for (const identity of [3, 4, 5, 9]) publish(after, identity);
  await settle(after);
  assert.equal(queued(after, "m"), 3);
  assert.equal(after.sessions.counters.droppedRepeats, 1);
  // What is read from the log is known to those who get it then by what it was taken as.
  await join(after, "third");
  after.connect("m", { expiryMs: day, clean: false, receiveMaximum: 1 });
  await settle(after);
  after.disconnect("m");
  await settle(after);
  assert.equal(queued(after, "third"), 2);
  for (const identity of [4, 5, 9]) publish(after, identity);
  await settle(after);
  assert.equal(queued(after, "third"), 2);
});

test("of share groups the newest are remembered, also in a checkpoint", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await join(one, "m");
  one.disconnect("m");
  for (let identity = 1; identity <= 1030; identity++) {
    publish(one, identity);
    if (identity % 10 === 0) await settle(one);
  }
  const after = world({}, store.copy());
  await after.load();
  for (const identity of [1030, 7, 6]) publish(after, identity);
  assert.equal(after.sessions.counters.droppedRepeats, 2);
});

test("a session in memory drops what another node publishes again, and remembers no stream", async () => {
  const one = world();
  const { session, channel } = one.connect("m");
  subscribe(session, "t", 1);
  for (const identity of [1, 2, 2, 1]) publish(one, identity);
  for (const qos of [0, 1] as const) publish(one, 2, { ...committed, name: "a@h/wills" }, qos);
  assert.deepEqual(channel.take(), ["m1 q1 id1", "m2 q1 id2", "m2 q0 id0", "m2 q1 id3"]);
  assert.equal(one.sessions.counters.droppedRepeats, 2);
  publish(one, 1, { name: "a@h", incarnation: 5, isStream: true }, 1);
  publish(one, 1, { ...committed, incarnation: 6 }, 1);
  assert.deepEqual(channel.take(), ["m1 q1 id4", "m1 q1 id5"]);
});

test("a session does not end before another member has accepted what was given away when its connection was lost", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await join(one, "m");
  for (const payload of ["a", "b"]) one.publish("t", payload, 1);
  await settle(one);
  // Another member, at a node that takes its time.
  const waiters: Receipt[] = [];
  one.router.redispatch = (_message, _share, _onlineOnly, waiter) => {
    if (waiter !== null) waiters.push(waiter);
    return true;
  };
  one.disconnect("m");
  await settle(one);
  assert.deepEqual([waiters.length, queued(one, "m")], [2, 0]);
  one.sessions.delete("m");
  await settle(one);
  const crashed = world({}, store.copy());
  await crashed.load();
  assert.equal(queued(crashed, "m"), 1);
  assert.equal(crashed.sessions.get("m")?.window.inFlight, 1);
  waiters[0]?.accept();
  await settle(one);
  assert.notDeepEqual(await store.partitions("session/"), []);
  waiters[1]?.accept();
  await settle(one);
  assert.deepEqual(await store.partitions("session/"), []);
});

test("what was published again at its node's start is known when whoever adopts that publishes it once more", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  await join(one, "m", "t");
  one.disconnect("m");
  // Its node has started five times since: of the last ones it is known, of the first not any more.
  for (const incarnation of [5, 6, 7, 8, 9, 10]) publish(one, 20, { ...committed, incarnation });
  await settle(one);
  const again = (incarnation: number): Origin => ({
    name: "a@h/again",
    incarnation,
    isAgain: true,
  });
  const comesAgain = async (to: World): Promise<number[]> => {
    const before = queued(to, "m");
    const came: number[] = [];
    for (const incarnation of [6, 7, 9, 10]) publish(to, 20, again(incarnation));
    await settle(to);
    assert.equal(queued(to, "m"), before);
    for (const [incarnation, identity] of [
      [5, 20],
      [7, 21],
      [4, 1],
    ] as const) {
      publish(to, identity, again(incarnation));
      came.push(queued(to, "m") - before);
    }
    await settle(to);
    return came;
  };
  const after = world({}, store.copy());
  await after.load();
  assert.deepEqual(await comesAgain(one), [1, 2, 3]);
  assert.deepEqual(await comesAgain(after), [1, 2, 3], "read from the log");
});
