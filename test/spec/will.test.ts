/** Wills over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";
import { ShiftedClock } from "../support/shifted-clock.js";

const will = { topic: "w", payload: Buffer.from("gone"), qos: 1, retain: false } as const;

test("a will is published when the connection is lost [MQTT-3.1.2-8]", async (t) => {
  const { port } = await testBroker(t);
  for (const version of [3, 4, 5] as const) {
    const watcher = await MqttClient.connect(t, port, { version: 5 });
    await watcher.subscribe("w", 1);
    const properties = version === 5 ? { contentType: "x", willDelayInterval: 0 } : {};
    const client = await MqttClient.connect(t, port, { version, will: { ...will, properties } });
    client.destroy();
    const got = await watcher.expect("publish");
    assert.deepEqual([got.topic, got.payload.toString(), got.qos], ["w", "gone", 1]);
    assert.deepEqual({ ...got.properties }, version === 5 ? { contentType: "x" } : {});
    watcher.destroy();
    await watcher.closed();
  }
});

test("a will is published after a mistake of the client, and at a kick [MQTT-3.1.2-8]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const careless = await MqttClient.connect(t, port, { will });
  careless.raw([0x00, 0x00]);
  await watcher.expect("publish");
  await MqttClient.connect(t, port, { clientId: "k", will });
  frontEnd.sessions.get("k")?.channel?.close(0x98);
  await watcher.expect("publish");
});

test("DISCONNECT discards the will, unless it says 0x04 [MQTT-3.14.4-3, 3.1.2-10]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const polite = await MqttClient.connect(t, port, { will });
  polite.send({ cmd: "disconnect" });
  await polite.closed();
  await watcher.quiet();
  const wishing = await MqttClient.connect(t, port, { version: 5, will });
  wishing.send({ cmd: "disconnect", reasonCode: 4 });
  await wishing.closed();
  assert.equal((await watcher.expect("publish")).payload.toString(), "gone");
});

test("a retained will is retained [MQTT-3.1.2-15]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { will: { ...will, retain: true } });
  client.destroy();
  await eventually(() => frontEnd.sessions.counters.willsPublished === 1, "the will");
  const late = await MqttClient.connect(t, port);
  await late.subscribe("w");
  assert.equal((await late.expect("publish")).retain, true);
});

test("a delayed will comes after its delay, or when the session ends [MQTT-3.1.3-9]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const delayed = { ...will, properties: { willDelayInterval: 1 } };
  const connect = (expiry: number): Promise<MqttClient> =>
    MqttClient.connect(t, port, {
      version: 5,
      clientId: "c",
      clean: false,
      will: delayed,
      properties: { sessionExpiryInterval: expiry },
    });
  // Back in time: no will.
  (await connect(100)).destroy();
  const back = await connect(100);
  back.send({ cmd: "disconnect", reasonCode: 0 });
  await back.closed();
  await watcher.quiet();
  // Not back: it comes.
  (await connect(100)).destroy();
  await watcher.expect("publish");
  // The session ends at once.
  (await connect(0)).destroy();
  await watcher.expect("publish");
  // A clean start ends it.
  (await connect(100)).destroy();
  await MqttClient.connect(t, port, { version: 5, clientId: "c" });
  await watcher.expect("publish");
});

test("the will comes at its delay or at the session's end, whichever is first [MQTT-3.1.3-9]", async (t) => {
  const clock = new ShiftedClock();
  const { port, frontEnd } = await testBroker(t, { clock });
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const cases: [delay: number, expiry: number, dueMs: number][] = [
    [0, 100, 0],
    [10, 100, 10_000],
    [100, 10, 10_000],
    [100, 0, 0],
    [0xffff_ffff, 20, 20_000],
  ];
  for (const [delay, expiry, dueMs] of cases) {
    const clientId = `c-${delay}-${expiry}`;
    const client = await MqttClient.connect(t, port, {
      version: 5,
      clientId,
      will: { ...will, properties: { willDelayInterval: delay } },
      properties: { sessionExpiryInterval: expiry },
    });
    client.destroy();
    await eventually(() => frontEnd.connected === 1, "the client to be gone");
    if (dueMs > 0) {
      clock.forward(dueMs - 1000);
      await watcher.quiet();
      clock.forward(1200);
    }
    assert.equal((await watcher.expect("publish")).payload.toString(), "gone");
  }
});

test("DISCONNECT 0x04 and a new expiry decide about the will too [MQTT-3.14.4-3]", async (t) => {
  const clock = new ShiftedClock();
  const { port } = await testBroker(t, { clock });
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const options = {
    version: 5,
    clientId: "c",
    properties: { sessionExpiryInterval: 100 },
    will: { ...will, properties: { willDelayInterval: 50 } },
  } as const;
  // Its session ends at once, so the delay does not hold.
  const first = await MqttClient.connect(t, port, options);
  first.raw([0xe0, 7, 4, 5, 0x11, 0, 0, 0, 0]);
  await watcher.expect("publish");
  // With reason 0 there is no will, whatever the delay.
  const second = await MqttClient.connect(t, port, options);
  second.raw([0xe0, 0]);
  await second.closed();
  clock.forward(200_000);
  await watcher.quiet();
  // With 0x04 it waits for its delay.
  const third = await MqttClient.connect(t, port, options);
  third.raw([0xe0, 1, 4]);
  await third.closed();
  await watcher.quiet();
  clock.forward(51_000);
  await watcher.expect("publish");
  // A mistake of the client, such as an expiry after 0, brings it.
  const fourth = await MqttClient.connect(t, port, { ...options, properties: {} });
  fourth.raw([0xe0, 7, 0, 5, 0x11, 0, 0, 0, 1]);
  assert.equal((await fourth.expect("disconnect")).reasonCode, 0x82);
  await watcher.expect("publish");
});

test("a will's properties and retain flag reach its subscribers [MQTT-3.1.2-15, 3.1.3.2]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port, { version: 5 });
  await watcher.subscribe("w", 2, { rap: true, id: 4 });
  const properties = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: "r",
    correlationData: Buffer.from([0, 1]),
  };
  const userProperties = { a: ["1", "2"] };
  const full = { ...will, retain: true, properties: { ...properties, userProperties } };
  const client = await MqttClient.connect(t, port, { version: 5, will: full });
  client.destroy();
  const got = await watcher.expect("publish");
  const { userProperties: passed, ...others } = got.properties ?? {};
  assert.deepEqual(others, { ...properties, subscriptionIdentifier: 4 });
  assert.deepEqual({ ...passed }, userProperties);
  assert.deepEqual([got.qos, got.retain], [1, true]);
});

test("a taken-over connection's will is published [MQTT-3.1.4-3]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  await MqttClient.connect(t, port, { clientId: "c", will });
  await MqttClient.connect(t, port, { clientId: "c" });
  assert.equal((await watcher.expect("publish")).payload.toString(), "gone");
});
