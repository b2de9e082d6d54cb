/** Topic aliases, in both directions, byte by byte [MQTT5 3.3.2.3.4]. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { OutgoingAliases } from "../../src/net/aliases.js";
import { TopicTable } from "../../src/routing/topic.js";
import { testBroker } from "../support/front-end.js";
import { MqttClient } from "../support/mqtt-client.js";

const five = { version: 5 } as const;
/** A PUBLISH of "x" at QoS 0: name and raw properties as given. */
function publish(name: string, properties: readonly number[]): number[] {
  const rest = [0, name.length, ...Buffer.from(name), properties.length, ...properties, 0x78];
  return [0x30, rest.length, ...rest];
}
const hexOf = (bytes: readonly number[]): string => Buffer.from(bytes).toString("hex");

test("a client's alias stands for the topic; nothing of it is passed on [MQTT-3.3.2-12]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, five);
  const subscriber = await MqttClient.connect(t, port, five);
  await subscriber.subscribe("#");
  const alias = [0x23, 0, 7];
  const format = [0x01, 1];
  const type = [0x03, 0, 1, 0x74];
  // Alone; then first, last and in the midst of other properties.
  const tables = [[], [...format], [...type], [...format, ...type]];
  const sent = [
    [...alias],
    [...alias, ...format],
    [...type, ...alias],
    [...format, ...alias, ...type],
  ];
  subscriber.hex = "";
  let expected = "";
  for (const [i, properties] of sent.entries()) {
    publisher.raw(publish(i === 0 ? "topic" : "", properties));
    await subscriber.expect("publish");
    expected += hexOf(publish("topic", tables[i] ?? []));
  }
  assert.equal(subscriber.hex, expected);
});

test("an aliased publish works at every QoS, retained, and for MQTT 3 subscribers", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, five);
  const old = await MqttClient.connect(t, port);
  await old.subscribe("a/b", 2);
  const properties = { topicAlias: 32 };
  publisher.publish("a/b", "zero", { properties });
  publisher.publish("", "one", { qos: 1, messageId: 1, properties });
  publisher.publish("", "two", { qos: 2, messageId: 2, retain: true, properties });
  for (const payload of ["zero", "one", "two"]) {
    const got = await old.expect("publish");
    assert.deepEqual([got.topic, got.payload.toString()], ["a/b", payload]);
  }
  assert.equal((await publisher.expect("puback")).reasonCode, 0);
  await publisher.expect("pubrec");
  const late = await MqttClient.connect(t, port, five);
  await late.subscribe("#");
  const retained = await late.expect("publish");
  assert.deepEqual([retained.topic, { ...retained.properties }], ["a/b", {}]);
});

test("an alias can be given anew, and ends with its connection [MQTT-3.3.2-7]", async (t) => {
  const { port } = await testBroker(t);
  const subscriber = await MqttClient.connect(t, port);
  await subscriber.subscribe("#");
  const kept = { ...five, clientId: "c", clean: false, properties: { sessionExpiryInterval: 9 } };
  const first = await MqttClient.connect(t, port, kept);
  for (const topic of ["a", "", "b", "", "$SYS/x", "", "a"]) {
    first.publish(topic, "x", { properties: { topicAlias: 1 } });
  }
  await first.quiet();
  const topics: string[] = [];
  for (let i = 0; i < 5; i++) topics.push((await subscriber.expect("publish")).topic);
  assert.deepEqual(topics, ["a", "a", "b", "b", "a"]);
  const second = await MqttClient.connect(t, port, kept);
  second.raw(publish("", [0x23, 0, 1]));
  assert.equal((await second.expect("disconnect")).reasonCode, 0x82);
});

test("wrong aliases are refused: 0 and too high 0x94, of nothing 0x82 [MQTT-3.3.2-8, 3.3.2-9]", async (t) => {
  const { port, router } = await testBroker(t, { settings: { limits: { topic_aliases: 5 } } });
  const cases: [number, number[]][] = [
    [0x94, publish("t", [0x23, 0, 0])],
    [0x94, publish("t", [0x23, 0, 6])],
    [0x94, publish("", [0x23, 0xff, 0xff])],
    [0x82, publish("", [0x23, 0, 5])],
    [0x82, publish("", [])],
    [0x82, publish("t", [0x23, 0, 1, 0x23, 0, 1])],
    [0x81, publish("t", [0x23, 0])],
  ];
  for (const [reason, bytes] of cases) {
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake(five);
    assert.equal(connack.properties?.topicAliasMaximum, 5);
    client.hex = "";
    client.raw([...bytes.slice(0, 1).map((first) => first | 1), ...bytes.slice(1)]);
    await client.closed();
    assert.equal(client.hex, `e001${reason.toString(16)}`);
  }
  assert.equal(router.retained.size, 0);
});

