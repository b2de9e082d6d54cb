/** Sessions: window, queue and its limits, back-pressure, resuming, expiry. No network. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { subscribe, world } from "./support.js";

const day = 86_400_000;

test("QoS 1 beyond the client's Receive Maximum waits and follows each PUBACK [MQTT-3.3.4-9]", () => {
  const { connect, publish, sessions } = world();
  const { session, channel } = connect("c", { receiveMaximum: 2 });
  subscribe(session, "t", 1);
  for (let i = 1; i <= 5; i++) assert.equal(publish("t", `m${i}`, 1).pending, 0);
  assert.deepEqual(channel.take(), ["m1 q1 id1", "m2 q1 id2"]);
  session.onPuback(2);
  assert.deepEqual(channel.take(), ["m3 q1 id3"]);
  session.onPuback(2);
  session.onPuback(99);
  assert.deepEqual(channel.take(), []);
  session.onPuback(1);
  session.onPuback(3);
  assert.deepEqual(channel.take(), ["m4 q1 id4", "m5 q1 id5"]);
  assert.equal(sessions.counters.queued, 3);
});

test("QoS 0 does not wait, and is dropped and counted when the output is full", () => {
  const { connect, publish, sessions } = world();
  const { session, channel } = connect("c", { receiveMaximum: 1 });
  subscribe(session, "t", 2);
  publish("t", "a", 1);
  publish("t", "b", 1);
  publish("t", "zero", 0);
  assert.deepEqual(channel.take(), ["a q1 id1", "zero q0 id0"]);
  channel.congested = true;
  publish("t", "lost", 0);
  session.onPuback(1);
  assert.deepEqual(channel.take(), []);
  assert.equal(sessions.counters.droppedOutputFull, 1);
  channel.congested = false;
  session.pump();
  assert.deepEqual(channel.take(), ["b q1 id2"]);
});

test("a full queue of a client that is away loses the oldest, counted", () => {
  const { connect, publish, disconnect, sessions } = world({
    limits: { session_queue_messages: 3 },
  });
  const { session } = connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  disconnect("c");
  for (let i = 1; i <= 5; i++) assert.equal(publish("t", `m${i}`, 1).pending, 0);
  publish("t", "zero", 0);
  assert.equal(sessions.counters.droppedQueueFull, 2);
  assert.equal(sessions.counters.droppedOffline, 1);
  const { channel } = connect("c", { expiryMs: day });
  assert.deepEqual(channel.take(), ["m3 q1 id1", "m4 q1 id2", "m5 q1 id3"]);
});

test("a queue full of bytes loses as many of the oldest as must go", () => {
  const { connect, publish, disconnect, sessions } = world({
    limits: { session_queue_bytes: 1024 },
  });
  const { session } = connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  disconnect("c");
  for (let i = 1; i <= 3; i++) publish("t", `${i}`.repeat(300), 1);
  assert.equal(session.queue?.bytes, 903);
  publish("t", "4".repeat(600), 1);
  assert.equal(sessions.counters.droppedQueueFull, 2);
  assert.equal(session.queue?.bytes, 902);
  // One that could never fit is refused and takes nothing with it.
  publish("t", "5".repeat(1024), 1);
  assert.equal(sessions.counters.droppedQueueFull, 3);
  assert.equal(session.queued, 2);
});

test("a full queue of a client that is alive delays acceptance", () => {
  const { connect, publish, clock, sessions } = world({ limits: { session_queue_messages: 2 } });
  const { session, channel } = connect("c", { receiveMaximum: 1 });
  subscribe(session, "t", 1);
  const sent = [1, 2, 3, 4, 5].map((i) => publish("t", `m${i}`, 1));
  const accepted: number[] = [];
  for (const [index, one] of sent.entries()) {
    one.sink = { onAccepted: () => void accepted.push(index + 1) };
  }
  assert.deepEqual(
    sent.map((one) => one.pending),
    [0, 0, 0, 1, 1],
  );
  assert.equal(sessions.counters.parked, 2);
  assert.equal(session.queue?.parked, 2);
  for (let id = 1; id <= 2; id++) {
    clock.advance(900);
    sessions.turn.refresh();
    session.onPuback(id);
    assert.deepEqual(accepted, [4, 5].slice(0, id));
  }
  assert.deepEqual(channel.take(), ["m1 q1 id1", "m2 q1 id2", "m3 q1 id3"]);
  assert.equal(sessions.counters.droppedQueueFull, 0);
});

test("when such a client falls silent for a second, the drop policy takes over", () => {
  const { connect, publish, clock, sessions } = world({ limits: { session_queue_messages: 2 } });
  const { session, channel } = connect("c", { receiveMaximum: 1 });
  subscribe(session, "t", 1);
  const sent = [1, 2, 3, 4, 5].map((i) => publish("t", `m${i}`, 1));
  let accepted = 0;
  for (const one of sent) one.sink = { onAccepted: () => accepted++ };
  clock.advance(700);
  assert.equal(accepted, 0);
  clock.advance(700);
  assert.equal(accepted, 2);
  assert.equal(sessions.counters.droppedQueueFull, 2);
  // Silent: nothing is delayed any more.
  assert.equal(publish("t", "m6", 1).pending, 0);
  assert.equal(sessions.counters.droppedQueueFull, 3);
  channel.take();
  session.onPuback(1);
  session.onPuback(2);
  assert.deepEqual(channel.take(), ["m5 q1 id2", "m6 q1 id3"]);
});

test("parked messages are accepted when their session ends or loses its connection", () => {
  for (const expiryMs of [0, day]) {
    const { connect, publish, disconnect, sessions } = world({
      limits: { session_queue_messages: 1 },
    });
    const { session } = connect("c", { receiveMaximum: 1, expiryMs });
    subscribe(session, "t", 1);
    const sent = [1, 2, 3].map((i) => publish("t", `m${i}`, 1));
    assert.equal(sent[2]?.pending, 1);
    disconnect("c");
    assert.equal(sent[2]?.pending, 0);
    const { droppedQueueFull, droppedSessionEnd } = sessions.counters;
    // Clean: all three are gone. Kept: the oldest of the queue made room.
    assert.equal(droppedQueueFull + droppedSessionEnd, expiryMs === 0 ? 3 : 1);
    assert.equal(sessions.size, expiryMs === 0 ? 0 : 1);
  }
});

test("resuming sends again with DUP, then PUBREL, then what waited [MQTT-4.4.0-1, 4.6.0-1]", () => {
  const { connect, publish, disconnect, sessions } = world();
  const { session, channel } = connect("c", { expiryMs: day });
  subscribe(session, "t", 2);
  publish("t", "a", 1);
  publish("t", "b", 2);
  publish("t", "c", 2);
  session.onPubrec(2, 0);
  assert.deepEqual(channel.take(), ["a q1 id1", "b q2 id2", "c q2 id3", "pubrel 2"]);
  disconnect("c");
  publish("t", "d", 1);
  const { channel: second } = connect("c", { expiryMs: day });
  const expected = ["a q1 id1 dup", "c q2 id3 dup", "pubrel 2", "d q1 id4"];
  assert.deepEqual(second.take(), expected);
  assert.equal(sessions.counters.resent, 2);
  session.onPubcomp(2);
  session.onPubrec(3, 0);
  session.onPubrec(3, 0);
  assert.deepEqual(second.take(), ["pubrel 3", "pubrel 3"]);
  session.onPubcomp(3);
  session.onPuback(1);
  session.onPuback(4);
  assert.equal(session.window.inFlight, 0);
});

test("resuming respects a smaller Receive Maximum", () => {
  const { connect, publish, disconnect } = world();
  const { session } = connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  for (let i = 1; i <= 4; i++) publish("t", `m${i}`, 1);
  disconnect("c");
  const { channel } = connect("c", { expiryMs: day, receiveMaximum: 2 });
  assert.deepEqual(channel.take(), ["m1 q1 id1 dup", "m2 q1 id2 dup"]);
  publish("t", "m5", 1);
  session.onPuback(1);
  session.onPuback(2);
  assert.deepEqual(channel.take(), ["m3 q1 id3 dup", "m4 q1 id4 dup"]);
  session.onPuback(3);
  assert.deepEqual(channel.take(), ["m5 q1 id5"]);
});

test("a message that the client cannot take any more counts as delivered", () => {
  const { connect, publish, disconnect, sessions } = world();
  const { session } = connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  publish("t", "x".repeat(50), 1);
  publish("t", "ok", 1);
  disconnect("c");
  const { channel } = connect("c", { expiryMs: day });
  channel.payloadMax = 10;
  publish("t", "x".repeat(50), 1);
  assert.equal(sessions.counters.droppedTooLarge, 1);
  assert.equal(session.window.inFlight, 2);
});

test("a session that turns clean on resuming is no longer durable", () => {
  const { connect, router, disconnect, sessions } = world();
  const { session } = connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  assert.deepEqual(rows(router), [true]);
  disconnect("c");
  connect("c", { expiryMs: 0, clean: false });
  assert.deepEqual(rows(router), [false]);
  disconnect("c");
  assert.equal(sessions.size, 0);
});

test("a session expires, also after days, and is reported", () => {
  const { connect, disconnect, clock, sessions, reports } = world();
  connect("c", { expiryMs: 3 * day });
  disconnect("c");
  clock.advance(2 * day);
  connect("c", { expiryMs: 3 * day });
  clock.advance(4 * day);
  assert.equal(sessions.size, 1);
  disconnect("c");
  clock.advance(3 * day - 1000);
  assert.equal(sessions.size, 1);
  clock.advance(2000);
  assert.equal(sessions.size, 0);
  assert.equal(sessions.counters.sessionsExpired, 1);
  const expected = ["attached c", "released c true", "attached c", "released c true", "changed c"];
  assert.deepEqual(reports, expected);
});

test("displace closes older connections only, and then tells", () => {
  const { connect, sessions, reports } = world();
  const { channel } = connect("c");
  let done = 0;
  sessions.places.displace("c", 1, () => done++);
  assert.equal(channel.isOpen, true);
  sessions.places.displace("c", 2, () => done++);
  assert.deepEqual(channel.take(), ["close 142"]);
  sessions.places.displace("c", 3, () => done++);
  sessions.places.displace("nobody", 3, () => done++);
  assert.equal(done, 4);
  assert.deepEqual(reports, ["attached c", "released c false"]);
  assert.equal(sessions.counters.takenOver, 1);
});

test("entries tell what is here", () => {
  const { connect, disconnect, sessions } = world();
  connect("kept", { expiryMs: day });
  connect("clean");
  disconnect("kept");
  assert.deepEqual(
    [...sessions.places.entries()],
    [
      { clientId: "kept", user: "", connection: null, session: 1 },
      { clientId: "clean", user: "", connection: 2, session: null },
    ],
  );
  assert.equal(sessions.places.entry("nobody"), undefined);
});

test("an operator deletes sessions, connected or not", () => {
  const { connect, disconnect, sessions, reports } = world();
  const { channel } = connect("a", { expiryMs: day });
  connect("b", { expiryMs: day });
  disconnect("b");
  assert.equal(sessions.delete("a"), true);
  assert.deepEqual(channel.take(), ["close 152"]);
  assert.equal(sessions.delete("b"), true);
  assert.equal(sessions.delete("b"), false);
  assert.equal(sessions.size, 0);
  assert.deepEqual(reports.slice(-2), ["changed a", "changed b"]);
});

/** The durable flags of all local subscriptions. */
function rows(router: ReturnType<typeof world>["router"]): boolean[] {
  const flags: boolean[] = [];
  for (const [, entry] of router.index.entries()) {
    if (typeof entry === "number") continue;
    for (const { durable } of entry.local ?? []) flags.push(durable);
  }
  return flags;
}
