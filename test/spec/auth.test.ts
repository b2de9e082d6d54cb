/** User name and password, and enhanced authentication [MQTT5 4.12], over a real socket. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { IAuthPacket, IConnackPacket } from "mqtt-packet";
import { ScramClient } from "../auth/scram-client.js";
import { testUsers } from "../auth/support.js";
import { type Settings, type TestBroker, testBroker } from "../support/front-end.js";
import { type ConnectOptions, MqttClient } from "../support/mqtt-client.js";

const users = await testUsers({ anna: "secret", bert: "other" });
const authenticationMethod = "SCRAM-SHA-256";

function brokerWithUsers(t: TestContext, settings: Settings = {}): Promise<TestBroker> {
  return testBroker(t, { users, settings });
}

const codeOf = (connack: IConnackPacket): number | undefined =>
  connack.reasonCode ?? connack.returnCode;

async function refusalOf(t: TestContext, port: number, options: ConnectOptions) {
  const client = await MqttClient.open(t, port);
  const code = codeOf(await client.handshake(options));
  await client.closed();
  assert.deepEqual(client.packets, []);
  return code;
}

function auth(client: MqttClient, reasonCode: number, properties: IAuthPacket["properties"]): void {
  client.send({ cmd: "auth", reasonCode, ...(properties === undefined ? {} : { properties }) });
}

/** Sends CONNECT with a method and returns the server's first message. */
async function opening(client: MqttClient, scram: ScramClient, options: ConnectOptions = {}) {
  const properties = { authenticationMethod, authenticationData: scram.first() };
  client.sendConnect({ version: 5, clientId: "c", ...options, properties });
  return await challenge(client);
}

async function challenge(client: MqttClient): Promise<Buffer> {
  const packet = await client.expect("auth");
  assert.equal(packet.reasonCode, 0x18);
  assert.equal(packet.properties?.authenticationMethod, authenticationMethod); // [MQTT-4.12.0-5]
  return packet.properties?.authenticationData ?? Buffer.alloc(0);
}

/** A client that is connected by SCRAM. */
async function connected(t: TestContext, port: number, options: ConnectOptions = {}) {
  const client = await MqttClient.open(t, port);
  const scram = new ScramClient("anna", "secret");
  const final = scram.final(await opening(client, scram, options));
  auth(client, 0x18, { authenticationMethod, authenticationData: final });
  const connack = await client.expect("connack");
  assert.equal(connack.reasonCode, 0);
  assert.equal(connack.properties?.authenticationMethod, authenticationMethod);
  assert.ok(scram.accepts(connack.properties?.authenticationData));
  return client;
}

for (const version of [3, 4, 5] as const) {
  test(`version ${version}: the right password gets in, as that user`, async (t) => {
    const { port, frontEnd } = await brokerWithUsers(t, { auth: { anonymous: false } });
    const shown = { version, clientId: "c", username: "anna", password: Buffer.from("secret") };
    const client = await MqttClient.connect(t, port, shown);
    await client.quiet();
    assert.equal(frontEnd.sessions.get("c")?.user, "anna");
  });

  test(`version ${version}: wrong password, unknown user and no user are refused`, async (t) => {
    const { port, frontEnd } = await brokerWithUsers(t, { auth: { anonymous: false } });
    const password = Buffer.from("secret");
    const wrong = version === 5 ? 0x86 : 4;
    const bert = { version, username: "bert", password };
    assert.equal(await refusalOf(t, port, bert), wrong);
    assert.equal(await refusalOf(t, port, { version, username: "nobody", password }), wrong);
    assert.equal(await refusalOf(t, port, { version, username: "anna" }), wrong);
    assert.equal(await refusalOf(t, port, { version }), version === 5 ? 0x87 : 5);
    assert.equal(frontEnd.sessions.size, 0);
    const { counters } = frontEnd.authenticator;
    assert.equal(counters.refusedWrongPassword, 2);
    assert.equal(counters.refusedUnknownUser, 1);
    assert.equal(counters.refusedAnonymous, 1);
  });

  test(`version ${version}: another user's client id is refused, the first stays`, async (t) => {
    const { port } = await brokerWithUsers(t);
    const anna = { clientId: "c", username: "anna", password: Buffer.from("secret") };
    const first = await MqttClient.connect(t, port, { version, ...anna });
    const bert = { clientId: "c", username: "bert", password: Buffer.from("other") };
    const code = version === 5 ? 0x87 : 5;
    assert.equal(await refusalOf(t, port, { version, ...bert }), code);
    assert.equal(await refusalOf(t, port, { version, clientId: "c" }), code);
    await first.quiet();
  });
}

