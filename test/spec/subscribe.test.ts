/** SUBSCRIBE and UNSUBSCRIBE over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

test("SUBACK has a code for each filter, in their order [MQTT-3.8.4-6, 3.9.3-1]", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { filters_per_client: 2, topic_levels: 3 } },
  });
  const filters = ["a", "b", "a", "c", "1/2/3/4"];
  const expected = {
    4: [1, 1, 1, 0x80, 0x80],
    5: [1, 1, 1, 0x97, 0x8f],
  };
  for (const version of [4, 5] as const) {
    const client = await MqttClient.connect(t, port, { version });
    const subscriptions = filters.map((topic) => ({
      topic,
      qos: 1 as const,
      nl: false,
      rap: false,
      rh: 0,
    }));
    client.send({ cmd: "subscribe", messageId: 9, subscriptions });
    const suback = await client.expect("suback");
    assert.equal(suback.messageId, 9);
    assert.deepEqual(suback.granted, expected[version]);
  }
  assert.equal(frontEnd.sessions.counters.subscriptionsRefused, 4);
});

test("a new SUBSCRIBE replaces the subscription [MQTT-3.8.4-3]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port);
  await client.subscribe("t", 2);
  await client.subscribe("t", 0);
  client.publish("t", "x", { qos: 1, messageId: 1 });
  const packets = [await client.next(), await client.next()];
  const delivered = packets.find((packet) => packet.cmd === "publish");
  assert.equal(delivered?.cmd === "publish" && delivered.qos, 0);
  await client.quiet();
});

test("overlapping subscriptions bring one copy at the highest QoS [MQTT-3.3.4-2, 3.3.4-3..4]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("a/#", 0, { id: 1 });
  await client.subscribe("a/+", 1, { id: 200 });
  await client.subscribe("a/b", 0, { id: 70_000 });
  const publisher = await MqttClient.connect(t, port);
  publisher.publish("a/b", "x", { qos: 2, messageId: 1 });
  const got = await client.expect("publish");
  assert.equal(got.qos, 1);
  const ids = got.properties?.subscriptionIdentifier;
  assert.deepEqual(
    [...(Array.isArray(ids) ? ids : [])].sort((a, b) => a - b),
    [1, 200, 70_000],
  );
  await client.quiet();
});

test("subscription identifiers: all that match, equal ones too, byte by byte [MQTT-3.3.4-3..5]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const kept = { version: 5, clientId: "c", clean: false } as const;
  const properties = { sessionExpiryInterval: 100 };
  const client = await MqttClient.connect(t, port, { ...kept, properties });
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  const publish = async (payload: string): Promise<void> => {
    const type = { contentType: "y" };
    publisher.publish("a", payload, { qos: 1, messageId: 1, properties: type });
    await publisher.expect("puback");
  };
  await client.subscribe("a", 1, { id: 268_435_455 });
  await client.subscribe("+", 0, { id: 5 });
  await client.subscribe("#", 0, { id: 5 });
  await client.subscribe("a/#", 0);
  client.hex = "";
  await publish("p");
  await client.expect("publish");
  const type = "03000179";
  const head = `3214000161${"0001"}0d${type}`;
  assert.ok(client.hex.startsWith(head) && client.hex.endsWith("70"), client.hex);
  const ids = client.hex.slice(head.length, -2);
  assert.deepEqual(ids.match(/0bffffff7f|0b05/g)?.sort(), ["0b05", "0b05", "0bffffff7f"]);
  client.ack("puback", 1);
  // A new SUBSCRIBE without one takes it away; another packet's does not change this one's.
  await client.subscribe("a", 1);
  await client.subscribe("#", 0, { id: 6 });
  await publish("q");
  const second = await client.expect("publish");
  const found = second.properties?.subscriptionIdentifier;
  assert.deepEqual([...(Array.isArray(found) ? found : [])].sort(), [5, 6]);
  client.ack("puback", 2);
  // They are kept with what waits, and are not for MQTT 3 clients.
  client.destroy();
  const gone = (): boolean => frontEnd.sessions.get("c")?.channel === null;
  await eventually(gone, "the client to be gone");
  await publish("r");
  const old = await MqttClient.connect(t, port, { version: 4, clientId: "c", clean: false });
  old.hex = "";
  const queued = await old.expect("publish");
  assert.equal(queued.payload.toString(), "r");
  old.destroy();
  await eventually(gone, "the client to be gone again");
  const again = await MqttClient.connect(t, port, { ...kept, properties });
  const resent = (await again.expect("publish")).properties?.subscriptionIdentifier;
  assert.deepEqual([...(Array.isArray(resent) ? resent : [])].sort(), [5, 6]);
});

test("UNSUBSCRIBE stops delivery, and says what it found [MQTT-3.10.4-1..6, 3.11.3-1]", async (t) => {
  const { port } = await testBroker(t);
  for (const version of [4, 5] as const) {
    const client = await MqttClient.connect(t, port, { version });
    await client.subscribe("t");
    client.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["t", "never"] });
    const unsuback = await client.expect("unsuback");
    assert.equal(unsuback.messageId, 3);
    if (version === 5) assert.deepEqual(unsuback.granted, [0, 0x11]);
    client.publish("t", "x");
    await client.quiet();
  }
});

test("no-local keeps a client's own messages from it [MQTT-3.8.3-3]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  const other = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("t", 0, { nl: true });
  client.publish("t", "own");
  other.publish("t", "other's");
  assert.equal((await client.expect("publish")).payload.toString(), "other's");
  await client.quiet();
});

test("retain-as-published keeps the flag [MQTT-3.3.1-12, 3.3.1-13]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("t", 0, { rap: true });
  client.publish("t", "kept", { retain: true });
  assert.equal((await client.expect("publish")).retain, true);
  client.publish("t", "not kept");
  assert.equal((await client.expect("publish")).retain, false);
});

test("retained messages come after SUBACK, flagged [MQTT-3.3.1-9] [v3.1.1 MQTT-3.3.1-6, 3.3.1-8]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("r/1", "one", { retain: true, qos: 1, messageId: 1 });
  publisher.publish("r/2", "two", { retain: true, qos: 2, messageId: 2 });
  publisher.publish("r/3", "gone", { retain: true });
  publisher.publish("r/3", "", { retain: true });
  await publisher.next();
  await publisher.next();
  await publisher.quiet();
  for (const version of [3, 4, 5] as const) {
    const client = await MqttClient.connect(t, port, { version });
    await client.subscribe("r/+", 1, { id: 5 });
    const got = [await client.expect("publish"), await client.expect("publish")];
    assert.deepEqual(
      got.map((one) => [one.topic, one.payload.toString(), one.qos, one.retain]).sort(),
      [
        ["r/1", "one", 1, true],
        ["r/2", "two", 1, true],
      ],
    );
    if (version === 5) assert.equal(got[0]?.properties?.subscriptionIdentifier, 5);
    await client.quiet();
  }
});

test("retain handling 1 and 2 [MQTT-3.3.1-10, 3.3.1-11]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.publish("r", "kept", { retain: true });
  await client.subscribe("r", 0, { rh: 2 });
  await client.quiet();
  await client.subscribe("r", 0, { rh: 1 });
  await client.quiet();
  client.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["r"] });
  await client.expect("unsuback");
  await client.subscribe("r", 0, { rh: 1 });
  assert.equal((await client.expect("publish")).payload.toString(), "kept");
  await client.subscribe("r", 0, { rh: 0 });
  assert.equal((await client.expect("publish")).payload.toString(), "kept");
});

test("more retained messages than fit the window all come, in the client's pace", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { limits: { session_queue_messages: 5 } },
  });
  const publisher = await MqttClient.connect(t, port);
  for (let i = 0; i < 100; i++) publisher.publish(`r/${i}`, "x", { retain: true });
  await publisher.quiet();
  const properties = { receiveMaximum: 7 };
  const client = await MqttClient.connect(t, port, { version: 5, properties });
  publisher.publish("r/0", "x", { qos: 1, messageId: 1, retain: true });
  await publisher.expect("puback");
  for (let i = 1; i < 100; i++) {
    publisher.publish(`r/${i}`, "x", { qos: 1, messageId: 1, retain: true });
    await publisher.expect("puback");
  }
  await client.subscribe("r/#", 1);
  const topics = new Set<string>();
  while (topics.size < 100) {
    const got = await client.expect("publish");
    topics.add(got.topic);
    client.ack("puback", got.messageId ?? 0);
  }
  await client.quiet();
  assert.equal(frontEnd.sessions.counters.droppedQueueFull, 0);
});

test("SUBACK waits until peers know; PINGRESP and PUBACK do not", async (t) => {
  const { port, cluster } = await testBroker(t);
  const client = await MqttClient.connect(t, port);
  cluster.held = [];
  const one = [{ topic: "a", qos: 0 as const }];
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: one });
  client.send({ cmd: "subscribe", messageId: 2, subscriptions: [{ topic: "b", qos: 0 }] });
  client.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["b"] });
  client.publish("c", "x", { qos: 1, messageId: 4 });
  assert.equal((await client.expect("puback")).messageId, 4);
  await client.quiet();
  assert.equal(cluster.held.length, 2);
  const [first, second] = cluster.held;
  second?.();
  await client.quiet();
  first?.();
  assert.equal((await client.expect("suback")).messageId, 1);
  assert.equal((await client.expect("suback")).messageId, 2);
  assert.equal((await client.expect("unsuback")).messageId, 3);
});

test("a SUBACK whose client has gone meanwhile is forgotten", async (t) => {
  const { port, cluster, frontEnd } = await testBroker(t);
  const options = { clientId: "c", clean: false } as const;
  const client = await MqttClient.connect(t, port, options);
  cluster.held = [];
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 0 }] });
  await client.quiet();
  client.destroy();
  const next = await MqttClient.connect(t, port, options);
  for (const done of cluster.held) done();
  await next.quiet();
  assert.equal(frontEnd.sessions.get("c")?.subscriptions.size, 1);
});

test("a client with many unanswered SUBSCRIBEs is not read until some are answered", async (t) => {
  const { port, cluster, frontEnd } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { clientId: "c" });
  cluster.held = [];
  const { held } = cluster;
  for (let id = 1; id <= 100; id++) {
    client.send({ cmd: "subscribe", messageId: id, subscriptions: [{ topic: `t/${id}`, qos: 0 }] });
  }
  await eventually(() => frontEnd.counters.readsPaused === 1, "the client not to be read");
  assert.equal(held.length, 64);
  cluster.held = null;
  for (const done of held) done();
  for (let id = 1; id <= 100; id++) assert.equal((await client.expect("suback")).messageId, id);
  await client.quiet();
});

test("a retained message that is deleted before its turn is not sent", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  for (let i = 0; i < 3; i++) {
    publisher.publish(`r/${i}`, "x", { qos: 1, messageId: 1, retain: true });
    await publisher.expect("puback");
  }
  const properties = { receiveMaximum: 1 };
  const client = await MqttClient.connect(t, port, { version: 5, properties });
  await client.subscribe("r/+", 1);
  const first = await client.expect("publish");
  // The second was read already, the third is not.
  for (let i = 0; i < 3; i++) publisher.publish(`r/${i}`, "", { retain: true });
  await publisher.quiet();
  const seen = [first.payload.toString()];
  client.ack("puback", first.messageId ?? 0);
  client.raw([0xc0, 0]);
  for (;;) {
    const packet = await client.next();
    if (packet.cmd === "pingresp") break;
    if (packet.cmd !== "publish") continue;
    seen.push(packet.payload.toString());
    if (packet.messageId !== undefined) client.ack("puback", packet.messageId);
  }
  assert.ok(seen.filter((payload) => payload === "x").length < 3);
});
