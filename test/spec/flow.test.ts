/** Flow control both ways, and every step of QoS 2 over a lost connection [MQTT5 4.4, 4.6, 4.9]. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../../src/routing/message.js";
import { testBroker, type TestBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

const five = { version: 5 } as const;
const kept4 = { clientId: "c", clean: false } as const;
const kept5 = { ...five, ...kept4, properties: { sessionExpiryInterval: 1000 } } as const;

async function lose(client: MqttClient, { frontEnd }: TestBroker): Promise<void> {
  client.destroy();
  const gone = (): boolean => frontEnd.sessions.get("c")?.channel === null;
  await eventually(gone, "the client to be gone");
}

/** A subscriber to "t" that accepts a message when it is told to. */
function slowSubscriber({ router }: TestBroker): Message[] {
  const waiting: Message[] = [];
  const subscriber = {
    clientId: "slow",
    deliver: (message: Message): boolean => {
      waiting.push(message);
      return false;
    },
  };
  const options = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  router.subscribe(subscriber as never, "t", options, false);
  return waiting;
}

test("QoS 1 over our Receive Maximum gets DISCONNECT 0x93 [MQTT-3.3.4-7..9]", async (t) => {
  const broker = await testBroker(t, { settings: { limits: { receive_maximum: 3 } } });
  const waiting = slowSubscriber(broker);
  const client = await MqttClient.open(t, broker.port);
  const connack = await client.handshake(five);
  assert.equal(connack.properties?.receiveMaximum, 3);
  for (let id = 1; id <= 3; id++) client.publish("t", "x", { qos: 1, messageId: id });
  await client.quiet();
  waiting.shift()?.accept();
  assert.equal((await client.expect("puback")).messageId, 1);
  client.publish("t", "x", { qos: 1, messageId: 4 });
  // QoS 0 does not count.
  client.publish("t", "x");
  await client.quiet();
  client.hex = "";
  client.publish("t", "x", { qos: 1, messageId: 5 });
  await client.closed();
  assert.equal(client.hex, "e00193");
});

test("QoS 2 counts until its PUBREL, together with QoS 1 [MQTT-3.3.4-9]", async (t) => {
  const broker = await testBroker(t, { settings: { limits: { receive_maximum: 3 } } });
  const waiting = slowSubscriber(broker);
  const client = await MqttClient.connect(t, broker.port, five);
  client.publish("t", "x", { qos: 2, messageId: 1 });
  client.publish("t", "x", { qos: 2, messageId: 2 });
  await client.quiet();
  for (const message of waiting.splice(0)) message.accept();
  await client.expect("pubrec");
  await client.expect("pubrec");
  client.publish("t", "x", { qos: 1, messageId: 3 });
  await client.quiet();
  // One exchange is over: there is room for another.
  client.ack("pubrel", 1);
  await client.expect("pubcomp");
  client.publish("t", "x", { qos: 2, messageId: 4 });
  await client.quiet();
  client.publish("t", "x", { qos: 2, messageId: 5 });
  assert.equal((await client.expect("disconnect")).reasonCode, 0x93);
});

test("exchanges of an earlier connection do not count for this one [MQTT5 4.9]", async (t) => {
  const limits = { receive_maximum: 2, open_qos2: 3 };
  const broker = await testBroker(t, { settings: { limits } });
  const first = await MqttClient.connect(t, broker.port, kept5);
  for (let id = 1; id <= 2; id++) {
    first.publish("t", "x", { qos: 2, messageId: id });
    await first.expect("pubrec");
  }
  await lose(first, broker);
  const second = await MqttClient.connect(t, broker.port, kept5);
  second.publish("t", "x", { qos: 2, messageId: 3 });
  assert.equal((await second.expect("pubrec")).reasonCode, 0);
  // No room for one more in this session, but the client has kept to its Receive Maximum.
  second.publish("t", "x", { qos: 2, messageId: 4 });
  assert.equal((await second.expect("pubrec")).reasonCode, 0x97);
  second.ack("pubrel", 1);
  assert.equal((await second.expect("pubcomp")).reasonCode, 0);
  second.publish("t", "x", { qos: 2, messageId: 4 });
  assert.equal((await second.expect("pubrec")).reasonCode, 0);
  // Two of its own are open now.
  second.publish("t", "x", { qos: 1, messageId: 5 });
  assert.equal((await second.expect("disconnect")).reasonCode, 0x93);
});