test("a listener may want a user where others do not, and the other way round", async (t) => {
  const listeners = {
    tcp: { port: 0, anonymous: false },
    more: [{ kind: "tcp", name: "inside", port: 0, anonymous: true }],
  };
  const { port, frontEnd } = await brokerWithUsers(t, { listeners });
  assert.equal(await refusalOf(t, port, { version: 5 }), 0x87);
  const inside = frontEnd.listeners().find((listener) => listener.port !== port);
  await MqttClient.connect(t, inside?.port ?? 0, { version: 5 });
  const shown = { username: "anna", password: Buffer.from("wrong") };
  assert.equal(await refusalOf(t, inside?.port ?? 0, shown), 4);
});

test("without a users file a user name is taken and not looked at", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const shown = { clientId: "c", username: "anna", password: Buffer.from("whatever") };
  await MqttClient.connect(t, port, shown);
  assert.equal(frontEnd.sessions.get("c")?.user, "");
});

test("a v5 client may send a password without a name; it is anonymous then", async (t) => {
  const { port } = await brokerWithUsers(t);
  // CONNECT flags 0x42, no properties, id "p", password "x"
  const bytes = [0x10, 17, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 0x42, 0, 0, 0, 0, 1, 0x70, 0, 1, 0x78];
  const client = await MqttClient.open(t, port);
  client.version = 5;
  assert.equal(codeOf(await client.handshakeRaw(bytes)), 0);
});

test("too many checks at once: busy, 0x89 and 3", async (t) => {
  const settings = { auth: { checks_at_once: 1, checks_waiting: 0, iterations: 4096 } };
  const { port, frontEnd } = await brokerWithUsers(t, settings);
  const shown = { username: "anna", password: Buffer.from("secret") };
  const clients = await Promise.all(Array.from({ length: 8 }, () => MqttClient.open(t, port)));
  // All are open, so that the CONNECTs arrive together.
  const codes = await Promise.all(
    clients.map(async (client, index) =>
      codeOf(await client.handshake({ version: index % 2 === 0 ? 5 : 4, ...shown })),
    ),
  );
  assert.ok(
    codes.every((code) => code === 0 || code === 0x89 || code === 3),
    `${codes}`,
  );
  const refused = codes.filter((code) => code !== 0).length;
  assert.equal(frontEnd.authenticator.counters.refusedBusy, refused);
});

test("what a client sends after CONNECT waits for the check of its password", async (t) => {
  const { port } = await brokerWithUsers(t);
  const client = await MqttClient.open(t, port);
  client.sendConnect({ username: "anna", password: Buffer.from("secret") });
  client.raw([0xc0, 0]);
  await client.expect("connack");
  await client.expect("pingresp");
});

test("a refused client's will is not published", async (t) => {
  const { port } = await brokerWithUsers(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("will");
  const will = { topic: "will", payload: Buffer.from("gone") };
  const shown = { username: "anna", password: Buffer.from("wrong"), will };
  assert.equal(await refusalOf(t, port, shown), 4);
  await watcher.quiet();
});

test("SCRAM-SHA-256: both sides prove themselves, the session is the user's", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t, { auth: { anonymous: false } });
  const client = await connected(t, port);
  assert.equal(frontEnd.sessions.get("c")?.user, "anna");
  assert.equal(frontEnd.authenticator.counters.exchangesAccepted, 1);
  await client.quiet();
});

test("SCRAM goes byte by byte, and user name and password beside it are not looked at", async (t) => {
  const { port } = await brokerWithUsers(t);
  const client = await MqttClient.open(t, port);
  const scram = new ScramClient("anna", "secret");
  const beside = { username: "bert", password: Buffer.from("wrong") };
  const final = scram.final(await opening(client, scram, beside));
  const properties = Buffer.concat([
    Buffer.from([0x15, 0, 13]),
    Buffer.from(authenticationMethod),
    Buffer.from([0x16, 0, final.length]),
    final,
  ]);
  const rest = [0x18, properties.length, ...properties];
  for (const byte of [0xf0, rest.length, ...rest]) client.raw([byte]);
  assert.equal((await client.expect("connack")).reasonCode, 0);
});

test("a client that sends no data with CONNECT is asked for it [MQTT-4.12.0-2, 4.12.0-3, 4.12.0-5]", async (t) => {
  const { port } = await brokerWithUsers(t);
  const client = await MqttClient.open(t, port);
  client.sendConnect({ version: 5, properties: { authenticationMethod } });
  assert.equal((await challenge(client)).length, 0);
  const scram = new ScramClient("anna", "secret");
  auth(client, 0x18, { authenticationMethod, authenticationData: scram.first() });
  const final = scram.final(await challenge(client));
  auth(client, 0x18, { authenticationMethod, authenticationData: final });
  assert.equal((await client.expect("connack")).reasonCode, 0);
});

