/** Limits of connections: time, number, size, output; each with its counter. */
import assert from "node:assert/strict";
import { connect as connectSocket } from "node:net";
import { test } from "node:test";
import mqttPacket from "mqtt-packet";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

test("a connection that sends no CONNECT in time is closed", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { connect_timeout: 200 } },
  });
  const silent = await MqttClient.open(t, port);
  const slow = await MqttClient.open(t, port);
  slow.raw([0x10, 100, 0, 4]);
  await silent.closed();
  await slow.closed();
  assert.equal(frontEnd.counters.closedBy["no connect in time"], 2);
});

test("silence for one and a half keep-alives closes, 0x8D in MQTT 5 [MQTT-3.1.2-22, 3.2.2-22]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const options = { keepalive: 1, will: { topic: "w", payload: "gone" } } as const;
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w");
  const four = await MqttClient.connect(t, port, options);
  const five = await MqttClient.connect(t, port, { version: 5, ...options });
  const lively = await MqttClient.connect(t, port, options);
  const ping = setInterval(() => lively.raw([0xc0, 0]), 300);
  t.after(() => clearInterval(ping));
  await four.closed();
  assert.equal((await five.expect("disconnect")).reasonCode, 0x8d);
  await watcher.expect("publish");
  await watcher.expect("publish");
  assert.equal(frontEnd.counters.closedBy["keep alive timeout"], 2);
  assert.equal(lively.isClosed, false);
});

test("connections over the limit are closed at once", async (t) => {
  const { port, frontEnd } = await testBroker(t, { connectionsMax: 2 });
  const first = await MqttClient.connect(t, port);
  await MqttClient.connect(t, port);
  const third = await MqttClient.open(t, port);
  await third.closed();
  assert.equal(frontEnd.counters.connectionsRefused, 1);
  first.destroy();
  await eventually(() => frontEnd.connected === 1, "a place to be free");
  await MqttClient.connect(t, port);
});

test("before CONNECT a length over 128 KiB is refused when it is read", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  client.raw([0x10, 0x81, 0x80, 0x08]);
  await client.closed();
  assert.equal(frontEnd.counters.closedBy["packet too large"], 1);
});

test("a client that does not read: QoS 0 is dropped and counted, QoS 1 waits, nothing else is harmed", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { connection_output_bytes: 65_536 } },
  });
  const slow = await MqttClient.connect(t, port, { clientId: "slow" });
  await slow.subscribe("t", 1);
  const quick = await MqttClient.connect(t, port);
  await quick.subscribe("t", 1);
  slow.pause();
  const publisher = await MqttClient.connect(t, port);
  const payload = Buffer.alloc(10_000, 1);
  const session = frontEnd.sessions.get("slow");
  let sent = 0;
  while (frontEnd.sessions.counters.droppedOutputFull === 0 && sent < 5000) {
    publisher.publish("t", payload);
    await quick.expect("publish");
    sent++;
  }
  assert.ok(frontEnd.sessions.counters.droppedOutputFull > 0);
  for (let id = 1; id <= 10; id++) {
    publisher.publish("t", `numbered ${id}`, { qos: 1, messageId: id });
    await publisher.expect("puback");
    await quick.expect("publish");
  }
  assert.equal(session?.queued, 10);
  slow.resume();
  const numbered: string[] = [];
  while (numbered.length < 10) {
    const got = await slow.expect("publish");
    if (got.qos === 1) numbered.push(got.payload.toString());
  }
  assert.deepEqual(
    numbered,
    Array.from({ length: 10 }, (_, i) => `numbered ${i + 1}`),
  );
  assert.equal(frontEnd.sessions.counters.droppedQueueFull, 0);
});

test("a client whose output stays full is disconnected after the grace", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { connection_output_bytes: 65_536, connection_output_grace: 1000 } },
  });
  const slow = await MqttClient.connect(t, port);
  await slow.subscribe("t");
  slow.pause();
  const publisher = await MqttClient.connect(t, port);
  const payload = Buffer.alloc(500_000, 1);
  for (let i = 0; i < 40; i++) publisher.publish("t", payload);
  await eventually(
    () => frontEnd.counters.closedBy["output not taken"] === 1,
    "the slow client to be cut off",
  );
  await publisher.quiet();
});

