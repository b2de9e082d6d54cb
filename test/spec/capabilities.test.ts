/** What this node says of itself in CONNACK, and that it keeps to it [MQTT5 3.2.2.3]. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { QoS } from "mqtt-packet";
import { testBroker } from "../support/front-end.js";
import { MqttClient } from "../support/mqtt-client.js";

const five = { version: 5 } as const;

test("CONNACK of MQTT 5, byte by byte", async (t) => {
  const limits = { topic_aliases: 10, receive_maximum: 20, max_packet: 0x0012_3456 };
  const { port } = await testBroker(t, { settings: { limits } });
  const client = await MqttClient.open(t, port);
  client.hex = "";
  await client.handshake({ ...five, clientId: "c" });
  assert.equal(client.hex, `200e00000b${"22000a"}${"2700123456"}${"210014"}`);
  const old = await MqttClient.open(t, port);
  old.hex = "";
  await old.handshake({ clientId: "d" });
  assert.equal(old.hex, "20020000");
});

test("what is the protocol's default is not told", async (t) => {
  const limits = {
    ...{ topic_aliases: 0, receive_maximum: 65_535, open_qos2: 65_535 },
    max_packet: 268_435_455,
  };
  const { port } = await testBroker(t, { settings: { limits } });
  const client = await MqttClient.open(t, port);
  client.hex = "";
  await client.handshake({ ...five, clientId: "c" });
  assert.equal(client.hex, "2003000000");
});

test("limits.max_qos: told, granted, and enforced with 0x9B [MQTT-3.2.2-9..12]", async (t) => {
  for (const max of [0, 1] as const) {
    const { port, router } = await testBroker(t, { settings: { limits: { max_qos: max } } });
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake(five);
    assert.equal(connack.properties?.maximumQoS, max);
    // Every QoS may be subscribed; the granted one is lower.
    for (const qos of [0, 1, 2] as const) {
      assert.equal(await client.subscribe(`t/${qos}`, qos), Math.min(qos, max));
    }
    client.publish("t/2", "x", { qos: max, messageId: 1 });
    const got = [await client.next()];
    if (max > 0) got.push(await client.next());
    const delivered = got.find((packet) => packet.cmd === "publish");
    assert.equal(delivered?.cmd === "publish" && delivered.qos, max);
    if (max === 1) client.ack("puback", 1);
    client.hex = "";
    client.publish("t/2", "x", { qos: max + 1, messageId: 2, retain: true });
    await client.closed();
    assert.equal(client.hex, "e0019b");
    const old = await MqttClient.connect(t, port);
    old.publish("t", "x", { qos: 2, messageId: 1, retain: true });
    await old.closed();
    assert.deepEqual(old.packets, []);
    assert.equal(router.retained.size, 0);

    const will = { topic: "w", payload: Buffer.from("x"), qos: (max + 1) as QoS, retain: false };
    const willing = await MqttClient.open(t, port);
    willing.hex = "";
    assert.equal((await willing.handshake({ ...five, will })).reasonCode, 0x9b);
    await willing.closed();
    assert.equal(willing.hex, "2003009b00");
  }
});

test("limits.retain_available off: told, refused with 0x9A, and nothing is replayed [MQTT-3.2.2-13, 3.2.2-14]", async (t) => {
  const limits = { retain_available: false };
  const { port, router } = await testBroker(t, { settings: { limits } });
  const client = await MqttClient.open(t, port);
  const connack = await client.handshake(five);
  assert.equal(connack.properties?.retainAvailable, false);
  await client.subscribe("t");
  client.publish("t", "x");
  assert.equal((await client.expect("publish")).retain, false);
  client.hex = "";
  client.publish("t", "x", { retain: true });
  await client.closed();
  assert.equal(client.hex, "e0019a");
  const old = await MqttClient.connect(t, port);
  old.publish("t", "x", { retain: true });
  await old.closed();
  assert.equal(router.retained.size, 0);
  const will = { topic: "w", payload: Buffer.from("x"), qos: 0, retain: true } as const;
  const willing = await MqttClient.open(t, port);
  assert.equal((await willing.handshake({ ...five, will })).reasonCode, 0x9a);
  await willing.closed();
  const oldWill = await MqttClient.open(t, port);
  assert.notEqual((await oldWill.handshake({ will })).returnCode, 0);
});

test("the payload format is checked when that is asked for: 0x99 [MQTT-3.3.2-4]", async (t) => {
  const settings = { mqtt: { check_payload_format: true } };
  const { port, router } = await testBroker(t, { settings });
  const watcher = await MqttClient.connect(t, port, five);
  await watcher.subscribe("#");
  const bad = Buffer.from([0xc3, 0x28]);
  const text = { properties: { payloadFormatIndicator: true } };
  const client = await MqttClient.connect(t, port, five);
  client.publish("t", bad, { qos: 1, messageId: 1, retain: true, ...text });
  assert.equal((await client.expect("puback")).reasonCode, 0x99);
  client.publish("t", bad, { qos: 2, messageId: 2, retain: true, ...text });
  assert.equal((await client.expect("pubrec")).reasonCode, 0x99);
  // A PUBREC with an error ends the exchange: the id is free.
  client.publish("t", "größe", { qos: 2, messageId: 2, ...text });
  assert.equal((await client.expect("pubrec")).reasonCode, 0);
  client.publish("t", bad, { qos: 0, properties: { payloadFormatIndicator: false } });
  client.publish("t", bad, { qos: 0 });
  await client.quiet();
  client.hex = "";
  client.publish("t", bad, { retain: true, ...text });
  await client.closed();
  assert.equal(client.hex, "e00199");
  const good = await watcher.expect("publish");
  // Passed on as it was [MQTT-3.3.2-4].
  assert.deepEqual({ ...good.properties }, { payloadFormatIndicator: true });
  await watcher.expect("publish");
  await watcher.expect("publish");
  await watcher.quiet();
  assert.equal(router.retained.size, 0);
  const will = { topic: "w", payload: bad, qos: 0, retain: false, ...text } as const;
  const willing = await MqttClient.open(t, port);
  assert.equal((await willing.handshake({ ...five, will })).reasonCode, 0x99);
});

test("unasked, the payload format is nobody's business", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, five);
  await client.subscribe("t");
  const properties = { payloadFormatIndicator: true };
  client.publish("t", Buffer.from([0xff]), { properties });
  assert.deepEqual({ ...(await client.expect("publish")).properties }, properties);
});

test("response information is for those who ask [MQTT-3.1.2-28]", async (t) => {
  const settings = { mqtt: { response_information: "reply/%c" } };
  const { port } = await testBroker(t, { settings });
  const ask = async (requestResponseInformation: boolean, clientId: string) => {
    const client = await MqttClient.open(t, port);
    const properties = { requestResponseInformation };
    return (await client.handshake({ ...five, clientId, properties })).properties;
  };
  assert.equal((await ask(true, "a$&b"))?.responseInformation, "reply/a$&b");
  assert.equal((await ask(false, "b"))?.responseInformation, undefined);
  const assigned = await ask(true, "");
  assert.match(assigned?.assignedClientIdentifier ?? "", /^auto-/);
  assert.equal(assigned?.responseInformation, `reply/${assigned?.assignedClientIdentifier}`);
});

test("the server's keep-alive holds where it is given [MQTT-3.1.2-21, 3.2.2-21]", async (t) => {
  const { port, frontEnd } = await testBroker(t, { settings: { limits: { keep_alive_max: 30 } } });
  const told: (number | undefined)[] = [];
  for (const keepalive of [0, 20, 30, 31, 65_535]) {
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake({ ...five, clientId: `k${keepalive}`, keepalive });
    told.push(connack.properties?.serverKeepAlive);
  }
  assert.deepEqual(told, [30, undefined, undefined, 30, 30]);
  const inUse = (id: string) => frontEnd.sessions.get(id)?.channel?.info().keepAliveSeconds;
  assert.deepEqual(["k0", "k20", "k65535"].map(inUse), [30, 20, 30]);
});
