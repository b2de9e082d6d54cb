/** Replay of retained messages: its pace, what is changed meanwhile, lost connections, subscriptions that end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Message } from "../../src/routing/message.js";
import { stepsPerShare, stepsPerTurn } from "../../src/session/replay-turns.js";
import { replayOf } from "../../src/session/replays.js";
import type { Session } from "../../src/session/session.js";
import { type FakeChannel, subscribe, type World, world } from "./support.js";

/** Publishes a retained message; without payload it deletes. */
function retain({ router }: World, topic: string, payload: string, qos: 0 | 1 | 2 = 1): void {
  const bytes = Buffer.from(payload);
  const record = router.topics.internName(topic);
  router.publish(new Message(record, qos, true, "p", bytes, 0, 0, 0, bytes.length));
}

function retainMany(one: World, count: number): void {
  for (let i = 0; i < count; i++) retain(one, `r/${i % 10}/${i}`, String(i));
}

/** Subscribes and starts the replay, as SUBACK does. */
function replay(session: Session, filter: string, qos: 0 | 1 | 2): void {
  subscribe(session, filter, qos);
  const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
  session.replay(replayOf(session, filter, options));
  session.pump();
}

/** One turn of the event loop. */
const turn = (one: World): void => one.clock.advance(0);

const payloads = (channel: FakeChannel): string[] =>
  channel.take().map((line) => line.split(" ")[0] ?? "");

test("a replay takes its share of a turn and goes on in the next ones, until all is sent once", () => {
  const one = world();
  retainMany(one, 5000);
  const { session, channel } = one.connect("c");
  replay(session, "#", 0);
  assert.ok(channel.said.length <= stepsPerShare);
  let all = payloads(channel);
  let turns = 0;
  while (session.replaying.length > 0) {
    turn(one);
    const sent = payloads(channel);
    assert.ok(sent.length <= stepsPerTurn, `${sent.length} in one turn`);
    all = all.concat(sent);
    assert.ok(++turns < 100);
  }
  assert.deepEqual(
    all.map(Number).sort((a, b) => a - b),
    Array.from({ length: 5000 }, (_, i) => i),
  );
  assert.equal(one.sessions.counters.replayed, 5000);
  assert.equal(one.sessions.replayTurns.length, 0);
});

test("many replays at once share one turn, and none waits for another to end", () => {
  const one = world();
  retainMany(one, 5000);
  const clients = Array.from({ length: 20 }, (_, i) => one.connect(`c${i}`));
  for (const { session } of clients) replay(session, "#", 0);
  const first = clients.map(({ channel }) => payloads(channel).length);
  assert.ok(first.reduce((a, b) => a + b) <= stepsPerTurn);
  const sent = clients.map(() => 0);
  for (let i = 0; i < 3; i++) {
    turn(one);
    const counts = clients.map(({ channel }) => payloads(channel).length);
    assert.ok(counts.reduce((a, b) => a + b) <= stepsPerTurn);
    for (const [index, count] of counts.entries()) sent[index] = (sent[index] ?? 0) + count;
  }
  for (const [index, count] of sent.entries()) assert.ok(count > 0, `c${index} got nothing`);
});

test("live messages do not wait for a replay", () => {
  const one = world();
  retainMany(one, 5000);
  const { session, channel } = one.connect("c");
  replay(session, "#", 1);
  channel.take();
  one.publish("live", "live", 1);
  assert.match(channel.take().join(), /^live q1/);
});

test("what is changed during a replay is sent as it is then, deletions are not sent", () => {
  const one = world();
  for (let i = 0; i < 6; i++) retain(one, `r/${i}`, `old${i}`);
  const { session, channel } = one.connect("c", { receiveMaximum: 1 });
  replay(session, "r/+", 1);
  assert.deepEqual(payloads(channel), ["old0"]);
  // The second is found already, and waits for the window.
  retain(one, "r/1", "new1");
  retain(one, "r/2", "");
  retain(one, "r/3", "new3");
  const seen: string[] = [];
  for (let id = 1; id <= 10; id++) {
    session.onPuback(id);
    turn(one);
    seen.push(...payloads(channel));
  }
  assert.ok(!seen.includes("old1") && !seen.includes("old2") && !seen.includes("old3"));
  const retained = ["new1", "new3", "old4", "old5"];
  for (const payload of retained) assert.ok(seen.includes(payload), `${payload} was not sent`);
});

test("a replay waits while the client does not read, and costs nothing", () => {
  const one = world();
  retainMany(one, 2000);
  const { session, channel } = one.connect("c");
  channel.congested = true;
  replay(session, "#", 0);
  for (let i = 0; i < 5; i++) turn(one);
  assert.deepEqual(channel.take(), []);
  assert.equal(one.sessions.replayTurns.length, 0);
  assert.equal(session.queued, 0);
  channel.congested = false;
  session.pump();
  for (let i = 0; i < 5; i++) turn(one);
  assert.equal(channel.take().length, 2000);
  assert.equal(one.sessions.counters.droppedOutputFull, 0);
});

test("with QoS 1 a replay keeps to the window, whatever is retained", () => {
  const one = world();
  retainMany(one, 1000);
  const { session, channel } = one.connect("c", { receiveMaximum: 10 });
  replay(session, "#", 1);
  for (let i = 0; i < 5; i++) turn(one);
  assert.equal(channel.take().length, 10);
  assert.deepEqual([session.window.inFlight, session.queued], [10, 0]);
  for (let id = 1; id <= 1000; id++) session.onPuback(id);
  turn(one);
  assert.equal(session.window.inFlight, 0);
  assert.equal(channel.take().length, 990);
});

test("a persistent session goes on with its replay when its client is back, a clean one does not", () => {
  const one = world();
  retainMany(one, 30);
  for (const [clientId, expiryMs, rest] of [
    ["kept", 60_000, 20],
    ["clean", 0, 0],
  ] as const) {
    const { session, channel } = one.connect(clientId, { expiryMs, receiveMaximum: 10 });
    replay(session, "#", 1);
    assert.equal(channel.take().length, 10);
    for (let id = 1; id <= 10; id++) session.window.complete(id);
    one.disconnect(clientId);
    assert.deepEqual(session.queued, 0);
    const again = one.connect(clientId, { expiryMs, clean: false });
    turn(one);
    assert.equal(again.channel.take().length, rest, clientId);
  }
});

test("at QoS 0 a replay ends with its connection", () => {
  const one = world();
  retainMany(one, 1000);
  const { session } = one.connect("c", { expiryMs: 60_000 });
  replay(session, "#", 0);
  one.disconnect("c");
  assert.deepEqual(session.replaying, []);
});

test("UNSUBSCRIBE ends a replay [MQTT-3.10.4-2]; a second SUBSCRIBE begins it anew [MQTT-3.8.4-3]", () => {
  const one = world();
  retainMany(one, 1000);
  const { session, channel } = one.connect("c");
  replay(session, "r/#", 0);
  replay(session, "r/#", 0);
  assert.deepEqual(session.replaying, ["r/#"]);
  session.unsubscribe("r/#");
  channel.take();
  turn(one);
  assert.deepEqual(channel.take(), []);
  assert.equal(session.replaying.length, 0);
});