test("a client that does not take its answers is not read", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { connection_output_bytes: 65_536 } },
  });
  const socket = connectSocket({ port, host: "127.0.0.1" });
  t.after(() => socket.destroy());
  socket.write(mqttPacket.generate({ cmd: "connect", clientId: "c", protocolVersion: 4 }));
  const pings = Buffer.alloc(1_000_000);
  for (let at = 0; at < pings.length; at += 2) pings[at] = 0xc0;
  let sent = 0;
  while (frontEnd.counters.readsPaused === 0 && sent < 200) {
    const before = frontEnd.counters.bytesIn;
    socket.write(pings);
    sent++;
    await eventually(
      () => frontEnd.counters.bytesIn > before || frontEnd.counters.readsPaused > 0,
      "the pings to be read",
    );
  }
  assert.equal(frontEnd.counters.readsPaused, 1);
  let bytes = 0;
  socket.on("data", (chunk) => {
    bytes += chunk.length;
  });
  const connackBytes = 4;
  // Millions of them: a busy machine takes its time.
  await eventually(() => bytes === connackBytes + sent * pings.length, "every answer", 60_000);
});

test("an MQTT 3 publisher is not read while too much is unanswered, and goes on later", async (t) => {
  const { port, frontEnd, router } = await testBroker(t, {
    settings: { limits: { receive_maximum: 4 } },
  });
  const waiting: (() => void)[] = [];
  const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  const stubborn = {
    clientId: "stubborn",
    deliver: (message: { accept(): void }): boolean => {
      waiting.push(() => message.accept());
      return false;
    },
  };
  router.subscribe(stubborn, "t", options, false);
  const publisher = await MqttClient.connect(t, port, { keepalive: 1 });
  for (let id = 1; id <= 10; id++) publisher.publish("t", "x", { qos: 1, messageId: id });
  await eventually(() => waiting.length === 4, "four publishes to be read");
  assert.equal(frontEnd.counters.readsPaused, 1);
  // Out of order: the first answer holds back the others [MQTT-4.6.0-2].
  for (const index of [3, 2, 1]) waiting[index]?.();
  assert.deepEqual(publisher.packets, []);
  waiting[0]?.();
  for (let id = 1; id <= 4; id++) assert.equal((await publisher.expect("puback")).messageId, id);
  let answered = 4;
  while (answered < 10) {
    await eventually(() => waiting.length > answered, "more publishes to be read");
    waiting[answered++]?.();
    assert.equal((await publisher.expect("puback")).messageId, answered);
  }
  await publisher.quiet();
});

test("silence while we do not read is not the client's", async (t) => {
  const { port, frontEnd, router } = await testBroker(t, {
    settings: { limits: { receive_maximum: 1 } },
  });
  const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  let accept: () => void = () => undefined;
  const stubborn = {
    clientId: "stubborn",
    deliver: (message: { accept(): void }): boolean => {
      accept = () => message.accept();
      return false;
    },
  };
  router.subscribe(stubborn, "t", options, false);
  const publisher = await MqttClient.connect(t, port, { keepalive: 1 });
  publisher.publish("t", "x", { qos: 1, messageId: 1 });
  const reader = await MqttClient.connect(t, port, { keepalive: 1, clientId: "silent" });
  await reader.closed();
  assert.equal(publisher.isClosed, false);
  accept();
  await publisher.expect("puback");
  await publisher.quiet();
  assert.equal(frontEnd.counters.closedBy["keep alive timeout"], 1);
});

test("an MQTT 5 client that sends more than its Receive Maximum is closed with 0x93 [MQTT-3.3.4-7]", async (t) => {
  const { port, router } = await testBroker(t, { settings: { limits: { receive_maximum: 4 } } });
  const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  router.subscribe({ clientId: "stubborn", deliver: () => false }, "t", options, false);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  for (let id = 1; id <= 5; id++) publisher.publish("t", "x", { qos: 1, messageId: id });
  assert.equal((await publisher.expect("disconnect")).reasonCode, 0x93);
});

test("a stopping node tells its MQTT 5 clients [MQTT5 3.14.2]", async (t) => {
  const broker = await testBroker(t);
  const five = await MqttClient.connect(t, broker.port, { version: 5 });
  const four = await MqttClient.connect(t, broker.port);
  await broker.stop();
  assert.equal((await five.expect("disconnect")).reasonCode, 0x8b);
  await four.closed();
  assert.deepEqual(broker.frontEnd.listeners(), []);
});
