/** Shared subscriptions over real sockets [MQTT-4.8.2]. Malformed ones are refused in strict tests. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type TestBroker, testBroker } from "../support/front-end.js";
import { type ConnectOptions, eventually, MqttClient } from "../support/mqtt-client.js";

/** A client that is in the group; it answers nothing by itself. */
async function member(
  t: TestContext,
  { port }: TestBroker,
  filter: string,
  qos: 0 | 1 | 2,
  options: ConnectOptions = {},
): Promise<MqttClient> {
  const client = await MqttClient.connect(t, port, options);
  assert.equal(await client.subscribe(filter, qos), qos);
  return client;
}

/** Payloads of what came, when all that was sent so far has been handled. */
async function payloads(client: MqttClient): Promise<string[]> {
  client.raw([0xc0, 0x00]);
  const got: string[] = [];
  for (let packet = await client.next(); packet.cmd !== "pingresp"; packet = await client.next()) {
    if (packet.cmd === "publish") got.push(packet.payload.toString());
  }
  return got;
}

test("each message goes to one member of each group, of any version", async (t) => {
  const broker = await testBroker(t);
  const members: MqttClient[] = [];
  for (const version of [3, 4, 5] as const) {
    for (const group of ["g", "h"]) {
      members.push(await member(t, broker, `$share/${group}/a/+`, 0, { version }));
    }
  }
  const publisher = await MqttClient.connect(t, broker.port);
  for (let i = 0; i < 60; i++) publisher.publish("a/b", `${i}`);
  await publisher.quiet();
  const lists: string[][] = [];
  for (const one of members) lists.push(await payloads(one));
  const all = Array.from({ length: 60 }, (_, i) => `${i}`).sort();
  for (const start of [0, 1]) {
    const ofGroup = lists.filter((_, i) => i % 2 === start);
    assert.deepEqual(ofGroup.flat().sort(), all);
    for (const list of ofGroup) assert.ok(list.length > 5, `${list.length}`);
  }
});

test("the bytes of SUBACK, of the message and of UNSUBACK", async (t) => {
  const broker = await testBroker(t);
  const publisher = await MqttClient.connect(t, broker.port);
  const filter = Buffer.from("$share/g/t");
  for (const version of [4, 5] as const) {
    const client = await MqttClient.connect(t, broker.port, { version });
    client.hex = "";
    const properties = version === 5 ? [0x02, 0x0b, 0x07] : [];
    const tail = [0x00, filter.length, ...filter];
    const body = [0x00, 0x0a, ...properties, ...tail, 0x01];
    client.raw([0x82, body.length, ...body]);
    await client.expect("suback");
    publisher.publish("t", "x", { qos: 1, messageId: 1 });
    await publisher.expect("puback");
    await client.expect("publish");
    client.ack("puback", 1);
    const leave = [0x00, 0x0b, ...(version === 5 ? [0x00] : []), ...tail];
    client.raw([0xa2, leave.length, ...leave]);
    await client.expect("unsuback");
    assert.equal(
      client.hex,
      version === 5
        ? "9004000a0001" + "320900017400010" + "20b0778" + "b004000b0000"
        : "9003000a01" + "3206000174000178" + "b002000b",
    );
    publisher.publish("t", "nobody is left");
    await publisher.quiet();
    assert.deepEqual(await payloads(client), []);
  }
});

test("CONNACK does not say that they are not available [MQTT-3.2.2.3.13]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const { properties = {} } = await client.handshake({ version: 5 });
  assert.equal(properties.sharedSubscriptionAvailable, undefined);
});

test("no-local closes with 0x82, and nothing of the packet is kept [MQTT-3.8.3-4]", async (t) => {
  const broker = await testBroker(t);
  const client = await MqttClient.connect(t, broker.port, { version: 5, clientId: "c" });
  client.hex = "";
  const options = { qos: 1, nl: false, rap: false, rh: 0 } as const;
  const subscriptions = [
    { topic: "t", ...options },
    { topic: "$share/g/t", ...options, nl: true },
  ];
  client.send({ cmd: "subscribe", messageId: 1, subscriptions });
  await client.closed();
  assert.equal(client.hex, "e00182");
  assert.equal(broker.router.index.groupCount, 0);
  assert.equal(broker.router.index.get("t"), undefined);
});

