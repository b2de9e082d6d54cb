/** What clients see while the store takes nothing, and when it takes everything again. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Backoff } from "../../src/lib/backoff.js";
import { realClock } from "../../src/lib/clock.js";
import { createLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { Commits } from "../../src/store/commits.js";
import { ToldStore } from "../store/support.js";
import { testBroker, type TestBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

interface Stalling {
  readonly broker: TestBroker;
  readonly store: ToldStore;
  /** Nothing fits any more; resolves when the node has noticed. */
  fill(): Promise<void>;
  empty(): Promise<void>;
}

const stallMs = 400;
const full = { kind: "full", why: "no space" } as const;
const persistent = { clientId: "away", clean: false } as const;

async function stalling(t: TestContext): Promise<Stalling> {
  const store = new ToldStore();
  let onStall = (_stalled: boolean): void => undefined;
  const commits = new Commits({
    ...{ store, clock: realClock, intervalMs: 0, slowMs: 10_000 },
    backoff: new Backoff(realRandom, 10, 20),
    onStalled: (failure) => onStall(failure !== null),
    onBroken: ({ why }) => assert.fail(why),
  });
  const parts = { store, commits, clock: realClock, log: createLog("error") };
  const broker = await testBroker(t, {
    settings: { store: { stall_timeout: stallMs } },
    journals: { ...parts, incarnation: () => 1 },
  });
  onStall = (stalled) => broker.frontEnd.stallWatch.setStalled(stalled);
  t.after(() => commits.close());
  const away = await MqttClient.connect(t, broker.port, persistent);
  await away.subscribe("kept", 1);
  away.destroy();
  return {
    broker,
    store,
    fill: async () => {
      store.failures.set("*", full);
      const client = await MqttClient.connect(t, broker.port, { clientId: "filler" });
      client.publish("any", "x", { qos: 1, messageId: 1, retain: true });
      await eventually(() => commits.stalled !== null, "the stall");
    },
    empty: async () => {
      store.failures.clear();
      await eventually(() => commits.stalled === null, "the end of the stall");
    },
  };
}

test("MQTT 5: what is due to something durable gets 0x97, all else goes on", async (t) => {
  const { broker, fill, empty } = await stalling(t);
  const client = await MqttClient.connect(t, broker.port, { version: 5, clientId: "five" });
  const other = await MqttClient.connect(t, broker.port, { version: 5, clientId: "other" });
  await other.subscribe("#", 1);
  await fill();
  client.publish("kept", "1", { qos: 1, messageId: 1 });
  assert.equal((await client.expect("puback")).reasonCode, 0x97);
  client.publish("kept", "2", { qos: 2, messageId: 2 });
  assert.equal((await client.expect("pubrec")).reasonCode, 0x97);
  client.publish("other", "3", { qos: 1, messageId: 3, retain: true });
  assert.equal((await client.expect("puback")).reasonCode, 0x97);
  assert.equal(broker.router.counters.refusedStalled, 3);
  // Nothing of these was delivered to anybody; what needs no store is.
  client.publish("other", "4", { qos: 1, messageId: 4 });
  client.publish("kept", "5");
  assert.equal((await client.expect("puback")).reasonCode ?? 0, 0);
  const seen: string[] = [];
  while (seen.length < 3) seen.push(String((await other.expect("publish")).payload));
  assert.deepEqual(seen, ["x", "4", "5"]);
  await empty();
  client.publish("kept", "6", { qos: 1, messageId: 6 });
  assert.equal((await client.expect("puback")).reasonCode ?? 0, 0);
});

test("MQTT 3: no acknowledgement, and the connection is closed after the time-out", async (t) => {
  const { broker, fill } = await stalling(t);
  const client = await MqttClient.connect(t, broker.port, { clientId: "four" });
  const idle = await MqttClient.connect(t, broker.port, { clientId: "idle" });
  await fill();
  client.publish("kept", "1", { qos: 1, messageId: 1 });
  await client.closed();
  assert.ok(broker.frontEnd.stallWatch.counters.closedStalled > 0);
  idle.send({ cmd: "pingreq" });
  await idle.expect("pingresp");
});

test("the session that a publish was for belongs to another node now: v5 gets 0x97, v3 is closed in time", async (t) => {
  const { broker, store } = await stalling(t);
  const three = await MqttClient.connect(t, broker.port, { clientId: "three" });
  const idle = await MqttClient.connect(t, broker.port, { clientId: "idle" });
  store.failures.set("session/away", { kind: "fenced", why: "another owner" });
  const five = await MqttClient.connect(t, broker.port, { version: 5, clientId: "five" });
  three.publish("kept", "1", { qos: 1, messageId: 1 });
  five.publish("kept", "2", { qos: 1, messageId: 1 });
  assert.equal((await five.expect("puback")).reasonCode, 0x97);
  // It is served meanwhile, in the order of its publishes.
  three.publish("other", "3", { qos: 1, messageId: 2 });
  assert.equal((await three.expect("puback")).messageId, 2);
  await three.closed();
  const { counters } = broker.frontEnd.stallWatch;
  assert.deepEqual([broker.frontEnd.sessions.counters.fenced, counters.closedStalled], [1, 1]);
  idle.send({ cmd: "pingreq" });
  await idle.expect("pingresp");
});

