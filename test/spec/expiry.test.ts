/** Message expiry: it counts down wherever a message waits, and nothing expired is sent [MQTT5 3.3.2.3.3]. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type Settings, testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";
import { ShiftedClock } from "../support/shifted-clock.js";

const five = { version: 5 } as const;
const kept = {
  ...five,
  clientId: "c",
  clean: false,
  properties: { sessionExpiryInterval: 1000 },
} as const;
const expiring = (seconds: number) => ({ properties: { messageExpiryInterval: seconds } });

async function start(t: TestContext, settings: Settings = {}) {
  const clock = new ShiftedClock();
  const broker = await testBroker(t, { clock, settings });
  const publisher = await MqttClient.connect(t, broker.port, five);
  /** Publishes at QoS 1 and waits for the answer. */
  const publish = async (topic: string, payload: string, options: object = {}): Promise<void> => {
    publisher.publish(topic, payload, { qos: 1, messageId: 1, ...options });
    await publisher.expect("puback");
  };
  /** A persistent client that subscribed "t" and is gone. */
  const subscribeAndLeave = async (): Promise<void> => {
    const client = await MqttClient.connect(t, broker.port, kept);
    await client.subscribe("t", 2);
    client.destroy();
    const gone = (): boolean => broker.frontEnd.sessions.get("c")?.channel === null;
    await eventually(gone, "the client to be gone");
  };
  const { counters } = broker.frontEnd.sessions;
  return { ...broker, clock, publisher, publish, subscribeAndLeave, counters };
}

test("the interval reaches a subscriber at once as it was sent, also 0 and the highest", async (t) => {
  const { port, publisher } = await start(t);
  const subscriber = await MqttClient.connect(t, port, five);
  await subscriber.subscribe("t");
  for (const seconds of [0, 1, 0xffff_ffff]) {
    publisher.publish("t", "x", expiring(seconds));
    const { properties } = await subscriber.expect("publish");
    assert.equal(properties?.messageExpiryInterval, seconds);
  }
});

test("it counts down in a queue; what has expired is not sent [MQTT-3.3.2-5, 3.3.2-6]", async (t) => {
  const { port, clock, publish, subscribeAndLeave, counters } = await start(t);
  await subscribeAndLeave();
  await publish("t", "short", expiring(3));
  await publish("t", "long", expiring(10));
  await publish("t", "for ever");
  await publish("t", "none", expiring(0));
  clock.forward(3000);
  const client = await MqttClient.open(t, port);
  client.sendConnect(kept);
  await client.expect("connack");
  client.hex = "";
  // What has expired keeps the packet id that it was due.
  const long = await client.expect("publish");
  assert.deepEqual([long.payload.toString(), long.messageId], ["long", 2]);
  assert.equal(long.properties?.messageExpiryInterval, 7);
  const forever = await client.expect("publish");
  assert.deepEqual([forever.messageId, { ...forever.properties }], [3, {}]);
  await client.quiet();
  assert.equal(counters.droppedExpired, 2);
});

test("a queued message is patched in place, byte for byte", async (t) => {
  const { port, clock, publisher, subscribeAndLeave } = await start(t);
  await subscribeAndLeave();
  // Format 1, expiry 70,000 s, content type "t".
  const head = [0x32, 19, 0, 1, 0x74, 0, 9, 11, 0x01, 1, 0x02];
  const tail = [0x03, 0, 1, 0x74, 0x68, 0x69];
  publisher.raw([...head, 0, 1, 0x11, 0x70, ...tail]);
  await publisher.expect("puback");
  clock.forward(5000);
  const client = await MqttClient.open(t, port);
  client.hex = "";
  client.sendConnect(kept);
  await client.expect("connack");
  await client.expect("publish");
  const left = [0, 1, 0x11, 0x6b]; // 69,995
  const sent = [...head.slice(0, 5), 0, 1, ...head.slice(7), ...left, ...tail];
  assert.ok(client.hex?.endsWith(Buffer.from(sent).toString("hex")), `${client.hex}`);
});

