/** Durable sessions: what is in the store after every commit, and what a node makes of it that starts anew. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReasonCode } from "../../src/protocol/reason-codes.js";
import type { Message } from "../../src/routing/message.js";
import { subscribe as subscribeTo } from "../../src/session/handlers/subscribe.js";
import { unsubscribe as unsubscribeFrom } from "../../src/session/handlers/unsubscribe.js";
import type { Session } from "../../src/session/session.js";
import { MemoryStore } from "../../src/store/memory.js";
import type { ConnectOutcome } from "../../src/session/opening.js";
import { FakeChannel, message, subscribe, type World, world } from "./support.js";
import { CrashStore, HeldStore, settle } from "./crash-store.js";

const day = 86_400_000;

const subscribePacket = {
  cmd: "subscribe",
  packetId: 1,
  subscriptionId: 0,
  requests: [{ filter: "t", qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 }],
} as const;

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

test("CONNACK of a new session, SUBACK and UNSUBACK wait until they are durable", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  const { channel } = one.connect("c", { expiryMs: day });
  store.hold();
  await settle(one);
  assert.equal(sessionOf(one).channel, null);
  assert.deepEqual(one.reports, []);
  store.letGo();
  await settle(one);
  assert.equal(sessionOf(one).channel, channel);
  store.hold();
  subscribeTo(sessionOf(one), channel, subscribePacket);
  await settle(one);
  assert.deepEqual(channel.take(), []);
  store.letGo();
  await settle(one);
  assert.equal(channel.take().length, 1);
  store.hold();
  unsubscribeFrom(sessionOf(one), channel, { cmd: "unsubscribe", packetId: 2, filters: ["t"] });
  await settle(one);
  assert.deepEqual(channel.take(), []);
  store.letGo();
  await settle(one);
  assert.equal(channel.take().length, 1);
});

test("a session that has nothing to wait for is taken up at once", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  one.connect("c", { expiryMs: day });
  await settle(one);
  one.disconnect("c");
  await settle(one);
  store.hold();
  const { channel } = one.connect("c", { expiryMs: day, clean: false });
  assert.equal(sessionOf(one).channel, channel);
  // A clean one never touches the store.
  const commits = store.history.length;
  const clean = one.connect("d");
  assert.equal(one.sessions.get("d")?.channel, clean.channel);
  one.disconnect("d");
  store.letGo();
  await settle(one);
  const written = store.history.slice(commits).flat();
  assert.ok(written.every(({ partition }) => partition === "session/c"));
});

test("a client that is gone before its new session is durable leaves none", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  store.hold();
  const { channel } = one.connect("c", { expiryMs: day });
  await settle(one);
  channel.isOpen = false;
  store.letGo();
  await settle(one);
  assert.equal(one.sessions.size, 0);
  assert.deepEqual(one.reports.slice(0, 1), ["released c false"]);
  assert.deepEqual(await store.partitions(""), []);
});

test("a session that ended is where it was for the directory until that is durable: it may be back after a crash", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  const { channel } = one.connect("c", { expiryMs: day });
  await settle(one);
  assert.equal(channel.isOpen, true);
  store.hold();
  const { epoch } = one.sessions.get("c") ?? { epoch: -1 };
  one.sessions.delete("c");
  await settle(one);
  const { places } = one.sessions;
  assert.deepEqual(places.entry("c"), {
    ...{ clientId: "c", user: "", connection: null, session: epoch },
  });
  assert.equal([...places.entries()].length, 1);
  store.letGo();
  await settle(one);
  assert.deepEqual([places.entry("c"), [...places.entries()].length], [undefined, 0]);
  assert.match(one.reports.at(-1) ?? "", /^changed c/);
});

test("while the store takes nothing, no new persistent session begins", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  store.failure = { kind: "full", why: "no space left" };
  one.connect("a", { expiryMs: day });
  await settle(one);
  const refused = one.connect("c", { expiryMs: day });
  assert.equal(refused.session, undefined);
  assert.equal(one.connect("d").session.persistent, false);
  store.failure = null;
  one.clock.advance(1000);
  await settle(one);
  assert.deepEqual([...one.sessions.all()].map(({ clientId }) => clientId).sort(), ["a", "d"]);
});

test("what a session is due waits for the commit, and comes through a full disk", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  one.connect("c", { expiryMs: day });
  await settle(one);
  subscribe(sessionOf(one), "t", 1);
  one.disconnect("c");
  await settle(one);
  store.failure = { kind: "full", why: "no space left" };
  const sent = one.publish("t", "m1", 1);
  await settle(one);
  one.clock.advance(500);
  await settle(one);
  assert.equal(sent.pending, 1);
  store.failure = null;
  one.clock.advance(1000);
  await settle(one);
  assert.equal(sent.pending, 0);
  const after = world({}, store.copy());
  await after.load();
  assert.equal(after.sessions.get("c")?.queued, 1);
});

test("incoming QoS 2: committed, then published, and answered when it is accepted", async () => {
  const store = new HeldStore();
  const one = world({}, store);
  const { channel } = one.connect("c", { expiryMs: day });
  const watcher = one.connect("w");
  await settle(one);
  subscribe(watcher.session, "t", 2);
  const session = sessionOf(one);
  assert.ok(session.journal !== null);
  const sent = message("t", "m1", 2, one.router.topics);
  sent.packetId = 9;
  let accepted = 0;
  sent.sink = { onAccepted: () => void accepted++ };
  session.incoming.add(9, sent);
  store.hold();
  session.journal.publish(sent);
  await settle(one);
  assert.deepEqual([watcher.channel.take(), sent.pending, accepted], [[], 1, 0]);
  store.letGo();
  await settle(one);
  assert.deepEqual(watcher.channel.take(), ["m1 q2 id1"]);
  assert.equal(accepted, 1);
  session.settleQos2(sent);
  store.hold();
  session.onPubrel(9);
  await settle(one);
  assert.deepEqual(channel.take(), []);
  store.letGo();
  await settle(one);
  assert.deepEqual(channel.take(), ["pubcomp 9"]);
});

test("session expiry is a deadline: across restarts, and from the restart for one that was connected", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  for (const id of ["gone", "here"]) one.connect(id, { expiryMs: 10_000 });
  await settle(one);
  one.disconnect("gone");
  await settle(one);
  const soon = world({}, store.copy());
  soon.clock.advance(8000);
  await soon.load();
  assert.equal(soon.sessions.size, 2);
  soon.clock.advance(3000);
  assert.deepEqual(
    [...soon.sessions.all()].map(({ clientId }) => clientId),
    ["here"],
  );
  soon.clock.advance(8000);
  await settle(soon);
  assert.equal(soon.sessions.size, 0);
  assert.deepEqual(await storeOf(soon).partitions(""), []);
  const late = world({}, store.copy());
  late.clock.advance(11_000);
  await late.load();
  // Nobody comes back to one whose time is over, though nothing has swept it yet.
  const { channel } = late.connect("gone", { expiryMs: day, clean: false });
  await settle(late);
  assert.equal(late.sessions.counters.sessionsCreated, 1);
  assert.equal(late.sessions.get("gone")?.channel, channel);
});

test("a session that ends with its connection after all is not there after a crash", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  one.connect("c", { expiryMs: day });
  await settle(one);
  subscribe(sessionOf(one), "t", 1);
  one.disconnect("c");
  one.publish("t", "m1", 1);
  await settle(one);
  const { channel } = one.connect("c", { expiryMs: 0, clean: false });
  await settle(one);
  assert.deepEqual(channel.take(), ["m1 q1 id1"]);
  const after = world({}, store.copy());
  await after.load();
  await settle(after);
  assert.equal(after.sessions.size, 0);
  assert.deepEqual(await storeOf(after).partitions(""), []);
});

test("another owner in the store: the session is not ours any more", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  const { channel } = one.connect("c", { expiryMs: day });
  await settle(one);
  subscribe(sessionOf(one), "t", 1);
  await settle(one);
  const take = [{ kind: "put", key: "meta", value: Buffer.alloc(1) }] as const;
  await store.write([{ partition: "session/c", operations: take, fence: 1_000_000 }]);
  const sent = one.publish("t", "m1", 1);
  assert.equal(sent.pending, 1);
  await settle(one);
  assert.equal(one.sessions.size, 0);
  // Its publisher does not wait for ever, and is not told that it is stored.
  assert.deepEqual([sent.pending, sent.refused], [0, ReasonCode.QuotaExceeded]);
  assert.ok(channel.take().includes("close 142"));
  assert.equal(one.sessions.counters.fenced, 1);
});

test("who comes for a session before what its client had sent is published again waits for that", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  one.connect("publisher", { expiryMs: day });
  await settle(one);
  const sent = message("t", "m", 2, one.router.topics);
  sent.packetId = 9;
  one.sessions.get("publisher")?.journal?.publish(sent);
  await settle(one);
  const after = world({}, store.copy());
  await after.sessions.load(() => undefined);
  const said: string[] = [];
  after.sessions.settle("publisher", () => said.push("settled"));
  after.sessions.settle("another", () => said.push("another"));
  const { router } = after;
  const publish = router.publish.bind(router);
  router.publish = (again) => {
    said.push("published");
    publish(again);
  };
  await after.sessions.publishRecovered();
  assert.deepEqual(said, ["another", "published", "settled"]);
});

test("a session that begins where a later owner has written is refused, with this claim", async () => {
  const store = new CrashStore();
  await store.write([{ partition: "session/c", operations: [], fence: 1_000_000 }]);
  const one = world({}, store);
  const outcomes: ConnectOutcome[] = [];
  const request = { clientId: "c", user: "", access: null, rules: null, clean: false };
  const more = { expiryMs: day, receiveMaximum: 10, will: null };
  one.sessions.connect({ ...request, ...more }, new FakeChannel(), (outcome) => {
    outcomes.push(outcome);
  });
  await settle(one);
  assert.deepEqual(outcomes, [{ session: null, reason: ReasonCode.ServerUnavailable }]);
  assert.deepEqual(one.reports, ["released c false"]);
});

test("what comes again before it is stored is accepted when it is: who sends it may be the only one who has it", async () => {
  const one = world({}, new CrashStore());
  one.connect("c", { expiryMs: day });
  await settle(one);
  subscribe(sessionOf(one), "t", 2);
  one.disconnect("c");
  await settle(one);
  const publish = (): Message => {
    const sent = message("t", "once", 2, one.router.topics);
    sent.origin = { name: "peer@host/qos2", incarnation: 5 };
    sent.identity = 1;
    one.router.publish(sent);
    return sent;
  };
  const copies = [publish(), publish()];
  assert.deepEqual(
    copies.map(({ pending }) => pending),
    [1, 1],
  );
  await settle(one);
  copies.push(publish());
  assert.deepEqual(
    copies.map(({ pending }) => pending),
    [0, 0, 0],
  );
  assert.equal(sessionOf(one).queued, 1);
  assert.equal(one.sessions.counters.droppedRepeats, 2);
});

test("marks: forwards of a peer that come again after a crash are dropped; of a group those that were taken", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  one.connect("c", { expiryMs: day });
  await settle(one);
  const filters = ["t", "$share/g/t"];
  for (const filter of filters) subscribe(sessionOf(one), filter, 1);
  const forward = (node: World, number: number, incarnation = 5): Message => {
    const sent = message("t", `f${number}`, 2, node.router.topics);
    sent.origin = { name: "peer@host", incarnation };
    sent.identity = number;
    node.router.publish(sent);
    return sent;
  };
  one.disconnect("c");
  for (const number of [1, 2, 4]) forward(one, number);
  await settle(one);
  // Its own copy and that of the group.
  assert.equal(sessionOf(one).queued, 6);
  const after = world({}, store.copy());
  await after.load();
  for (const number of [2, 4]) assert.equal(forward(after, number).pending, 0);
  // As a member of the group it may be chosen for what another one had taken before the crash.
  assert.equal(forward(after, 3).pending, 1);
  forward(after, 5);
  // What is dropped is accepted with what was taken before.
  assert.equal(forward(after, 9, 4).pending, 2);
  forward(after, 1, 6);
  assert.equal(after.sessions.get("c")?.queued, 12);
  assert.equal(after.sessions.counters.droppedRepeats, 6);
});

test("a share group's messages on disk go to a member that is connected, or to anybody when the session ends", async () => {
  const store = new CrashStore();
  const one = world({}, store);
  for (const id of ["c", "other"]) {
    one.connect(id, { expiryMs: day });
    await settle(one);
    subscribe(one.sessions.get(id) as Session, "$share/g/t", 1);
    one.disconnect(id);
  }
  await settle(one);
  for (let i = 1; i <= 20; i++) one.publish("t", `m${i}`, 1);
  await settle(one);
  const after = world({}, store.copy());
  await after.load();
  const held = (id: string): number => after.sessions.get(id)?.queued ?? 0;
  assert.equal(held("c") + held("other"), 20);
  assert.ok(held("c") > 0);
  after.sessions.delete("c");
  await settle(after);
  assert.equal(held("other"), 20);
  const { channel } = after.connect("other", { expiryMs: day, clean: false });
  await settle(after);
  assert.equal(new Set(channel.take().map((line) => line.split(" ")[0])).size, 20);
  assert.deepEqual(await storeOf(after).partitions(""), ["session/other"]);
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