test("a publish that was under way when the stall began: its client is closed, not acknowledged", async (t) => {
  const { broker, fill } = await stalling(t);
  await fill();
  // The filler's own publish was one.
  const filler = (): boolean => broker.frontEnd.sessions.get("filler") === undefined;
  await eventually(filler, "the close of the client that waits");
});

test("CONNECT that needs the store gets 0x88, SUBSCRIBE 0x97; others are served", async (t) => {
  const { broker, fill, empty } = await stalling(t);
  const kept5 = { version: 5, properties: { sessionExpiryInterval: 1000 } } as const;
  const kept = await MqttClient.connect(t, broker.port, {
    ...kept5,
    clientId: "kept",
    clean: true,
  });
  await fill();
  const refused = await MqttClient.open(t, broker.port);
  const connack = await refused.handshake({ ...kept5, clientId: "new", clean: true });
  assert.equal(connack.reasonCode, 0x88);
  await refused.closed();
  const three = await MqttClient.open(t, broker.port);
  assert.equal((await three.handshake({ clientId: "three", clean: false })).returnCode, 3);
  const will = { topic: "w", payload: Buffer.from("x"), qos: 1, retain: false } as const;
  const dying = await MqttClient.open(t, broker.port);
  assert.equal((await dying.handshake({ clientId: "dying", will })).returnCode, 3);
  const subscriptions = [{ topic: "s", qos: 1 }] as const;
  kept.send({ cmd: "subscribe", messageId: 5, subscriptions: [...subscriptions] });
  assert.deepEqual((await kept.expect("suback")).granted, [0x97]);
  kept.send({ cmd: "unsubscribe", messageId: 6, unsubscriptions: ["s"] });
  assert.deepEqual((await kept.expect("unsuback")).granted, [0x83]);
  const plain = await MqttClient.connect(t, broker.port, { clientId: "plain" });
  await plain.subscribe("s", 1);
  await empty();
  await MqttClient.connect(t, broker.port, { ...kept5, clientId: "new", clean: true });
});

test("CONNACK of a client with a will, and PUBACK of a retained message, leave after the commit", async (t) => {
  const { broker, store } = await stalling(t);
  const publisher = await MqttClient.connect(t, broker.port, { clientId: "publisher" });
  store.closeGate();
  const will = { topic: "w", payload: Buffer.from("x"), qos: 1, retain: false } as const;
  const client = await MqttClient.open(t, broker.port);
  client.sendConnect({ clientId: "mortal", will });
  publisher.publish("r", "x", { qos: 1, messageId: 1, retain: true });
  await eventually(() => broker.frontEnd.connected >= 2, "the connection of the mortal");
  await publisher.quiet();
  await publisher.quiet();
  assert.equal(broker.frontEnd.sessions.get("mortal"), undefined);
  assert.equal((await store.partitions("will/")).length, 0);
  store.openGate();
  await client.expect("connack");
  await publisher.expect("puback");
  assert.equal((await store.partitions("will/")).length, 1);
  assert.equal((await store.partitions("retained/")).length, 1);
});

test("a QoS 2 publish that was refused behind one under way is taken when it comes again", async (t) => {
  const { broker, store, fill, empty } = await stalling(t);
  const again = { clientId: "again", clean: false } as const;
  const first = await MqttClient.connect(t, broker.port, again);
  const { counters, sessions } = broker.frontEnd;
  store.failures.set("*", full);
  first.publish("kept", "under way", { qos: 2, messageId: 1 });
  await eventually(() => counters.receivedQos2 === 1, "the first");
  await fill();
  first.publish("kept", "refused", { qos: 2, messageId: 2 });
  await eventually(() => counters.receivedQos2 === 2, "the second");
  first.destroy();
  await eventually(() => sessions.get("again")?.channel === null, "its end");
  await empty();
  const second = await MqttClient.connect(t, broker.port, again);
  second.publish("kept", "under way", { qos: 2, messageId: 1, dup: true });
  second.publish("kept", "refused", { qos: 2, messageId: 2, dup: true });
  await second.expect("pubrec");
  await second.expect("pubrec");
  assert.equal(sessions.get("away")?.queued, 2);
});