test("wrong password and unknown user fail at the same message with 0x87 [MQTT-4.12.0-4]", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  for (const scram of [new ScramClient("anna", "wrong"), new ScramClient("nobody", "secret")]) {
    const client = await MqttClient.open(t, port);
    const final = scram.final(await opening(client, scram));
    auth(client, 0x18, { authenticationMethod, authenticationData: final });
    const connack = await client.expect("connack");
    assert.equal(connack.reasonCode, 0x87);
    assert.equal(connack.properties?.authenticationData?.toString(), "e=invalid-proof");
    await client.closed();
  }
  assert.deepEqual(frontEnd.authenticator.counters.refusedExchange, { "invalid-proof": 2 });
  assert.equal(frontEnd.sessions.size, 0);
});

test("a first message that cannot be is refused at once", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  const data = Buffer.from("p=tls-unique,,n=anna,r=x");
  const properties = { authenticationMethod, authenticationData: data };
  assert.equal(await refusalOf(t, port, { version: 5, properties }), 0x87);
  const { refusedExchange } = frontEnd.authenticator.counters;
  assert.deepEqual(refusedExchange, { "channel-binding-not-supported": 1 });
});

test("an unknown method gets 0x8C [MQTT-4.12.0-1]", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  const properties = { authenticationMethod: "GS2-KRB5", authenticationData: Buffer.from("x") };
  const beside = { username: "anna", password: Buffer.from("secret") };
  assert.equal(await refusalOf(t, port, { version: 5, ...beside, properties }), 0x8c);
  assert.equal(frontEnd.authenticator.counters.refusedUnknownMethod, 1);
});

test("authentication data without a method is a protocol error [MQTT5 3.1.2.11.10]", async (t) => {
  const { port } = await brokerWithUsers(t);
  const properties = { authenticationData: Buffer.from("x") };
  assert.equal(await refusalOf(t, port, { version: 5, properties }), 0x82);
});

/** Bytes of an AUTH with this reason code, and with a method or without. */
const authBytes = (reason: number, method = authenticationMethod): number[] => {
  const properties = [0x15, 0, method.length, ...Buffer.from(method)];
  return [0xf0, properties.length + 2, reason, properties.length, ...properties];
};

const beforeConnack: readonly (readonly [string, readonly number[], number])[] = [
  ["PINGREQ", [0xc0, 0], 0x82],
  ["PUBLISH", [0x30, 4, 0, 1, 0x74, 0], 0x82],
  ["the beginning of a SUBSCRIBE and its end", [0x82, 7, 0, 1, 0, 0, 1, 0x74, 0], 0x82],
  ["a second CONNECT", [0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5, 2, 0, 0, 0, 0, 0], 0x82],
  ["AUTH with another method", authBytes(0x18, "SCRAM-SHA-1"), 0x82],
  ["AUTH without a method", [0xf0, 2, 0x18, 0], 0x82],
  ["AUTH without anything", [0xf0, 0], 0x82],
  ["AUTH re-authenticate", authBytes(0x19), 0x82],
  ["AUTH success", authBytes(0), 0x82],
  ["AUTH with flags", [0xf1, ...authBytes(0x18).slice(1)], 0x81],
  ["AUTH with bytes left over", [0xf0, 3, 0x18, 0, 0], 0x81],
  ["AUTH with a property of CONNECT", [0xf0, 5, 0x18, 3, 0x21, 0, 1], 0x82],
];
for (const [what, bytes, code] of beforeConnack) {
  test(`${what} during authentication gets ${code.toString(16)} [MQTT-3.1.2-30]`, async (t) => {
    const { port, frontEnd } = await brokerWithUsers(t);
    const client = await MqttClient.open(t, port);
    await opening(client, new ScramClient("anna", "secret"));
    client.raw(bytes);
    assert.equal((await client.expect("connack")).reasonCode, code);
    await client.closed();
    assert.equal(frontEnd.sessions.size, 0);
  });
}

test("a client may leave by DISCONNECT during authentication", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  const client = await MqttClient.open(t, port);
  await opening(client, new ScramClient("anna", "secret"));
  client.raw([0xe0, 0]);
  await client.closed();
  assert.deepEqual(client.packets, []);
  assert.equal(frontEnd.counters.closedBy.disconnect, 1);
});