test("MQTT 3 subscribers get no expired message either", async (t) => {
  const { port, clock, publish, counters } = await start(t);
  const old = { clientId: "o", clean: false } as const;
  const first = await MqttClient.connect(t, port, old);
  await first.subscribe("t", 1);
  first.send({ cmd: "disconnect" });
  await first.closed();
  await publish("t", "short", expiring(3));
  await publish("t", "long", expiring(10));
  clock.forward(5000);
  const again = await MqttClient.connect(t, port, old);
  assert.equal((await again.expect("publish")).payload.toString(), "long");
  await again.quiet();
  assert.equal(counters.droppedExpired, 1);
});

test("what was on its way already is sent again with what is left [MQTT-4.4.0-1]", async (t) => {
  const { port, clock, publish } = await start(t);
  const first = await MqttClient.connect(t, port, kept);
  await first.subscribe("t", 1);
  await publish("t", "one", expiring(9));
  await publish("t", "two", expiring(3));
  await first.expect("publish");
  await first.expect("publish");
  first.destroy();
  clock.forward(5000);
  const again = await MqttClient.connect(t, port, kept);
  for (const left of [4, 0]) {
    const got = await again.expect("publish");
    assert.deepEqual([got.dup, got.properties?.messageExpiryInterval], [true, left]);
  }
});

test("a message waiting for the client's window expires there too", async (t) => {
  const { port, clock, publish, counters } = await start(t);
  const properties = { receiveMaximum: 1 };
  const client = await MqttClient.connect(t, port, { ...five, properties });
  await client.subscribe("t", 1);
  await publish("t", "first");
  await publish("t", "late", expiring(2));
  await publish("t", "in time", expiring(20));
  assert.equal((await client.expect("publish")).payload.toString(), "first");
  clock.forward(3000);
  client.ack("puback", 1);
  const got = await client.expect("publish");
  assert.deepEqual([got.payload.toString(), got.messageId], ["in time", 3]);
  assert.equal(got.properties?.messageExpiryInterval, 17);
  assert.equal(counters.droppedExpired, 1);
});

test("a full queue loses what has expired before anything else", async (t) => {
  const settings = { limits: { session_queue_messages: 3 } };
  const { port, clock, publish, subscribeAndLeave, counters } = await start(t, settings);
  await subscribeAndLeave();
  await publish("t", "a");
  await publish("t", "b", expiring(2));
  await publish("t", "c");
  clock.forward(3000);
  await publish("t", "d");
  assert.deepEqual([counters.droppedExpired, counters.droppedQueueFull], [1, 0]);
  await publish("t", "e");
  assert.deepEqual([counters.droppedExpired, counters.droppedQueueFull], [1, 1]);
  const client = await MqttClient.connect(t, port, kept);
  for (const payload of ["c", "d", "e"]) {
    assert.equal((await client.expect("publish")).payload.toString(), payload);
  }
});

test("a retained message counts down, and goes when it has expired", async (t) => {
  const { port, clock, publish, router } = await start(t);
  await publish("r/short", "x", { retain: true, ...expiring(10) });
  await publish("r/long", "x", { retain: true, ...expiring(30) });
  await publish("r/none", "x", { retain: true, ...expiring(0) });
  assert.equal(router.retained.size, 2);
  clock.forward(4000);
  const subscriber = await MqttClient.connect(t, port, five);
  await subscriber.subscribe("r/short");
  const got = await subscriber.expect("publish");
  assert.deepEqual([got.retain, got.properties?.messageExpiryInterval], [true, 6]);
  clock.forward(6001);
  await subscriber.subscribe("r/+", 0, { messageId: 2 });
  assert.equal((await subscriber.expect("publish")).topic, "r/long");
  await subscriber.quiet();
  assert.equal(router.retained.sweepExpired(), 1);
  assert.deepEqual([router.retained.size, router.retained.counters.expired], [1, 1]);
  assert.equal(router.retained.get("r/short")?.message, null);
});

