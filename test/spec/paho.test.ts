/**
 * What the two interoperability suites of Eclipse Paho ask of a broker (for 3.1.1 and 5.0), where no other test here
 * asks just that: their clients, topics and settings, in our words.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient, type Version } from "../support/mqtt-client.js";
import { ShiftedClock } from "../support/shifted-clock.js";

const five = { version: 5 } as const;
const forLong = { sessionExpiryInterval: 99_999 };

/** A client that is known by this name. */
function connect(t: TestContext, port: number, clientId: string, more: object = {}) {
  return MqttClient.connect(t, port, { ...five, clientId, ...more });
}

/** Publishes at QoS 0, 1 and 2 and completes each. */
async function publishAll(client: MqttClient, topics: readonly string[], options: object = {}) {
  for (const qos of [0, 1, 2] as const) {
    const topic = topics[qos] ?? topics[0] ?? "";
    client.publish(topic, `qos ${qos}`, { qos, messageId: qos + 1, ...options });
    if (qos === 1) await client.expect("puback");
    if (qos !== 2) continue;
    await client.expect("pubrec");
    client.ack("pubrel", 3);
    await client.expect("pubcomp");
  }
}

/** The QoS of this many messages, the lowest first; they are acknowledged. */
async function take(client: MqttClient, count: number): Promise<number[]> {
  const seen: number[] = [];
  let open = 0;
  while (seen.length < count || open > 0) {
    const packet = await client.next();
    if (packet.cmd === "pubrel") {
      client.ack("pubcomp", packet.messageId ?? 0);
      open--;
      continue;
    }
    assert.ok(packet.cmd === "publish");
    const { qos, messageId = 0 } = packet;
    seen.push(qos);
    if (qos > 0) client.ack(qos === 1 ? "puback" : "pubrec", messageId);
    if (qos === 2) open++;
  }
  return seen.sort();
}

for (const version of [4, 5] as const satisfies readonly Version[]) {
  test(`v${version}: three QoS, retained and removed below a wildcard`, async (t) => {
    const { port } = await testBroker(t);
    const topics = ["TopicA/B", "Topic/C", "TopicA/C"];
    const publisher = await MqttClient.connect(t, port, { version });
    await publishAll(publisher, topics, { retain: true });
    const reader = await MqttClient.connect(t, port, { version });
    await reader.subscribe("+/+", 2);
    assert.deepEqual(await take(reader, 3), [0, 1, 2]);
    reader.destroy();
    for (const topic of topics) publisher.publish(topic, "", { retain: true });
    await publisher.quiet();
    const late = await MqttClient.connect(t, port, { version });
    await late.subscribe("+/+", 2);
    await late.quiet();
  });

  test(`v${version}: what was not answered comes again, to the same client's own subscription`, async (t) => {
    const { port } = await testBroker(t);
    const properties = version === 5 ? { properties: forLong } : {};
    const kept = { version, clientId: "myclientid2", clean: false, ...properties };
    const first = await MqttClient.connect(t, port, kept);
    await first.subscribe("TopicA/#", 2);
    first.publish("TopicA/B", "", { qos: 1, messageId: 1 });
    first.publish("TopicA/C", "", { qos: 2, messageId: 2 });
    await eventually(() => first.packets.length === 4, "both messages and both answers");
    first.send({ cmd: "disconnect" });
    await first.closed();
    const again = await MqttClient.connect(t, port, kept);
    assert.deepEqual(await take(again, 2), [1, 2]);
    await again.quiet();
  });

  test(`v${version}: a second CONNECT, and a protocol by another name`, async (t) => {
    const { port } = await testBroker(t);
    const twice = await MqttClient.connect(t, port, { version });
    twice.sendConnect({ version });
    await twice.closed();
    const other = await MqttClient.open(t, port);
    other.raw([0x10, 13, 0, 2, 0x68, 0x6a, version, 2, 0, 0, 0, 1, 0x61, 0, 0]);
    await other.closed();
    assert.ok(!other.packets.some((packet) => packet.cmd === "connack" && packet.returnCode === 0));
  });

  test(`v${version}: a wildcard does not match a topic that begins with a dollar sign`, async (t) => {
    const { port } = await testBroker(t);
    const client = await MqttClient.connect(t, port, { version });
    await client.subscribe("+/+", 2);
    client.publish("$TopicA/B", "", { qos: 1, messageId: 1 });
    await client.expect("puback");
    await client.quiet();
  });
}

test("v4: a client without an id is refused unless its session is clean", async (t) => {
  const { port } = await testBroker(t);
  const refused = await MqttClient.open(t, port);
  const connect = [0x10, 12, 0, 4, ...Buffer.from("MQTT"), 4, 0, 0, 0, 0, 0];
  assert.equal((await refused.handshakeRaw(connect)).returnCode, 2);
  await refused.closed();
  await MqttClient.connect(t, port, { clientId: "", clean: true });
});