test("an authentication that is not finished in time is closed", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t, { limits: { connect_timeout: 200 } });
  const client = await MqttClient.open(t, port);
  await opening(client, new ScramClient("anna", "secret"));
  await client.closed();
  assert.equal(frontEnd.counters.closedBy["authentication not finished in time"], 1);
});

/** Begins to authenticate again and answers the challenge. */
async function again(client: MqttClient, scram: ScramClient): Promise<void> {
  auth(client, 0x19, { authenticationMethod, authenticationData: scram.first() });
  const final = scram.final(await challenge(client));
  auth(client, 0x18, { authenticationMethod, authenticationData: final });
}

test("a client authenticates again while messages go on [MQTT5 4.12.1]", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  const client = await connected(t, port);
  await client.subscribe("t");
  for (let round = 0; round < 2; round++) {
    const scram = new ScramClient("anna", "secret");
    auth(client, 0x19, { authenticationMethod, authenticationData: scram.first() });
    const final = scram.final(await challenge(client));
    client.publish("t", "meanwhile");
    assert.equal((await client.expect("publish")).payload.toString(), "meanwhile");
    auth(client, 0x18, { authenticationMethod, authenticationData: final });
    const done = await client.expect("auth");
    assert.equal(done.reasonCode ?? 0, 0);
    assert.equal(done.properties?.authenticationMethod, authenticationMethod);
    assert.ok(scram.accepts(done.properties?.authenticationData));
  }
  await client.quiet();
  assert.equal(frontEnd.authenticator.counters.againAccepted, 2);
});

test("failing to authenticate again gets 0x87 and closes [MQTT-4.12.1-2]", async (t) => {
  const { port, frontEnd } = await brokerWithUsers(t);
  // The second proves itself to be somebody else, whose session this is not.
  for (const scram of [new ScramClient("anna", "wrong"), new ScramClient("bert", "other")]) {
    const client = await connected(t, port);
    await again(client, scram);
    assert.equal((await client.expect("disconnect")).reasonCode, 0x87);
    await client.closed();
  }
  const { refusedAgain } = frontEnd.authenticator.counters;
  assert.deepEqual(refusedAgain, { "invalid-proof": 1, "another user": 1 });
});

const duringConnection: readonly (readonly [string, readonly number[], number])[] = [
  ["another method", authBytes(0x19, "GS2-KRB5"), 0x82],
  ["no method", [0xf0, 2, 0x19, 0], 0x82],
  ["nothing to continue", authBytes(0x18), 0x82],
  ["success", authBytes(0), 0x82],
  ["an unknown reason code", authBytes(0x42), 0x82],
  ["flags", [0xf2, ...authBytes(0x19).slice(1)], 0x81],
  ["two at once", [...authBytes(0x19), ...authBytes(0x19)], 0x82],
];
for (const [what, bytes, code] of duringConnection) {
  test(`AUTH in a connection with ${what} gets ${code.toString(16)} [MQTT-4.12.1-1]`, async (t) => {
    const { port } = await brokerWithUsers(t);
    const client = await connected(t, port);
    client.raw(bytes);
    const last = await client.next();
    const disconnect = last.cmd === "auth" ? await client.next() : last;
    assert.ok(disconnect.cmd === "disconnect" && disconnect.reasonCode === code);
    await client.closed();
  });
}

test("a client that named no method must not send AUTH [MQTT-4.12.0-7]", async (t) => {
  const { port } = await brokerWithUsers(t);
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.raw(authBytes(0x19));
  assert.equal((await client.expect("disconnect")).reasonCode, 0x82);
  await client.closed();
});

test("AUTH closes an MQTT 3 connection, and one without CONNECT", async (t) => {
  const { port } = await brokerWithUsers(t);
  for (const version of [3, 4] as const) {
    const client = await MqttClient.connect(t, port, { version });
    client.raw([0xf0, 0]);
    await client.closed();
    assert.deepEqual(client.packets, []);
  }
  const stranger = await MqttClient.open(t, port);
  stranger.raw(authBytes(0x18));
  await stranger.closed();
  assert.deepEqual(stranger.packets, []);
});

test("an AUTH larger than a CONNECT may be is refused before it is kept", async (t) => {
  const { port } = await brokerWithUsers(t);
  const client = await MqttClient.open(t, port);
  await opening(client, new ScramClient("anna", "secret"));
  client.raw([0xf0, 0xff, 0xff, 0x7f]);
  assert.equal((await client.expect("connack")).reasonCode, 0x95);
  await client.closed();
});