test("limits.retained_ttl ends what would stay longer, and shows no interval", async (t) => {
  const settings = { limits: { retained_ttl: "20s" } };
  // The unit is the settings' own.
  const { port, clock, publish, router } = await start(t, settings as unknown as Settings);
  await publish("r/for-ever", "x", { retain: true });
  await publish("r/long", "x", { retain: true, ...expiring(100) });
  await publish("r/short", "x", { retain: true, ...expiring(5) });
  clock.forward(4500);
  const subscriber = await MqttClient.connect(t, port, five);
  await subscriber.subscribe("r/+");
  const left = new Map<string, number | undefined>();
  for (let i = 0; i < 3; i++) {
    const { topic, properties } = await subscriber.expect("publish");
    left.set(topic, properties?.messageExpiryInterval);
  }
  assert.deepEqual(
    [left.get("r/for-ever"), left.get("r/long"), left.get("r/short")],
    [undefined, 16, 1],
  );
  clock.forward(16_000);
  await subscriber.subscribe("#", 0, { messageId: 2 });
  await subscriber.quiet();
  router.retained.sweepExpired();
  assert.equal(router.retained.size, 0);
});

test("expired retained messages make room for others", async (t) => {
  const settings = { limits: { retained_messages: 2 } };
  const { clock, publish, publisher, router } = await start(t, settings);
  await publish("a", "x", { retain: true, ...expiring(5) });
  await publish("b", "x", { retain: true });
  publisher.publish("c", "x", { qos: 1, messageId: 1, retain: true });
  assert.equal((await publisher.expect("puback")).reasonCode, 0x97);
  clock.forward(6000);
  publisher.publish("c", "x", { qos: 1, messageId: 1, retain: true });
  assert.equal((await publisher.expect("puback")).reasonCode, 0x10);
  assert.equal(router.retained.size, 2);
});

test("a will's interval begins when the will is published [MQTT-3.1.3.2.4]", async (t) => {
  const { port, clock, frontEnd } = await start(t);
  const watcher = await MqttClient.connect(t, port, five);
  await watcher.subscribe("w");
  const properties = { messageExpiryInterval: 8, willDelayInterval: 0, contentType: "x" };
  const will = {
    topic: "w",
    payload: Buffer.from("gone"),
    qos: 0,
    retain: true,
    properties,
  } as const;
  const client = await MqttClient.connect(t, port, { ...five, will });
  clock.forward(60_000);
  client.destroy();
  const got = await watcher.expect("publish");
  assert.deepEqual({ ...got.properties }, { messageExpiryInterval: 8, contentType: "x" });
  await eventually(() => frontEnd.connected === 2, "the client to be gone");
  clock.forward(5000);
  await watcher.subscribe("w", 0, { messageId: 2 });
  assert.equal((await watcher.expect("publish")).properties?.messageExpiryInterval, 3);
  clock.forward(3000);
  await watcher.subscribe("w", 0, { messageId: 3 });
  await watcher.quiet();
});

test("a share group's message that has expired goes to no other member", async (t) => {
  const { port, clock, publish } = await start(t);
  const properties = { receiveMaximum: 1 };
  const first = await MqttClient.connect(t, port, { ...five, properties });
  await first.subscribe("$share/g/t", 1);
  await publish("t", "sent");
  await publish("t", "late", expiring(2));
  await publish("t", "in time", expiring(20));
  await first.expect("publish");
  const other = await MqttClient.connect(t, port, five);
  await other.subscribe("$share/g/t", 1);
  clock.forward(5000);
  first.send({ cmd: "disconnect" });
  await first.closed();
  assert.equal((await other.expect("publish")).payload.toString(), "sent");
  const got = await other.expect("publish");
  assert.equal(got.payload.toString(), "in time");
  assert.equal(got.properties?.messageExpiryInterval, 15);
  await other.quiet();
});
