/** Persistent sessions, takeover and expiry over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClaimResult, Directory } from "../../src/cluster/directory-types.js";
import { type Settings, testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";
import { ShiftedClock } from "../support/shifted-clock.js";

const kept = { clientId: "c", clean: false } as const;

test("a persistent session keeps subscriptions and messages [MQTT-3.1.2-4..6]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const first = await MqttClient.connect(t, port, kept);
  await first.subscribe("t", 2);
  first.destroy();
  await eventually(() => frontEnd.sessions.get("c")?.channel === null, "the session to be alone");
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("t", "zero");
  publisher.publish("t", "one", { qos: 1, messageId: 1 });
  publisher.publish("t", "two", { qos: 2, messageId: 2, properties: { contentType: "x" } });
  assert.equal((await publisher.expect("puback")).reasonCode, 0);
  await publisher.expect("pubrec");
  const again = await MqttClient.open(t, port);
  assert.equal((await again.handshake(kept)).sessionPresent, true);
  const one = await again.expect("publish");
  assert.deepEqual([one.payload.toString(), one.qos, one.messageId, one.dup], ["one", 1, 1, false]);
  const two = await again.expect("publish");
  assert.deepEqual([two.payload.toString(), two.qos, two.messageId, two.dup], ["two", 2, 2, false]);
  await again.quiet();
  assert.equal(frontEnd.sessions.counters.droppedOffline, 1);
});

test("what was not acknowledged is sent again, then PUBREL [MQTT-4.4.0-1, 4.6.0-1]", async (t) => {
  const { port } = await testBroker(t);
  const first = await MqttClient.connect(t, port, kept);
  await first.subscribe("t", 2);
  const publisher = await MqttClient.connect(t, port);
  for (let id = 1; id <= 5; id++) {
    publisher.publish("t", `m${id}`, { qos: id === 2 || id === 3 ? 2 : 1, messageId: id });
    await publisher.next();
    await first.expect("publish");
  }
  first.ack("puback", 4);
  first.ack("pubrec", 2);
  await first.expect("pubrel");
  first.destroy();
  const again = await MqttClient.open(t, port);
  assert.equal((await again.handshake(kept)).sessionPresent, true);
  const resent: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const got = await again.expect("publish");
    resent.push([got.messageId, got.payload.toString(), got.qos, got.dup]);
  }
  assert.deepEqual(resent, [
    [1, "m1", 1, true],
    [3, "m3", 2, true],
    [5, "m5", 1, true],
  ]);
  assert.equal((await again.expect("pubrel")).messageId, 2);
  again.ack("pubcomp", 2);
  publisher.publish("t", "new", { qos: 1, messageId: 9 });
  assert.equal((await again.expect("publish")).messageId, 6);
});

test("incoming QoS 2 survives a lost connection [MQTT-4.3.3-10]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("t");
  const first = await MqttClient.connect(t, port, kept);
  first.publish("t", "once", { qos: 2, messageId: 3 });
  await first.expect("pubrec");
  first.destroy();
  const again = await MqttClient.connect(t, port, kept);
  again.publish("t", "once", { qos: 2, messageId: 3, dup: true });
  await again.expect("pubrec");
  again.ack("pubrel", 3);
  await again.expect("pubcomp");
  assert.equal((await watcher.expect("publish")).payload.toString(), "once");
  await watcher.quiet();
});

test("Clean Session and Clean Start discard the old session [MQTT-3.1.2-4, 3.1.4-4]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const first = await MqttClient.connect(t, port, kept);
  await first.subscribe("t", 1);
  first.destroy();
  const clean = await MqttClient.open(t, port);
  assert.equal((await clean.handshake({ clientId: "c" })).sessionPresent, false);
  assert.equal(frontEnd.sessions.get("c")?.subscriptions.size, 0);
  clean.destroy();
  await eventually(() => frontEnd.sessions.size === 0, "the session to end");
});

test("an MQTT 5 session ends after its expiry [MQTT-3.1.2-23, 4.1.0-2]", async (t) => {
  const { port, frontEnd, router } = await testBroker(t);
  const client = await MqttClient.connect(t, port, {
    version: 5,
    clientId: "c",
    properties: { sessionExpiryInterval: 1 },
  });
  await client.subscribe("t", 1);
  client.destroy();
  await eventually(() => frontEnd.sessions.counters.sessionsExpired === 1, "the session to expire");
  assert.equal(frontEnd.sessions.size, 0);
  assert.deepEqual(router.targetsOf(router.topics.internName("t")).local, []);
});

test("DISCONNECT may change the expiry, but not from 0 [MQTT5 3.14.2.2.2]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const properties = { sessionExpiryInterval: 100 };
  const client = await MqttClient.connect(t, port, { version: 5, clientId: "c", properties });
  client.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
  await client.closed();
  assert.equal(frontEnd.sessions.size, 0);
  const other = await MqttClient.connect(t, port, { version: 5 });
  other.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 5 } });
  assert.equal((await other.expect("disconnect")).reasonCode, 0x82);
});

test("DISCONNECT sets the expiry anew, byte by byte; 0 to more is 0x82 [MQTT5 3.14.2.2.2]", async (t) => {
  const clock = new ShiftedClock();
  const settings = { limits: { session_expiry: "1000s" } };
  // The unit is the settings' own.
  const { port, frontEnd } = await testBroker(t, {
    clock,
    settings: settings as unknown as Settings,
  });
  const { sessions } = frontEnd;
  const disconnect = (seconds: number): number[] => {
    const expiry = Buffer.alloc(4);
    expiry.writeUInt32BE(seconds);
    return [0xe0, 7, 0, 5, 0x11, ...expiry];
  };
  const cases: [asked: number, then: number, kept: number][] = [
    [100, 5, 5000],
    [5, 100, 100_000],
    [5, 1001, 1_000_000],
    [5, 0xffff_ffff, 1_000_000],
    [0xffff_ffff, 3, 3000],
  ];
  for (const [asked, then, kept] of cases) {
    const client = await MqttClient.open(t, port);
    const properties = { sessionExpiryInterval: asked };
    const connack = await client.handshake({ version: 5, clientId: "c", properties });
    // What is cut short is told [MQTT-3.2.2.3.2].
    assert.equal(connack.properties?.sessionExpiryInterval, asked > 1000 ? 1000 : undefined);
    client.raw(disconnect(then));
    await client.closed();
    assert.deepEqual(client.packets, []);
    assert.equal(sessions.get("c")?.expiryMs, kept);
    const { sessionsExpired } = sessions.counters;
    clock.forward(kept - 200);
    assert.equal(sessions.size, 1);
    clock.forward(400);
    await eventually(() => sessions.counters.sessionsExpired > sessionsExpired, "the end");
    assert.equal(sessions.size, 0);
  }
  const brief = await MqttClient.connect(t, port, { version: 5, clientId: "d" });
  brief.hex = "";
  brief.raw(disconnect(1));
  await brief.closed();
  assert.equal(brief.hex, "e00182");
  const same = await MqttClient.connect(t, port, { version: 5, clientId: "d" });
  same.raw(disconnect(0));
  await same.closed();
  assert.deepEqual(same.packets, []);
});

test("without a longest expiry nothing is told, and 0xFFFFFFFF ends no session [MQTT5 3.1.2.11.2]", async (t) => {
  const clock = new ShiftedClock();
  const settings = { limits: { session_expiry: "forever" } };
  // The unit is the settings' own.
  const { port, frontEnd } = await testBroker(t, {
    clock,
    settings: settings as unknown as Settings,
  });
  const { sessions } = frontEnd;
  const yearSeconds = 365 * 86_400;
  for (const [clientId, asked] of [
    ["ever", 0xffff_ffff],
    ["long", 10 * yearSeconds],
  ] as const) {
    const client = await MqttClient.open(t, port);
    const properties = { sessionExpiryInterval: asked };
    const connack = await client.handshake({ version: 5, clientId, properties });
    assert.equal(connack.properties?.sessionExpiryInterval, undefined);
    client.destroy();
    await eventually(() => sessions.get(clientId)?.channel === null, "the end of the connection");
  }
  clock.forward(11 * yearSeconds * 1000);
  await eventually(() => sessions.get("long") === undefined, "the end of the session");
  assert.notEqual(sessions.get("ever"), undefined);
});

test("the newest connection of a client id wins, the other gets 0x8E [MQTT-3.1.4-3]", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const properties = { sessionExpiryInterval: 100 };
  const first = await MqttClient.connect(t, port, { version: 5, clientId: "c", properties });
  await first.subscribe("t", 1);
  const second = await MqttClient.open(t, port);
  const connack = await second.handshake({ version: 5, clientId: "c", clean: false, properties });
  assert.equal(connack.sessionPresent, true);
  assert.equal((await first.expect("disconnect")).reasonCode, 0x8e);
  await first.closed();
  second.publish("t", "x", { qos: 0 });
  await second.expect("publish");
  const third = await MqttClient.open(t, port);
  assert.equal((await third.handshake({ clientId: "c" })).sessionPresent, false);
  await second.expect("disconnect");
  assert.equal(frontEnd.sessions.counters.takenOver, 2);
  assert.equal(frontEnd.sessions.size, 1);
});

test("many connections of one id at once leave one", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const clients = await Promise.all(
    Array.from({ length: 20 }, () => MqttClient.connect(t, port, kept)),
  );
  const open = (): MqttClient[] => clients.filter((client) => !client.isClosed);
  await eventually(() => open().length === 1, "all but one to be closed");
  await open()[0]?.quiet();
  assert.equal(frontEnd.connected, 1);
});

test("a session of another user is refused: 0x87, in MQTT 3 return code 5", async (t) => {
  const directory: Directory = {
    claim: (_claim, done) => done({ granted: false, why: "other-user" }),
    isOutdated: () => false,
    attached: () => undefined,
    released: () => undefined,
    changed: () => undefined,
  };
  const { port, frontEnd } = await testBroker(t, { directory });
  const five = await MqttClient.open(t, port);
  assert.equal((await five.handshake({ version: 5, clientId: "c" })).reasonCode, 0x87);
  const four = await MqttClient.open(t, port);
  assert.equal((await four.handshake({ clientId: "c" })).returnCode, 5);
  assert.equal(frontEnd.sessions.counters.claimsRefused, 2);
});

test("a user name that nobody has checked keeps nobody out", async (t) => {
  const { port } = await testBroker(t);
  await MqttClient.connect(t, port, { ...kept, username: "ann" });
  await MqttClient.connect(t, port, { ...kept, username: "bob" });
});

test("while a claim waits nothing is read; superseded ones close without a word", async (t) => {
  const answers: ((result: ClaimResult) => void)[] = [];
  const released: unknown[] = [];
  const directory: Directory = {
    claim: (_claim, done) => void answers.push(done),
    isOutdated: () => false,
    attached: () => undefined,
    released: (...all) => void released.push(all),
    changed: () => undefined,
  };
  const { port, frontEnd } = await testBroker(t, { directory });
  const granted = await MqttClient.open(t, port);
  granted.sendConnect({ clientId: "a" });
  granted.publish("t", "x", { qos: 1, messageId: 1 });
  await eventually(() => answers.length === 1, "the claim");
  answers[0]?.({ granted: true, epoch: 1, sessionAt: null });
  await granted.expect("connack");
  await granted.expect("puback");

  const superseded = await MqttClient.open(t, port);
  superseded.sendConnect({ clientId: "b" });
  await eventually(() => answers.length === 2, "the claim");
  answers[1]?.({ granted: false, why: "superseded" });
  await superseded.closed();
  assert.deepEqual(superseded.packets, []);

  const unavailable = await MqttClient.open(t, port);
  unavailable.sendConnect({ clientId: "b" });
  await eventually(() => answers.length === 3, "the claim");
  answers[2]?.({ granted: false, why: "unavailable" });
  assert.equal((await unavailable.expect("connack")).returnCode, 3);

  const gone = await MqttClient.open(t, port);
  gone.sendConnect({ clientId: "d" });
  await eventually(() => answers.length === 4, "the claim");
  gone.destroy();
  await eventually(() => frontEnd.connected === 1, "the connection to close");
  answers[3]?.({ granted: true, epoch: 7, sessionAt: null });
  assert.deepEqual(released, [["d", 7, false]]);
});