test("the client's Receive Maximum is obeyed, QoS 1 and 2 together, on each connection anew [MQTT-3.3.4-9, 3.3.4-10, 4.9.0-1..3]", async (t) => {
  const broker = await testBroker(t);
  const publisher = await MqttClient.connect(t, broker.port);
  const properties = { sessionExpiryInterval: 1000, receiveMaximum: 2 };
  const client = await MqttClient.connect(t, broker.port, { ...kept5, properties });
  await client.subscribe("t", 2);
  for (let id = 1; id <= 4; id++) {
    publisher.publish("t", `m${id}`, { qos: 1 + (id % 2), messageId: id });
    await publisher.next();
  }
  publisher.publish("t", "zero");
  const got = [await client.expect("publish"), await client.expect("publish")];
  assert.deepEqual(
    got.map(({ qos, messageId }) => [qos, messageId]),
    [
      [2, 1],
      [1, 2],
    ],
  );
  assert.equal((await client.expect("publish")).payload.toString(), "zero");
  client.ack("pubrec", 1);
  await client.expect("pubrel");
  await client.quiet(); // PUBREC frees no place
  await lose(client, broker);
  const wider = { sessionExpiryInterval: 1000, receiveMaximum: 3 };
  const again = await MqttClient.connect(t, broker.port, { ...kept5, properties: wider });
  const two = await again.expect("publish");
  assert.deepEqual([two.messageId, two.dup], [2, true]);
  assert.equal((await again.expect("pubrel")).messageId, 1);
  assert.equal((await again.expect("publish")).messageId, 3);
  await again.quiet();
  again.ack("pubcomp", 1);
  assert.equal((await again.expect("publish")).messageId, 4);
});

test("QoS 2 to a client goes on where it stopped, at every step [MQTT-4.4.0-1, 4.3.3-1..7]", async (t) => {
  for (const options of [kept4, kept5]) {
    const broker = await testBroker(t);
    const publisher = await MqttClient.connect(t, broker.port);
    let client = await MqttClient.connect(t, broker.port, options);
    const back = async (expected: string): Promise<void> => {
      await lose(client, broker);
      client = await MqttClient.open(t, broker.port);
      client.hex = "";
      client.sendConnect(options);
      assert.equal((await client.expect("connack")).sessionPresent, true);
      client.raw([0xc0, 0]);
      while ((await client.next()).cmd !== "pingresp");
      const connack = client.hex.slice(0, 4 + 2 * Number.parseInt(client.hex.slice(2, 4), 16));
      assert.equal(client.hex.slice(connack.length), `${expected}d000`);
    };
    const v5 = "version" in options;
    await client.subscribe("t", 2);
    publisher.publish("t", "x", { qos: 2, messageId: 1 });
    await client.expect("publish");
    const publish = v5 ? "3c070001740001" + "0078" : "3c0600017400" + "0178";
    // Before PUBREC, once and again: PUBLISH with DUP.
    await lose(client, broker);
    for (let i = 0; i < 2; i++) {
      client = await MqttClient.open(t, broker.port);
      client.hex = "";
      client.sendConnect(options);
      await client.expect("connack");
      const dup = await client.expect("publish");
      assert.deepEqual([dup.dup, dup.messageId, dup.qos], [true, 1, 2]);
      assert.ok(client.hex.endsWith(publish), `${client.hex} ends with ${publish}`);
      if (i === 0) await lose(client, broker);
    }
    // After PUBREC: PUBREL, until PUBCOMP.
    client.ack("pubrec", 1);
    await client.expect("pubrel");
    await back("62020001");
    await back("62020001");
    client.ack("pubcomp", 1);
    await client.quiet();
    await back("");
    publisher.ack("pubrel", 1);
    publisher.destroy();
    await broker.stop();
  }
});

test("PUBRELs go out again in the order of their PUBRECs [MQTT-4.6.0-4]", async (t) => {
  const broker = await testBroker(t);
  const publisher = await MqttClient.connect(t, broker.port);
  const client = await MqttClient.connect(t, broker.port, kept5);
  await client.subscribe("t", 2);
  for (let id = 1; id <= 40; id++) {
    publisher.publish("t", "x", { qos: 2, messageId: id });
    await client.expect("publish");
  }
  const order = [30, 2, 17, 40, 1];
  for (const id of order) {
    client.ack("pubrec", id);
    await client.expect("pubrel");
  }
  await lose(client, broker);
  const again = await MqttClient.connect(t, broker.port, kept5);
  const publishes: number[] = [];
  const pubrels: number[] = [];
  for (let i = 0; i < 40; i++) {
    const packet = await again.next();
    (packet.cmd === "pubrel" ? pubrels : publishes).push(packet.messageId ?? 0);
  }
  assert.deepEqual(pubrels, order);
  const rest = Array.from({ length: 40 }, (_, i) => i + 1).filter((id) => !order.includes(id));
  assert.deepEqual(publishes, rest);
});