test("retained messages are not sent because of a shared subscription", async (t) => {
  const broker = await testBroker(t);
  const publisher = await MqttClient.connect(t, broker.port);
  publisher.publish("r", "kept", { retain: true });
  await publisher.quiet();
  for (const rh of [0, 1] as const) {
    const client = await MqttClient.connect(t, broker.port, { version: 5 });
    await client.subscribe("$share/g/r", 1, { rh });
    await client.quiet();
  }
});

test("its own copy and that of the group, each with its identifier", async (t) => {
  const broker = await testBroker(t);
  const client = await MqttClient.connect(t, broker.port, { version: 5 });
  await client.subscribe("t", 0, { id: 1 });
  await client.subscribe("$share/g/t", 1, { id: 2, rap: true });
  await client.subscribe("$share/g/+", 1, { id: 3 });
  client.publish("t", "x", { retain: true });
  const got = [];
  for (let i = 0; i < 3; i++) got.push(await client.expect("publish"));
  const seen = got.map(({ retain, properties }) => [properties?.subscriptionIdentifier, retain]);
  assert.deepEqual(seen.sort(), [
    [1, false],
    [2, true],
    [3, false],
  ]);
  await client.quiet();
});

test("a message to members that are away waits for one of them, and is no match for nobody", async (t) => {
  const broker = await testBroker(t);
  const persistent = { version: 5, clientId: "m", clean: false } as const;
  const properties = { sessionExpiryInterval: 100 };
  const first = await member(t, broker, "$share/g/t", 1, { ...persistent, properties });
  first.destroy();
  await eventually(() => broker.frontEnd.connected === 0, "the close");
  const publisher = await MqttClient.connect(t, broker.port, { version: 5 });
  publisher.publish("t", "waits", { qos: 1, messageId: 1 });
  assert.equal((await publisher.expect("puback")).reasonCode ?? 0, 0);
  const back = await MqttClient.connect(t, broker.port, { ...persistent, properties });
  assert.equal((await back.expect("publish")).payload.toString(), "waits");
  back.ack("puback", 1);
  await back.quiet();
  back.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["$share/g/t", "$share/h/t"] });
  assert.deepEqual((await back.expect("unsuback")).granted, [0, 0x11]);
  publisher.publish("t", "nobody", { qos: 1, messageId: 2 });
  assert.equal((await publisher.expect("puback")).reasonCode, 0x10);
});

test("QoS 1 that a lost connection did not acknowledge comes to another member, without DUP", async (t) => {
  const broker = await testBroker(t);
  for (const options of [{}, { clean: false, clientId: "stays" }]) {
    const first = await member(t, broker, "$share/g/t", 1, options);
    const publisher = await MqttClient.connect(t, broker.port);
    publisher.publish("t", "open", { qos: 1, messageId: 1 });
    await publisher.expect("puback");
    await first.expect("publish");
    const second = await member(t, broker, "$share/g/t", 1);
    first.destroy();
    const again = await second.expect("publish");
    assert.deepEqual([again.payload.toString(), again.dup, again.messageId], ["open", false, 1]);
    second.ack("puback", 1);
    await second.quiet();
    second.destroy();
    await eventually(() => broker.frontEnd.connected <= 1, "the close");
    publisher.destroy();
    broker.frontEnd.sessions.delete("stays");
  }
});

test("QoS 2 under way is completed with its client when that is back [MQTT-4.8.2-4]", async (t) => {
  const broker = await testBroker(t);
  const options = { clean: false, clientId: "m" };
  const first = await member(t, broker, "$share/g/t", 2, options);
  const publisher = await MqttClient.connect(t, broker.port);
  publisher.publish("t", "two", { qos: 2, messageId: 1 });
  await publisher.expect("pubrec");
  await first.expect("publish");
  const second = await member(t, broker, "$share/g/t", 2);
  first.destroy();
  await eventually(() => broker.frontEnd.connected === 2, "the close");
  await second.quiet();
  const back = await MqttClient.connect(t, broker.port, options);
  const again = await back.expect("publish");
  assert.deepEqual([again.payload.toString(), again.dup, again.qos], ["two", true, 2]);
});

test("a group's filter counts for the limits: its levels without the group, its bytes with it", async (t) => {
  const broker = await testBroker(t, {
    settings: { limits: { topic_levels: 2, topic_bytes: 16 } },
  });
  const client = await MqttClient.connect(t, broker.port, { version: 5 });
  assert.equal(await client.subscribe("$share/g/a/b", 1), 1);
  assert.equal(await client.subscribe("$share/g/a/b/c", 1), 0x8f);
  assert.equal(await client.subscribe("$share/group/ab/c", 1), 0x8f);
});
