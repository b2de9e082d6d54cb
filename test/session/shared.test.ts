/** What becomes of a share group's messages when the member that had them goes away. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { WillPacket } from "../../src/protocol/packets.js";
import type { FakeChannel, World } from "./support.js";
import { subscribe, world } from "./support.js";

const key = "$share/g/t";

/** A member that is connected. */
function join(
  one: World,
  clientId: string,
  qos: 0 | 1 | 2,
  options: { readonly expiryMs?: number; readonly receiveMaximum?: number } = {},
): FakeChannel {
  const { session, channel } = one.connect(clientId, options);
  subscribe(session, key, qos);
  return channel;
}

const shared = (one: World) => one.router.shared.counters;

test("a clean session keeps in flight what is of a group, and only that", () => {
  const one = world();
  const { session, channel } = one.connect("m");
  subscribe(session, key, 1);
  subscribe(session, "own", 1);
  for (let i = 0; i < 40; i++) {
    one.publish("own", "own", 1);
    one.publish("t", `${i}`, 1);
  }
  assert.equal(channel.take().length, 80);
  assert.equal(session.window.inFlight, 80);
  const kept = [...session.window.ids()].map((id) => session.window.messageOf(id) !== null);
  assert.deepEqual(
    kept,
    Array.from({ length: 80 }, (_, i) => i % 2 === 1),
  );
  for (let id = 1; id <= 80; id++) session.onPuback(id);
  assert.equal(session.window.keptBytes, 0);
});

test("QoS 1 that was not acknowledged goes to another member when the session ends", () => {
  const one = world();
  join(one, "first", 1);
  one.publish("t", "acknowledged", 1);
  one.sessions.get("first")?.onPuback(1);
  one.publish("t", "open", 1);
  const second = join(one, "second", 1);
  one.disconnect("first");
  assert.deepEqual(second.take(), ["open q1 id1"]);
  assert.equal(shared(one).redispatched, 1);
  assert.equal(one.sessions.counters.droppedSessionEnd, 0);
});

test("QoS 2 that was sent goes to nobody else when the session ends [MQTT-4.8.2-5]", () => {
  const one = world();
  join(one, "first", 2, { receiveMaximum: 2 });
  for (const payload of ["sent", "received", "never sent"]) one.publish("t", payload, 2);
  const second = join(one, "second", 2);
  one.sessions.get("first")?.onPubrec(2, 0);
  one.disconnect("first");
  assert.deepEqual(second.take(), ["never sent q2 id1"]);
  assert.equal(one.sessions.counters.droppedSessionEnd, 2);
});

test("a session that goes on gives away QoS 1 and what was never sent, in their order", () => {
  const one = world();
  join(one, "first", 2, { expiryMs: 60_000, receiveMaximum: 3 });
  one.publish("t", "a", 1);
  one.publish("t", "b", 2);
  one.publish("t", "c", 1);
  one.publish("t", "d", 2);
  one.publish("t", "e", 1);
  const second = join(one, "second", 2);
  one.disconnect("first");
  assert.deepEqual(
    second.take().map((line) => line.slice(0, 4)),
    ["a q1", "c q1", "d q2", "e q1"],
  );
  // The QoS 2 message is completed with the member that it was sent to [MQTT-4.8.2-4].
  const { channel } = one.connect("first", { expiryMs: 60_000, clean: false });
  assert.deepEqual(channel.take(), ["b q2 id2 dup"]);
  assert.deepEqual(second.take(), []);
});

test("with no other member connected a session keeps its messages", () => {
  const one = world();
  join(one, "first", 1, { expiryMs: 60_000, receiveMaximum: 1 });
  join(one, "away", 1, { expiryMs: 60_000 });
  one.disconnect("away");
  one.publish("t", "a", 1);
  one.publish("t", "b", 1);
  one.disconnect("first");
  assert.equal(shared(one).redispatched, 0);
  const { channel } = one.connect("first", { expiryMs: 60_000, clean: false });
  assert.deepEqual(channel.take(), ["a q1 id1 dup", "b q1 id2"]);
});

test("a session that ends gives even to members that are away; with none the messages are lost", () => {
  const one = world();
  join(one, "away", 1, { expiryMs: 60_000 });
  join(one, "first", 1);
  one.disconnect("away");
  one.publish("t", "a", 1);
  one.disconnect("first");
  assert.equal(one.sessions.get("away")?.queued, 1);
  const { session, channel } = one.connect("away", { expiryMs: 60_000, clean: false });
  assert.deepEqual(channel.take(), ["a q1 id1"]);
  one.router.unsubscribe(session, key);
  session.subscriptions.clear();
  assert.ok(one.sessions.delete("away"));
  assert.equal(one.sessions.counters.droppedSessionEnd, 1);
});

test("members without connection get messages only while nobody is connected", () => {
  const one = world();
  join(one, "away", 1, { expiryMs: 60_000 });
  one.disconnect("away");
  one.publish("t", "a", 1);
  const here = join(one, "here", 1);
  for (let i = 0; i < 10; i++) one.publish("t", "b", 1);
  assert.equal(here.take().length, 10);
  assert.equal(one.sessions.get("away")?.queued, 1);
  one.disconnect("here");
  assert.equal(one.sessions.get("away")?.queued, 11);
  const back = one.connect("away", { expiryMs: 60_000, clean: false }).channel;
  assert.equal(back.take().length, 11);
});

test("one that the client refuses is discarded [MQTT-4.8.2-6]", () => {
  const one = world();
  join(one, "first", 2);
  one.publish("t", "one", 1);
  one.publish("t", "two", 2);
  const second = join(one, "second", 2);
  one.sessions.get("first")?.onPuback(1);
  one.sessions.get("first")?.onPubrec(2, 0x97);
  one.disconnect("first");
  assert.deepEqual(second.take(), []);
});

test("parked messages go too, and their publisher waits until the other one has them", () => {
  const one = world({ limits: { session_queue_messages: 1 } });
  join(one, "first", 1, { receiveMaximum: 1 });
  one.publish("t", "in flight", 1);
  one.publish("t", "queued", 1);
  const parked = one.publish("t", "parked", 1);
  assert.equal(parked.pending, 1);
  const second = join(one, "second", 1);
  one.disconnect("first");
  assert.equal(second.take().length, 3);
  assert.equal(parked.pending, 0);
});

test("a message of a group that UNSUBSCRIBE left in flight still goes to another member", () => {
  const one = world();
  join(one, "first", 1);
  one.publish("t", "open", 1);
  const second = join(one, "second", 1);
  const session = one.sessions.get("first");
  assert.ok(session !== undefined);
  session.subscriptions.delete(key);
  one.router.unsubscribe(session, key);
  one.disconnect("first");
  assert.deepEqual(second.take(), ["open q1 id1"]);
});

test("a will is not for the member whose connection is lost", () => {
  const one = world();
  const second = join(one, "second", 1);
  const will: WillPacket = {
    ...{ topic: "t", payload: Buffer.from("w"), qos: 0, retain: false, properties: null },
    ...{ delaySeconds: 0, expirySeconds: undefined, payloadIsText: false },
  };
  for (let i = 0; i < 20; i++) {
    const first = one.connect("first", { clean: false }).session;
    subscribe(first, key, 1);
    first.will = will;
    one.disconnect("first");
  }
  assert.deepEqual(second.take(), new Array<string>(20).fill("w q0 id0"));
  assert.equal(one.sessions.counters.droppedOffline, 0);
});
