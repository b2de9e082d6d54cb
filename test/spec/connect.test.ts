/** CONNECT and CONNACK over a real socket. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ReasonCode } from "../../src/protocol/reason-codes.js";
import { testBroker } from "../support/front-end.js";
import { MqttClient } from "../support/mqtt-client.js";

for (const version of [3, 4, 5] as const) {
  test(`a version ${version} client is accepted [MQTT-3.1.4-5]`, async (t) => {
    const { port } = await testBroker(t);
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake({ version, clientId: "c" });
    assert.equal(connack.sessionPresent, false);
    assert.equal(version === 5 ? connack.reasonCode : connack.returnCode, 0);
    await client.quiet();
  });
}

test("CONNACK tells an MQTT 5 client what the server grants [MQTT-3.2.2]", async (t) => {
  const { port } = await testBroker(t, {
    settings: { limits: { session_expiry: 60_000, keep_alive_max: 30, receive_maximum: 7 } },
  });
  const client = await MqttClient.open(t, port);
  const connack = await client.handshake({
    version: 5,
    clientId: "",
    keepalive: 100,
    properties: { sessionExpiryInterval: 3600 },
  });
  const { properties = {} } = connack;
  assert.match(properties.assignedClientIdentifier ?? "", /^auto(-[0-9a-f]{4,12}){5}$/);
  assert.equal(properties.sessionExpiryInterval, 60);
  assert.equal(properties.serverKeepAlive, 30);
  assert.equal(properties.receiveMaximum, 7);
  assert.equal(properties.maximumPacketSize, 1_048_576);
  // Absent: they are available.
  assert.equal(properties.sharedSubscriptionAvailable, undefined);
  assert.equal(properties.topicAliasMaximum, 32);
});

test("what was granted as asked is not repeated", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const asked = { version: 5, clientId: "c", properties: { sessionExpiryInterval: 3600 } } as const;
  const { properties = {} } = await client.handshake(asked);
  assert.equal(properties.sessionExpiryInterval, undefined);
  assert.equal(properties.assignedClientIdentifier, undefined);
  assert.equal(properties.serverKeepAlive, undefined);
});

test("an MQTT 3.1.1 client without an id must be clean [v3.1.1 MQTT-3.1.3-8]", async (t) => {
  const { port } = await testBroker(t);
  const clean = await MqttClient.open(t, port);
  assert.equal((await clean.handshake({ clientId: "" })).returnCode, 0);
  const other = await MqttClient.open(t, port);
  // mqtt-packet would not write it.
  other.raw([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 0, 0, 0, 0, 0]);
  assert.equal((await other.expect("connack")).returnCode, 2);
  await other.closed();
});

test("an MQTT 3.1 client must have an id", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const name = [0, 6, 0x4d, 0x51, 0x49, 0x73, 0x64, 0x70];
  client.raw([0x10, 14, ...name, 3, 2, 0, 0, 0, 0]);
  assert.equal((await client.expect("connack")).returnCode, 2);
  await client.closed();
});

test("a client id over the limit is refused", async (t) => {
  const { port } = await testBroker(t);
  const five = await MqttClient.open(t, port);
  const connack = await five.handshake({ version: 5, clientId: "x".repeat(257) });
  assert.equal(connack.reasonCode, 0x85);
  await five.closed();
  const four = await MqttClient.open(t, port);
  assert.equal((await four.handshake({ clientId: "x".repeat(257) })).returnCode, 2);
});

test("an unknown protocol level gets return code 1 [MQTT-3.1.2-2]", async (t) => {
  const { port } = await testBroker(t);
  for (const level of [0, 2, 3, 0x84]) {
    const client = await MqttClient.open(t, port);
    client.raw([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, level, 2, 0, 0, 0, 1, 0x63]);
    assert.equal((await client.expect("connack")).returnCode, 1);
    await client.closed();
  }
});

test("another protocol name closes without a word [MQTT-3.1.2-1]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  client.raw([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x55, 4, 2, 0, 0, 0, 1, 0x63]);
  await client.closed();
  assert.deepEqual(client.packets, []);
});

test("reserved and disagreeing flags are malformed [MQTT-3.1.2-3, 3.1.2-11..13] [v3.1.1 MQTT-3.1.2-22]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  // reserved bit; will QoS without will; will retain without will; will QoS 3; password without name
  for (const flags of [0x03, 0x0a, 0x22, 0x1e, 0x42]) {
    const client = await MqttClient.open(t, port);
    client.raw([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, flags, 0, 0, 0, 1, 0x63]);
    await client.closed();
    assert.deepEqual(client.packets, []);
  }
  assert.equal(frontEnd.sessions.size, 0);
});

test("an MQTT 5 CONNECT that is malformed gets its reason code [MQTT-4.13.2-1]", async (t) => {
  const { port } = await testBroker(t, { settings: { mqtt: { reason_strings: true } } });
  const name = [0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0];
  const cases: [number, number[]][] = [
    [0x85, [0, 0, 1, 0xff]], // client id is not UTF-8
    [0x85, [0, 0, 1, 0x00]], // U+0000 in it
    [0x81, [2, 0x7f, 1, 0, 1, 0x63]], // no such property
    [0x82, [2, 0x24, 1, 0, 1, 0x63]], // a server's property
    [0x82, [6, 0x21, 0, 1, 0x21, 0, 1, 0, 1, 0x63]], // Receive Maximum twice
    [0x82, [3, 0x21, 0, 0, 0, 1, 0x63]], // Receive Maximum 0
    [0x82, [2, 0x17, 2, 0, 1, 0x63]], // neither 0 nor 1
    [0x81, [0, 0, 1, 0x63, 0]], // a byte left over
  ];
  for (const [reason, rest] of cases) {
    const client = await MqttClient.open(t, port);
    client.version = 5;
    const bytes = [...name, ...rest];
    const connack = await client.handshakeRaw([0x10, bytes.length, ...bytes]);
    assert.equal(connack.reasonCode, reason, `for ${rest}`);
    assert.ok((connack.properties?.reasonString ?? "") !== "");
    await client.closed();
  }
});

test("an authentication method that is not offered is refused with 0x8C [MQTT-4.12.0-1]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const properties = { authenticationMethod: "SCRAM-SHA-1" };
  const connack = await client.handshake({ version: 5, properties });
  assert.equal(connack.reasonCode, 0x8c);
  await client.closed();
});

test("a second CONNECT closes the connection [MQTT-3.1.0-2]", async (t) => {
  const { port } = await testBroker(t);
  const four = await MqttClient.connect(t, port);
  four.sendConnect();
  await four.closed();
  const five = await MqttClient.connect(t, port, { version: 5 });
  five.sendConnect({ version: 5 });
  assert.equal((await five.expect("disconnect")).reasonCode, 0x82);
  await five.closed();
});

test("packets that follow CONNECT at once are handled after it [MQTT5 3.1.4]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  client.sendConnect();
  client.raw([0xc0, 0]);
  await client.expect("connack");
  await client.expect("pingresp");
});

test("a will with a wrong topic is refused", async (t) => {
  const { port } = await testBroker(t, { settings: { limits: { topic_levels: 2 } } });
  const client = await MqttClient.open(t, port);
  const deep = await client.handshake({ version: 5, will: { topic: "a/b/c", payload: "x" } });
  assert.equal(deep.reasonCode, 0x90);
  const wild = await MqttClient.open(t, port);
  const connack = await wild.handshake({ version: 5, will: { topic: "a/#", payload: "x" } });
  assert.equal(connack.reasonCode, 0x82);
});

test("a client that is to go elsewhere hears where, in CONNACK as well [MQTT5 3.2.2.3.16, 4.11]", async (t) => {
  const { port, frontEnd } = await testBroker(t, {
    settings: { drain: { server_reference: "r:1883" } },
  });
  const answer = async (connect: object): Promise<string> => {
    const client = await MqttClient.open(t, port);
    client.hex = "";
    client.sendConnect(connect);
    await client.closed();
    return client.hex;
  };
  for (const reason of [ReasonCode.UseAnotherServer, ReasonCode.ServerMoved]) {
    frontEnd.gate.reason = reason;
    const told = `200c00${reason.toString(16)}09${"1c0006723a31383833"}`;
    assert.equal(await answer({ version: 5 }), told);
    // Where there is no room for that.
    const small = { version: 5, properties: { maximumPacketSize: 13 } };
    assert.equal(await answer(small), `200300${reason.toString(16)}00`);
    assert.equal(await answer({ version: 4 }), "20020003");
  }
  // Nothing is said of another server to one that is refused for another reason.
  frontEnd.gate.reason = ReasonCode.ServerBusy;
  assert.equal(await answer({ version: 5 }), "2003008900");
});