test("session expiry: 0, some seconds, and changed by DISCONNECT both ways", async (t) => {
  const clock = new ShiftedClock();
  const { port, frontEnd } = await testBroker(t, { clock });
  const visit = async (seconds: number, clean: boolean, atEnd?: number): Promise<boolean> => {
    const client = await MqttClient.open(t, port);
    const properties = { sessionExpiryInterval: seconds };
    const { sessionPresent } = await client.handshake({
      ...five,
      ...{ clientId: "myclientid", clean, properties },
    });
    await client.subscribe("TopicA", 2);
    const changed = atEnd === undefined ? {} : { properties: { sessionExpiryInterval: atEnd } };
    client.send({ cmd: "disconnect", reasonCode: 0, ...changed });
    await client.closed();
    await eventually(() => frontEnd.connected === 0, "the client to be gone");
    return sessionPresent;
  };
  assert.equal(await visit(0, true), false);
  assert.equal(await visit(0, false), false);
  assert.equal(await visit(5, true), false);
  clock.forward(2000);
  assert.equal(await visit(5, false), true);
  clock.forward(6000);
  assert.equal(await visit(5, false), false);
  assert.equal(await visit(1, true, 5), false);
  clock.forward(3000);
  assert.equal(await visit(1, false, 0), true);
  assert.equal(await visit(1, false), false);
});

test("the properties of a message reach a subscriber at every QoS", async (t) => {
  const { port } = await testBroker(t);
  const client = await connect(t, port, "myclientid");
  const other = await connect(t, port, "myclientid2");
  await other.subscribe("TopicA", 2);
  const properties = {
    ...{ payloadFormatIndicator: true, contentType: "My name" },
    userProperties: { a: "2", c: "3" },
  };
  await publishAll(client, ["TopicA"], { properties });
  for (const qos of [0, 1, 2]) {
    const got = await other.expect("publish");
    assert.equal(got.qos, qos);
    const { userProperties, ...rest } = got.properties ?? {};
    assert.deepEqual({ ...userProperties }, { a: "2", c: "3" });
    assert.deepEqual({ ...rest }, { payloadFormatIndicator: true, contentType: "My name" });
  }
});

test("a subscription identifier is each subscriber's own, and of all its filters that match", async (t) => {
  const { port } = await testBroker(t);
  const one = await connect(t, port, "myclientid");
  const both = await connect(t, port, "myclientid2");
  await one.subscribe("TopicA", 2, { id: 456_789 });
  await both.subscribe("TopicA", 2, { id: 2 });
  await both.subscribe("TopicA/#", 2, { id: 3, messageId: 2 });
  both.publish("TopicA", "x");
  const single = await one.expect("publish");
  assert.deepEqual([single.properties?.subscriptionIdentifier].flat(), [456_789]);
  const ids = [(await both.expect("publish")).properties?.subscriptionIdentifier].flat();
  assert.deepEqual(ids.map(Number).sort(), [2, 3]);
  await both.quiet();
});

test("a request and its response on one topic, without their own", async (t) => {
  const { port } = await testBroker(t);
  const asks = await connect(t, port, "myclientid");
  const answers = await connect(t, port, "myclientid2");
  await asks.subscribe("TopicA", 2, { nl: true });
  await answers.subscribe("TopicA", 2, { nl: true });
  const properties = { responseTopic: "TopicA", correlationData: Buffer.from("334") };
  asks.publish("TopicA", "request", { properties });
  const request = await answers.expect("publish");
  assert.deepEqual({ ...request.properties }, properties);
  answers.publish(`${request.properties?.responseTopic}`, "response", {
    properties: { correlationData: Buffer.from("334") },
  });
  assert.equal((await asks.expect("publish")).payload.toString(), "response");
  await asks.quiet();
  await answers.quiet();
});

test("a client's alias ends with its connection, though its session goes on", async (t) => {
  const { port } = await testBroker(t);
  const kept = { clean: false, properties: forLong };
  const first = await connect(t, port, "myclientid", kept);
  await first.subscribe("TopicA");
  first.publish("TopicA", "1", { properties: { topicAlias: 1 } });
  first.publish("", "2", { properties: { topicAlias: 1 } });
  for (const payload of ["1", "2"]) {
    const { topic, payload: got } = await first.expect("publish");
    assert.deepEqual([topic, got.toString()], ["TopicA", payload]);
  }
  first.send({ cmd: "disconnect" });
  await first.closed();
  const again = await connect(t, port, "myclientid", kept);
  again.publish("TopicA", "3");
  assert.equal((await again.expect("publish")).payload.toString(), "3");
  again.publish("", "4", { properties: { topicAlias: 1 } });
  assert.equal((await again.expect("disconnect")).reasonCode, 0x82);
  await again.closed();
});

