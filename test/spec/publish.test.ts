/** PUBLISH at every QoS, both ways, over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { IPublishPacket } from "mqtt-packet";
import { testBroker } from "../support/front-end.js";
import { MqttClient, type Version } from "../support/mqtt-client.js";

const versions: readonly Version[] = [3, 4, 5];
const text = (packet: IPublishPacket): string => packet.payload.toString();

for (const from of versions) {
  for (const to of versions) {
    test(`QoS 0, 1 and 2 from version ${from} to version ${to} [MQTT-4.3.1-1, 4.3.2, 4.3.3]`, async (t) => {
      const { port } = await testBroker(t);
      const publisher = await MqttClient.connect(t, port, { version: from });
      const subscriber = await MqttClient.connect(t, port, { version: to });
      assert.equal(await subscriber.subscribe("a/+", 2), 2);
      publisher.publish("a/0", "zero");
      publisher.publish("a/1", "one", { qos: 1, messageId: 7 });
      assert.equal((await publisher.expect("puback")).messageId, 7);
      publisher.publish("a/2", "two", { qos: 2, messageId: 8 });
      assert.equal((await publisher.expect("pubrec")).messageId, 8);
      publisher.ack("pubrel", 8);
      assert.equal((await publisher.expect("pubcomp")).messageId, 8);

      const zero = await subscriber.expect("publish");
      assert.deepEqual(
        [zero.topic, text(zero), zero.qos, zero.retain, zero.dup],
        ["a/0", "zero", 0, false, false],
      );
      const one = await subscriber.expect("publish");
      assert.deepEqual([one.topic, text(one), one.qos, one.messageId], ["a/1", "one", 1, 1]);
      subscriber.ack("puback", 1);
      const two = await subscriber.expect("publish");
      assert.deepEqual([two.topic, text(two), two.qos, two.messageId], ["a/2", "two", 2, 2]);
      subscriber.ack("pubrec", 2);
      assert.equal((await subscriber.expect("pubrel")).messageId, 2);
      subscriber.ack("pubcomp", 2);
      await subscriber.quiet();
      await publisher.quiet();
    });
  }
}

test("a delivery has the lower QoS of publish and subscription [MQTT-3.8.4-8]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  for (const subscribed of [0, 1, 2] as const) {
    const subscriber = await MqttClient.connect(t, port);
    await subscriber.subscribe("t", subscribed);
    for (const published of [0, 1, 2] as const) {
      publisher.publish("t", "x", { qos: published, messageId: 1 + published });
      const got = await subscriber.expect("publish");
      assert.equal(got.qos, Math.min(subscribed, published));
      if (published === 1) await publisher.expect("puback");
      if (published === 2) {
        await publisher.expect("pubrec");
        publisher.ack("pubrel", 3);
        await publisher.expect("pubcomp");
      }
    }
    subscriber.destroy();
    await subscriber.closed();
  }
});

test("the second PUBLISH of an open QoS 2 id is not published again [MQTT-4.3.3-10]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  const subscriber = await MqttClient.connect(t, port);
  await subscriber.subscribe("t");
  publisher.publish("t", "once", { qos: 2, messageId: 5 });
  await publisher.expect("pubrec");
  publisher.publish("t", "once", { qos: 2, messageId: 5, dup: true });
  assert.equal((await publisher.expect("pubrec")).messageId, 5);
  publisher.ack("pubrel", 5);
  await publisher.expect("pubcomp");
  assert.equal(frontEnd.counters.receivedQos2Again, 1);
  // After PUBCOMP the id is a new message's.
  publisher.publish("t", "twice", { qos: 2, messageId: 5 });
  await publisher.expect("pubrec");
  assert.equal(text(await subscriber.expect("publish")), "once");
  assert.equal(text(await subscriber.expect("publish")), "twice");
  await subscriber.quiet();
});

test("DUP and RETAIN are not passed on [MQTT-3.3.1-3, 3.3.1-12]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  const subscriber = await MqttClient.connect(t, port);
  await subscriber.subscribe("t", 1);
  publisher.publish("t", "x", { qos: 1, messageId: 1, dup: true, retain: true });
  const got = await subscriber.expect("publish");
  assert.deepEqual([got.dup, got.retain, got.qos], [false, false, 1]);
});

test("acknowledgements leave in the order of the publishes [MQTT-4.6.0-2]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  for (let id = 1; id <= 50; id++)
    publisher.publish("t", "x", { qos: 1 + (id % 2), messageId: id });
  for (let id = 1; id <= 50; id++) {
    const packet = await publisher.next();
    assert.equal(packet.cmd, id % 2 === 0 ? "puback" : "pubrec");
    assert.equal(packet.messageId, id);
  }
});

test("MQTT 5 is told when nobody subscribed [MQTT-4.3.2]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("t", "x", { qos: 1, messageId: 1 });
  assert.equal((await publisher.expect("puback")).reasonCode, 0x10);
  publisher.publish("t", "x", { qos: 2, messageId: 2 });
  assert.equal((await publisher.expect("pubrec")).reasonCode, 0);
  const subscriber = await MqttClient.connect(t, port);
  await subscriber.subscribe("t");
  publisher.publish("t", "x", { qos: 1, messageId: 3 });
  assert.equal((await publisher.expect("puback")).reasonCode, 0);
});

test("MQTT 5 properties reach an MQTT 5 subscriber unchanged [MQTT-3.3.2-15..20]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  const subscriber = await MqttClient.connect(t, port, { version: 5 });
  const old = await MqttClient.connect(t, port);
  await subscriber.subscribe("t", 1, { id: 300 });
  await old.subscribe("t", 1);
  const properties = {
    payloadFormatIndicator: true,
    contentType: "text/plain",
    responseTopic: "r",
    correlationData: Buffer.from([1, 2]),
    userProperties: { a: ["1", "2"], b: "3" },
  };
  publisher.publish("t", "hello", { qos: 1, messageId: 1, properties });
  const got = await subscriber.expect("publish");
  const { userProperties, ...others } = got.properties ?? {};
  const { userProperties: sent, ...rest } = properties;
  assert.deepEqual(others, { ...rest, subscriptionIdentifier: 300 });
  assert.deepEqual({ ...userProperties }, sent);
  assert.equal(text(got), "hello");
  assert.equal(text(await old.expect("publish")), "hello");
});

test("properties that a client must not send close the connection", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { user_properties: 2 } } });
  const cases: [number, object][] = [
    [0x94, { topicAlias: 33 }], // limits.topic_aliases is 32 [MQTT-3.3.2-9]
    [0x82, { subscriptionIdentifier: 1 }], // [MQTT-3.3.4-6]
    [0x82, { responseTopic: "a/#" }], // [MQTT-3.3.2-14]
    [0x97, { userProperties: { a: ["1", "2", "3"] } }],
  ];
  for (const [reason, properties] of cases) {
    const client = await MqttClient.connect(t, port, { version: 5 });
    client.publish("t", "x", { properties });
    assert.equal((await client.expect("disconnect")).reasonCode, reason);
    await client.closed();
  }
});

test("malformed publishes close the connection, and nothing of them is kept", async (t) => {
  const { port, frontEnd, router } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("#");
  const cases: readonly (readonly number[])[] = [
    [0x36, 6, 0, 1, 0x74, 0, 1, 0x78], // QoS 3 [MQTT-3.3.1-4]
    [0x39, 4, 0, 1, 0x74, 0x78], // DUP with QoS 0 [MQTT-3.3.1-2], retained
    [0x32, 6, 0, 1, 0x74, 0, 0, 0x78], // packet id 0 [MQTT-2.2.1-3]
    [0x31, 4, 0, 1, 0x23, 0x78], // wildcard [MQTT-3.3.2-2]
    [0x31, 4, 0, 1, 0xff, 0x78], // not UTF-8 [MQTT-1.5.4-1]
    [0x31, 6, 0, 3, 0xed, 0xa0, 0x80, 0x78], // a surrogate
    [0x31, 4, 0, 1, 0x00, 0x78], // U+0000 [MQTT-1.5.4-2]
    [0x31, 3, 0, 0, 0x78], // empty topic [MQTT-4.7.3-1]
    [0x31, 4, 0, 9, 0x74, 0x78], // topic longer than the packet
    [0x32, 4, 0, 1, 0x74, 0], // no room for the packet id
    [0x30, 0xff, 0xff, 0xff, 0xff, 0x7f], // a length of five bytes
    [0x00, 0], // no such packet
    [0x20, 2, 0, 0], // a server's packet
    [0x60, 2, 0, 1], // PUBREL with wrong flags [MQTT-3.6.1-1]
    [0x40, 2, 0, 0], // PUBACK of packet id 0
    [0x40, 3, 0, 1, 0], // a reason code in MQTT 3
    [0xc0, 1, 0], // PINGREQ with a body
    [0xe0, 1, 0], // DISCONNECT with a body
    [0x80, 6, 0, 1, 0, 1, 0x74, 0], // SUBSCRIBE with wrong flags [MQTT-3.8.1-1]
    [0x82, 2, 0, 1], // no filter [MQTT-3.8.3-2]
    [0x82, 6, 0, 1, 0, 1, 0x74, 3], // QoS 3 [MQTT-3.8.3-5]
    [0x82, 6, 0, 1, 0, 1, 0x74, 4], // reserved bits
    [0xa2, 2, 0, 1], // [MQTT-3.10.3-2]
    [0xa2, 5, 0, 0, 0, 1, 0x74], // packet id 0
  ];
  for (const bytes of cases) {
    const client = await MqttClient.connect(t, port);
    client.raw(bytes);
    await client.closed();
    assert.deepEqual(client.packets, [], `for ${bytes}`);
  }
  await watcher.quiet();
  assert.equal(router.retained.size, 0);
  assert.equal(frontEnd.sessions.size, 1);
});

test("a topic beyond the limits closes the connection with 0x90", async (t) => {
  const { port } = await testBroker(t, {
    settings: { limits: { topic_bytes: 20, topic_levels: 3 } },
  });
  for (const topic of ["x".repeat(21), "a/b/c/d"]) {
    const client = await MqttClient.connect(t, port, { version: 5 });
    client.publish(topic, "x");
    assert.equal((await client.expect("disconnect")).reasonCode, 0x90);
  }
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.publish("a/b/c", "x");
  await client.quiet();
});

test("a packet over limits.max_packet closes with 0x95 before its body is taken [MQTT-3.2.2-15]", async (t) => {
  const { port, frontEnd } = await testBroker(t, { settings: { limits: { max_packet: 131_072 } } });
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.raw([0x30, 0x80, 0x80, 0x08]);
  assert.equal((await client.expect("disconnect")).reasonCode, 0x95);
  await client.closed();
  assert.equal(frontEnd.counters.closedBy["packet too large"], 1);
});

test("a client gets no packet larger than it accepts [MQTT-3.1.2-24, 3.1.2-25]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const properties = { maximumPacketSize: 40 };
  const small = await MqttClient.connect(t, port, { version: 5, properties });
  await small.subscribe("t", 1);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("t", "x".repeat(100), { qos: 1, messageId: 1 });
  publisher.publish("t", "fits", { qos: 1, messageId: 2 });
  await publisher.expect("puback");
  await publisher.expect("puback");
  const got = await small.expect("publish");
  assert.deepEqual([text(got), got.messageId], ["fits", 2]);
  assert.equal(frontEnd.sessions.counters.droppedTooLarge, 1);
});

test("large payloads arrive whole, at every QoS, to several clients", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  const subscribers = await Promise.all(
    ([4, 5, 4] as const).map((version) => MqttClient.connect(t, port, { version })),
  );
  for (const subscriber of subscribers) await subscriber.subscribe("big", 2);
  const sizes = [15_000, 16_384, 70_000, 300_000, 1_000_000];
  for (const [index, size] of sizes.entries()) {
    const payload = Buffer.alloc(size, index + 1);
    const qos = index % 3;
    publisher.publish("big", payload, { qos, messageId: index + 1 });
    for (const subscriber of subscribers) {
      const got = await subscriber.expect("publish");
      assert.equal(got.qos, qos);
      assert.ok(Buffer.compare(Buffer.from(got.payload), payload) === 0, `payload of ${size}`);
    }
  }
});

test("a publish to the node's own topics goes nowhere, and is refused", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("$SYS/#", 0);
  await client.subscribe("$other", 0, { messageId: 2 });
  client.publish("$SYS/x", "x", { qos: 1, messageId: 1, retain: true });
  assert.equal((await client.expect("puback")).reasonCode, 0x87);
  client.publish("$SYS/x", "x", { qos: 2, messageId: 1 });
  assert.equal((await client.expect("pubrec")).reasonCode, 0x87);
  client.publish("$SYS/x", "x");
  client.publish("$other", "x");
  assert.equal((await client.expect("publish")).topic, "$other");
  await client.quiet();
  assert.equal(frontEnd.counters.ignoredReserved, 3);
});

test("open QoS 2 ids have a limit: 0x93, and MQTT 3 is closed [MQTT-3.3.4-7]", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { open_qos2: 3 } } });
  for (const version of [4, 5] as const) {
    const client = await MqttClient.connect(t, port, { version });
    for (let id = 1; id <= 3; id++) {
      client.publish("t", "x", { qos: 2, messageId: id });
      await client.expect("pubrec");
    }
    client.ack("pubrel", 1);
    await client.expect("pubcomp");
    client.publish("t", "x", { qos: 2, messageId: 4 });
    await client.expect("pubrec");
    client.publish("t", "x", { qos: 2, messageId: 5 });
    if (version === 5) assert.equal((await client.expect("disconnect")).reasonCode, 0x93);
    await client.closed();
  }
});

test("PUBREL, PUBREC and PUBCOMP of unknown ids are answered or ignored [MQTT-4.3.3]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.ack("pubrel", 9);
  assert.equal((await client.expect("pubcomp")).reasonCode, 0x92);
  client.ack("pubrec", 9);
  assert.equal((await client.expect("pubrel")).reasonCode, 0);
  client.ack("pubcomp", 9);
  client.ack("puback", 9);
  client.ack("pubrec", 9, 0x80);
  await client.quiet();
});

test("a PUBREC with an error ends the exchange [MQTT-4.3.3-4, 4.4.0-2]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5, clientId: "c" });
  await client.subscribe("t", 2);
  client.publish("t", "x", { qos: 2, messageId: 1 });
  // Our own PUBREC and the delivery.
  await client.next();
  await client.next();
  client.ack("pubrec", 1, 0x97);
  await client.quiet();
  assert.equal(frontEnd.sessions.get("c")?.window.inFlight, 0);
});

test("fragments of any size are put together", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const connect = [0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 1, 0x63];
  const subscribe = [0x82, 6, 0, 1, 0, 1, 0x74, 0];
  const publish = [0x30, 4, 0, 1, 0x74, 0x78];
  for (const byte of [...connect, ...subscribe, ...publish, ...publish]) {
    client.raw([byte]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await client.expect("connack");
  await client.expect("suback");
  assert.equal(text(await client.expect("publish")), "x");
  assert.equal(text(await client.expect("publish")), "x");
});