test("without aliases CONNACK names none, and each is too high [MQTT-3.3.2-9]", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { topic_aliases: 0 } } });
  const client = await MqttClient.open(t, port);
  const connack = await client.handshake({ ...five, properties: { topicAliasMaximum: 9 } });
  assert.equal(connack.properties?.topicAliasMaximum, undefined);
  await client.subscribe("topic");
  client.hex = "";
  for (let i = 0; i < 3; i++) client.raw(publish("topic", []));
  await client.expect("publish");
  await client.expect("publish");
  await client.expect("publish");
  assert.equal(client.hex, hexOf(publish("topic", [])).repeat(3));
  client.raw(publish("topic", [0x23, 0, 1]));
  assert.equal((await client.expect("disconnect")).reasonCode, 0x94);
});

test("a topic is sent with an alias, and then by it, up to the client's maximum [MQTT-3.3.2-10, 3.3.2-11]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  const properties = { topicAliasMaximum: 2 };
  const client = await MqttClient.connect(t, port, { ...five, properties });
  const none = await MqttClient.connect(t, port, five);
  await client.subscribe("#");
  await none.subscribe("#");
  client.hex = none.hex = "";
  const sent = ["long", "other", "long", "abc", "abc", "late", "long", "late", "late"];
  for (const topic of sent) publisher.publish(topic, "x");
  for (let i = 0; i < sent.length; i++) await client.expect("publish");
  for (let i = 0; i < sent.length; i++) await none.expect("publish");
  const plain = (name: string): string => hexOf(publish(name, []));
  const aliased = (name: string, alias: number): string => hexOf(publish(name, [0x23, 0, alias]));
  assert.equal(
    client.hex,
    aliased("long", 1) +
      aliased("other", 2) +
      aliased("", 1) +
      // Three bytes are no longer than an alias.
      plain("abc").repeat(2) +
      // All are given away: one that comes again takes the place of one that has not.
      plain("late") +
      aliased("", 1) +
      aliased("late", 1) +
      aliased("", 1),
  );
  assert.equal(none.hex.includes("230001"), false);
});

test("aliases go with QoS, subscription identifiers and DUP", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  const options = {
    ...five,
    clientId: "c",
    clean: false,
    properties: { topicAliasMaximum: 2, sessionExpiryInterval: 100 },
  };
  const client = await MqttClient.connect(t, port, options);
  await client.subscribe("topic", 1, { id: 9 });
  for (let id = 1; id <= 3; id++) {
    publisher.publish("topic", "x", { qos: 1, messageId: id });
    await publisher.expect("puback");
    const got = await client.expect("publish");
    assert.equal(got.topic, id < 2 ? "topic" : "");
    assert.equal(got.properties?.subscriptionIdentifier, 9);
    assert.equal(got.properties?.topicAlias, 1);
  }
  client.destroy();
  const again = await MqttClient.connect(t, port, options);
  for (let id = 1; id <= 3; id++) {
    const got = await again.expect("publish");
    assert.deepEqual([got.topic, got.dup, got.messageId], ["topic", true, id]);
    assert.equal(got.properties?.topicAlias, undefined);
  }
});

test("an alias that would make a packet too large is not given [MQTT-3.1.2-24]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  // The packet with its name alone has 28 bytes, with an alias beside it 31.
  const properties = { topicAliasMaximum: 2, maximumPacketSize: 28 };
  const other = await MqttClient.connect(t, port, { ...five, properties });
  await other.subscribe("topic/abcdef");
  for (let i = 0; i < 4; i++) publisher.publish("topic/abcdef", "0123456789a");
  for (let i = 0; i < 4; i++) {
    const got = await other.expect("publish");
    assert.deepEqual([got.topic, got.properties?.topicAlias], ["topic/abcdef", undefined]);
  }
  assert.equal(frontEnd.sessions.counters.droppedTooLarge, 0);
});

test("whatever is sent, a client that keeps the table reads the right topics", () => {
  const topics = new TopicTable();
  const one = fc.record({ topic: fc.nat(9), fits: fc.boolean() });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.array(one), (max, sent) => {
      const aliases = new OutgoingAliases(max);
      const table = new Map<number, string>();
      for (const { topic, fits } of sent) {
        const name = `topic/${topic}`;
        aliases.choose(topics.internName(name));
        const { alias, isKnown } = aliases;
        assert.ok(alias <= max && alias >= 0);
        if (isKnown) assert.equal(table.get(alias), name);
        if (!fits) continue;
        aliases.confirm();
        if (alias !== 0) table.set(alias, name);
      }
    }),
    { seed: 3, numRuns: 500 },
  );
});