test("the broker's alias, when one is allowed, is given with the first message", async (t) => {
  const { port } = await testBroker(t);
  for (const topicAliasMaximum of [1, 0]) {
    const client = await connect(t, port, "myclientid", { properties: { topicAliasMaximum } });
    await client.subscribe("TopicA");
    const publisher = await connect(t, port, "myclientid2");
    await publishAll(publisher, ["TopicA"]);
    const seen: unknown[] = [];
    for (let i = 0; i < 3; i++) {
      const { topic, properties } = await client.expect("publish");
      seen.push([topic, properties?.topicAlias]);
    }
    const without = ["TopicA", undefined];
    const withAlias = [
      ["TopicA", 1],
      ["", 1],
      ["", 1],
    ];
    publisher.destroy();
    assert.deepEqual(seen, topicAliasMaximum === 1 ? withAlias : [without, without, without]);
  }
});

test("a message over the client's maximum is not sent to it; one below is", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await connect(t, port, "myclientid", { properties: { maximumPacketSize: 64 } });
  await client.subscribe("TopicA", 2);
  client.publish("TopicA", ".".repeat(32));
  assert.equal((await client.expect("publish")).payload.length, 32);
  client.publish("TopicA", ".".repeat(64), { qos: 1, messageId: 1 });
  await client.expect("puback");
  await client.quiet();
  assert.equal(frontEnd.sessions.counters.droppedTooLarge, 1);
});

test("the server's keep-alive is told to a client that asks for more", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { keep_alive_max: 60 } } });
  const client = await MqttClient.open(t, port);
  const { properties } = await client.handshake({ ...five, keepalive: 120 });
  assert.equal(properties?.serverKeepAlive, 60);
});

test("flow control: the client's receive maximum holds back, the server's is held to", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { receive_maximum: 20 } } });
  const client = await connect(t, port, "myclientid", { properties: { receiveMaximum: 2 } });
  await client.subscribe("TopicA", 1);
  const publisher = await connect(t, port, "myclientid2");
  for (let id = 1; id <= 3; id++) {
    publisher.publish("TopicA", `${id}`, { qos: 1, messageId: id });
    await publisher.expect("puback");
  }
  const one = await client.expect("publish");
  await client.expect("publish");
  await client.quiet();
  client.ack("puback", one.messageId ?? 0);
  assert.equal((await client.expect("publish")).payload.toString(), "3");
  for (let id = 1; id <= 21; id++) publisher.publish("TopicB", "", { qos: 2, messageId: id });
  await publisher.closed();
  const last = publisher.packets.at(-1);
  assert.ok(last?.cmd === "disconnect");
  assert.equal(last.reasonCode, 0x93);
});

test("a share group beside an ordinary subscription: one message each way", async (t) => {
  const { port } = await testBroker(t);
  const members = [await connect(t, port, "myclientid"), await connect(t, port, "myclientid2")];
  for (const client of members) {
    const options = { qos: 2, nl: false, rap: false, rh: 0 } as const;
    const subscriptions = ["$share/sharename/x", "TopicA"].map((topic) => ({ topic, ...options }));
    client.send({ cmd: "subscribe", messageId: 1, subscriptions });
    assert.deepEqual((await client.expect("suback")).granted, [2, 2]);
  }
  const publisher = await connect(t, port, "publisher");
  publisher.publish("TopicA", "to both");
  publisher.publish("x", "to one of them");
  await publisher.quiet();
  const count = (): number => members.reduce((sum, { packets }) => sum + packets.length, 0);
  await eventually(() => count() === 3, "three messages");
  for (const client of members) {
    assert.equal((await client.expect("publish")).payload.toString(), "to both");
  }
  assert.equal(count(), 1);
});

test("a subscriber may drop one of its filters and keeps the others", async (t) => {
  const { port } = await testBroker(t);
  const client = await connect(t, port, "myclientid2");
  const topics = ["TopicA", "TopicA/B", "Topic/C"];
  for (const [i, topic] of topics.entries()) await client.subscribe(topic, 0, { messageId: i + 1 });
  client.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["TopicA"] });
  assert.deepEqual((await client.expect("unsuback")).granted, [0]);
  const publisher = await connect(t, port, "myclientid");
  for (const topic of topics) publisher.publish(topic, topic);
  for (const topic of topics.slice(1)) assert.equal((await client.expect("publish")).topic, topic);
  await client.quiet();
});