test("QoS 2 from a client goes on where it stopped, at every step [MQTT-4.3.3-8..13]", async (t) => {
  for (const options of [kept4, kept5]) {
    const broker = await testBroker(t);
    const watcher = await MqttClient.connect(t, broker.port);
    await watcher.subscribe("t");
    const connect = (): Promise<MqttClient> => MqttClient.connect(t, broker.port, options);
    let client = await connect();
    // PUBREC was lost: the same PUBLISH again is answered and not published again.
    client.publish("t", "once", { qos: 2, messageId: 9 });
    await client.expect("pubrec");
    await lose(client, broker);
    client = await connect();
    client.hex = "";
    client.publish("t", "once", { qos: 2, messageId: 9, dup: true });
    await client.expect("pubrec");
    assert.equal(client.hex, "50020009");
    // PUBREL after the connection was lost once more.
    await lose(client, broker);
    client = await connect();
    client.hex = "";
    client.ack("pubrel", 9);
    await client.expect("pubcomp");
    assert.equal(client.hex, "70020009");
    // PUBCOMP was lost: the id is unknown now, which is no error of one that came back.
    await lose(client, broker);
    client = await connect();
    client.hex = "";
    client.ack("pubrel", 9);
    await client.expect("pubcomp");
    assert.equal(client.hex, "70020009");
    // A new message may take the id.
    client.publish("t", "twice", { qos: 2, messageId: 9 });
    await client.expect("pubrec");
    assert.equal((await watcher.expect("publish")).payload.toString(), "once");
    assert.equal((await watcher.expect("publish")).payload.toString(), "twice");
    await watcher.quiet();
    await broker.stop();
  }
});

test("a QoS 2 publish that nobody has accepted yet is answered on the next connection", async (t) => {
  const broker = await testBroker(t);
  const waiting = slowSubscriber(broker);
  const first = await MqttClient.connect(t, broker.port, kept5);
  first.publish("t", "x", { qos: 2, messageId: 3 });
  await first.quiet();
  await lose(first, broker);
  const second = await MqttClient.connect(t, broker.port, kept5);
  second.publish("t", "x", { qos: 2, messageId: 3, dup: true });
  await second.quiet();
  assert.equal(waiting.length, 1);
  waiting[0]?.accept();
  assert.equal((await second.expect("pubrec")).reasonCode, 0);
  second.ack("pubrel", 3);
  assert.equal((await second.expect("pubcomp")).reasonCode, 0);
});

test("a message too large for one subscriber is skipped for it alone [MQTT-3.1.2-24, 3.1.2-25]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, five);
  // A PUBLISH of "t" with its identifier has 8 bytes and the payload, and two more for a packet id.
  const properties = { maximumPacketSize: 40 };
  const small = await MqttClient.connect(t, port, { ...five, properties });
  const wide = await MqttClient.connect(t, port, five);
  await small.subscribe("t", 2, { id: 5 });
  await wide.subscribe("t", 2);
  let id = 0;
  for (const qos of [0, 1, 2]) {
    for (const length of [32, 33]) {
      id++;
      publisher.publish("t", "x".repeat(length - (qos > 0 ? 2 : 0)), { qos, messageId: id });
      if (qos > 0) await publisher.next();
    }
  }
  for (let i = 0; i < 6; i++) await wide.expect("publish");
  for (const qos of [0, 1, 2]) {
    const got = await small.expect("publish");
    assert.deepEqual([got.qos, got.payload.length], [qos, 32 - (qos > 0 ? 2 : 0)]);
    // What is not sent has its packet id, as if it had been sent and acknowledged.
    assert.equal(got.messageId, [undefined, 1, 3][qos]);
  }
  await small.quiet();
  assert.equal(frontEnd.sessions.counters.droppedTooLarge, 3);
});

test("a client that takes no CONNACK of ours is let go without one [MQTT-3.1.2-24]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  client.sendConnect({ ...five, properties: { maximumPacketSize: 6 } });
  await client.closed();
  assert.deepEqual(client.packets, []);
  assert.equal(frontEnd.sessions.size, 0);
});
