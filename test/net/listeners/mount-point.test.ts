/** Clients of a listener with a mount point live in one branch of the topics, and do not know it. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { testAcl } from "../../auth/acl-support.js";
import { portOf } from "./support.js";

async function start(t: TestContext) {
  const more = [
    { name: "inner", kind: "tcp", port: 0, mount_point: "site/1/" },
    { name: "other", kind: "tcp", port: 0, mount_point: "site/2/" },
  ];
  const broker = await testBroker(t, { settings: { listeners: { more } } });
  return { broker, inner: portOf(broker, "inner"), other: portOf(broker, "other") };
}

test("topics and filters get it, deliveries lose it", async (t) => {
  const { broker, inner, other } = await start(t);
  const outside = await MqttClient.connect(t, broker.port);
  await outside.subscribe("#", 1);
  const inside = await MqttClient.connect(t, inner, { clientId: "in" });
  await inside.subscribe("a/+", 1);
  assert.deepEqual(
    [...(broker.frontEnd.sessions.get("in")?.subscriptions.keys() ?? [])],
    ["site/1/a/+"],
  );
  const neighbour = await MqttClient.connect(t, other);
  await neighbour.subscribe("#", 1);
  inside.publish("a/b", "x", { qos: 1, messageId: 1 });
  assert.equal((await outside.expect("publish")).topic, "site/1/a/b");
  const cmds = [await inside.next(), await inside.next()];
  assert.equal(cmds.find((packet) => packet.cmd === "publish")?.topic, "a/b");
  // A client may name a topic that looks mounted already.
  inside.publish("site/1/a/b", "y");
  assert.equal((await outside.expect("publish")).topic, "site/1/site/1/a/b");
  outside.publish("site/1/a/c", "z");
  assert.equal((await inside.expect("publish")).topic, "a/c");
  outside.publish("a/c", "z");
  await inside.quiet();
  await neighbour.quiet();
});

test("QoS 2, subscription identifiers, topic aliases and large payloads work inside", async (t) => {
  const { inner } = await start(t);
  const publisher = await MqttClient.connect(t, inner);
  const client = await MqttClient.connect(t, inner, {
    version: 5,
    properties: { topicAliasMaximum: 10 },
  });
  await client.subscribe("a/long/topic", 2, { id: 7 });
  for (let id = 1; id <= 4; id++) {
    publisher.publish("a/long/topic", Buffer.alloc(id * 10_000, id), { qos: 2, messageId: id });
    await publisher.expect("pubrec");
    publisher.ack("pubrel", id);
    await publisher.expect("pubcomp");
    const publish = await client.expect("publish");
    assert.equal(publish.payload.length, id * 10_000);
    assert.equal(publish.properties?.subscriptionIdentifier, 7);
    const { topicAlias } = publish.properties ?? {};
    assert.equal(publish.topic, id > 1 ? "" : "a/long/topic");
    assert.equal(topicAlias, 1);
    client.ack("pubrec", publish.messageId ?? 0);
    await client.expect("pubrel");
    client.ack("pubcomp", publish.messageId ?? 0);
  }
});

test("retained messages and wills are inside, too", async (t) => {
  const { broker, inner } = await start(t);
  const will = { topic: "gone", payload: Buffer.from("w"), qos: 0, retain: true } as const;
  const first = await MqttClient.connect(t, inner, { will });
  first.publish("kept", "r", { retain: true });
  await first.quiet();
  first.destroy();
  await eventually(() => broker.frontEnd.connected === 0, "the end");
  const inside = await MqttClient.connect(t, inner);
  await inside.subscribe("#");
  const topics = [await inside.expect("publish"), await inside.expect("publish")];
  assert.deepEqual(topics.map(({ topic }) => topic).sort(), ["gone", "kept"]);
  const outside = await MqttClient.connect(t, broker.port);
  await outside.subscribe("site/+/gone");
  assert.equal((await outside.expect("publish")).topic, "site/1/gone");
  await outside.subscribe("gone");
  await outside.quiet();
});

test("UNSUBSCRIBE finds what SUBSCRIBE made; wrong filters stay wrong", async (t) => {
  const { inner } = await start(t);
  const client = await MqttClient.connect(t, inner, { version: 5 });
  await client.subscribe("a");
  client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["a", "b"] });
  assert.deepEqual((await client.expect("unsuback")).granted, [0, 0x11]);
  const subscriptions = [{ topic: "a/#/b", qos: 0 } as const];
  client.send({ cmd: "subscribe", messageId: 3, subscriptions });
  await client.closed();
});

test("access rules are asked about the whole name, in both directions and for wills", async (t) => {
  const authorizer = await testAcl(t, ["allow all all site/1/open/#"]);
  const more = [{ name: "inner", kind: "tcp", port: 0, mount_point: "site/1/" }];
  const broker = await testBroker(t, { settings: { listeners: { more } }, authorizer });
  const inner = portOf(broker, "inner");
  const client = await MqttClient.connect(t, inner, { version: 5 });
  assert.equal(await client.subscribe("open/#", 1), 1);
  assert.equal(await client.subscribe("site/1/open/#", 1), 0x87);
  client.publish("open/a", "x", { qos: 1, messageId: 1 });
  const cmds = [(await client.next()).cmd, (await client.next()).cmd].sort();
  assert.deepEqual(cmds, ["puback", "publish"]);
  client.publish("site/1/open/a", "x", { qos: 1, messageId: 2 });
  assert.equal((await client.expect("puback")).reasonCode, 0x87);
  for (const [topic, code] of [
    ["open/gone", 0],
    ["site/1/open/gone", 0x87],
  ] as const) {
    const will = { topic, payload: Buffer.from("w"), qos: 0, retain: false } as const;
    const other = await MqttClient.open(t, inner);
    assert.equal((await other.handshake({ version: 5, will })).reasonCode, code);
  }
});

test("what is queued for a session is told by the listener that the client comes back through", async (t) => {
  const { broker, inner, other } = await start(t);
  const options = { clientId: "c", clean: false } as const;
  const before = await MqttClient.connect(t, inner, options);
  await before.subscribe("#", 1);
  before.destroy();
  await eventually(() => broker.frontEnd.connected === 0, "the end");
  const outside = await MqttClient.connect(t, broker.port);
  for (const [index, topic] of ["site/1/x", "site/1/", "site/1"].entries()) {
    outside.publish(topic, "q", { qos: 1, messageId: index + 1 });
    await outside.expect("puback");
  }
  const elsewhere = await MqttClient.connect(t, other, options);
  await elsewhere.quiet();
  assert.equal(broker.frontEnd.counters.outsideMountPoint, 3);
  elsewhere.destroy();
  await eventually(() => broker.frontEnd.connected === 1, "the end");
  outside.publish("site/1/y", "q", { qos: 1, messageId: 9 });
  await outside.expect("puback");
  const again = await MqttClient.connect(t, inner, options);
  assert.equal((await again.expect("publish")).topic, "y");
});
