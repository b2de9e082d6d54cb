/** CONNECT, CONNACK, sessions, wills and DISCONNECT, in both versions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { answerTo, both, connectBytes, field, kept, packet } from "./both.js";

both(
  "Session Present: 0 for a new and for a clean session, 1 for one that goes on [MQTT-3.2.2-1..3, 3.1.2-5, 3.1.2-6, 3.1.3-2, 3.2.0-1] [v3.1.1 MQTT-3.1.2-6]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const heads: string[] = [];
    for (const clean of [false, false, true, false]) {
      const client = await MqttClient.open(t, port);
      client.hex = "";
      await client.handshake({ ...kept(version, "c"), clean });
      heads.push(client.hex.slice(0, 2) + client.hex.slice(4, 8));
      const other = await MqttClient.connect(t, port, kept(version, "another"));
      other.destroy();
      client.send({ cmd: "disconnect", reasonCode: 0 });
      await client.closed();
    }
    // After the clean one nothing was left in 3.1.1; in 5.0 its expiry keeps it.
    assert.deepEqual(heads, ["200000", "200100", "200000", version === 5 ? "200100" : "200000"]);
  },
);

both(
  "a session that is kept gets its messages later, another has none [MQTT-3.1.2-5, 3.1.2-23, 4.5.0-1, 4.1.0-1]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port);
    const first = await MqttClient.connect(t, port, kept(version, "kept"));
    await first.subscribe("t", 2);
    // It lives while its connection does.
    const clean = await MqttClient.connect(t, port, { version, clientId: "clean" });
    await clean.subscribe("t", 2);
    for (const client of [first, clean]) {
      client.send({ cmd: "disconnect", reasonCode: 0 });
      await client.closed();
    }
    publisher.publish("t", "one", { qos: 1, messageId: 1 });
    await publisher.expect("puback");
    publisher.publish("t", "two", { qos: 2, messageId: 2 });
    await publisher.expect("pubrec");
    publisher.ack("pubrel", 2);
    await publisher.expect("pubcomp");
    const back = await MqttClient.connect(t, port, kept(version, "kept"));
    const got = [await back.expect("publish"), await back.expect("publish")];
    assert.deepEqual(
      got.map(({ payload, qos, dup }) => [payload.toString(), qos, dup]),
      [
        ["one", 1, false],
        ["two", 2, false],
      ],
    );
    const cleanBack = await MqttClient.connect(t, port, { ...kept(version, "clean") });
    await cleanBack.quiet();
  },
);

both("ids of 1 to 23 letters and digits are taken [MQTT-3.1.3-5]", async (t, version) => {
  const { port, frontEnd } = await testBroker(t);
  const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const ids = ["0", letters.slice(0, 23), letters.slice(23, 46), letters.slice(40)];
  for (const clientId of ids) {
    await MqttClient.connect(t, port, { version, clientId });
    assert.ok(frontEnd.sessions.get(clientId) !== undefined);
  }
});

both(
  "clients without an id get one each, and MQTT 5 is told [MQTT-3.1.3-6, 3.1.3-7, 3.2.2-16]",
  async (t, version) => {
    const { port, frontEnd } = await testBroker(t);
    const told: (string | undefined)[] = [];
    for (let i = 0; i < 2; i++) {
      const client = await MqttClient.open(t, port);
      const connack = await client.handshake({ version, clientId: "" });
      told.push(connack.properties?.assignedClientIdentifier);
    }
    const ids = [...frontEnd.sessions.all()].map(({ clientId }) => clientId);
    assert.equal(new Set(ids).size, 2);
    assert.deepEqual(new Set(told), new Set(version === 5 ? ids : [undefined]));
  },
);

both(
  "a refused id is told and closes; Session Present is 0 [MQTT-3.1.3-8, 3.1.4-2, 3.2.2-6, 3.2.2-7]",
  async (t, version) => {
    const { port } = await testBroker(t, { settings: { limits: { client_id_bytes: 30 } } });
    const answer = await answerTo(
      t,
      port,
      version,
      connectBytes(version, 0, field("x".repeat(31))),
    );
    assert.equal(answer, version === 5 ? "2003008500" : "20020002");
  },
);

both("nothing that follows a refused CONNECT is looked at [MQTT-3.1.4-6]", async (t, version) => {
  const { port, router, frontEnd } = await testBroker(t, {
    settings: { auth: { anonymous: false } },
  });
  const publish = packet(0x31, field("t"), version === 5 ? [0] : [], [0x78]);
  const bytes = [...connectBytes(version, 2, field("c")), ...publish, 0xc0, 0];
  const answer = await answerTo(t, port, version, bytes);
  assert.match(answer, version === 5 ? /^200300(86|87)00$/ : /^2002000[45]$/);
  assert.deepEqual([router.retained.size, frontEnd.sessions.size], [0, 0]);
});

both(
  "one CONNACK a connection, before anything else, although messages wait [MQTT-3.2.0-1, 3.2.0-2]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const first = await MqttClient.connect(t, port, kept(version, "c"));
    await first.subscribe("t", 1);
    first.destroy();
    const publisher = await MqttClient.connect(t, port);
    publisher.publish("t", "x", { qos: 1, messageId: 1 });
    await publisher.expect("puback");
    const back = await MqttClient.open(t, port);
    back.sendConnect(kept(version, "c"));
    back.raw([0xc0, 0]);
    const kinds = [(await back.next()).cmd, (await back.next()).cmd, (await back.next()).cmd];
    assert.equal(kinds[0], "connack");
    assert.deepEqual(kinds.slice(1).sort(), ["pingresp", "publish"]);
    await back.quiet();
  },
);

both(
  "a will is kept, and published as it was asked for: not retained, or retained [MQTT-3.1.2-7, 3.1.2-8, 3.1.2-14, 3.1.2-15]",
  async (t, version) => {
    const { port, router } = await testBroker(t);
    const watcher = await MqttClient.connect(t, port);
    await watcher.subscribe("w/#", 2);
    for (const retain of [false, true]) {
      const will = { topic: `w/${retain}`, payload: Buffer.from("gone"), qos: 1 as const, retain };
      (await MqttClient.connect(t, port, { version, will })).destroy();
      const got = await watcher.expect("publish");
      assert.deepEqual([got.topic, got.payload.toString(), got.qos], [will.topic, "gone", 1]);
      watcher.ack("puback", got.messageId ?? 0);
      assert.equal(router.retained.size, retain ? 1 : 0);
    }
  },
);

both("no will, none is published [v3.1.1 MQTT-3.1.2-12]", async (t, version) => {
  const { port, frontEnd } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("#");
  (await MqttClient.connect(t, port, { version })).destroy();
  await eventually(() => frontEnd.connected === 1, "the client to be gone");
  await watcher.quiet();
});

test("v5: the user properties of a will keep their order [MQTT-3.1.3-10]", async (t) => {
  const { port } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port, { version: 5 });
  await watcher.subscribe("w");
  const pairs = ["b", "1", "a", "2", "b", "0"];
  const user = [];
  for (let i = 0; i < pairs.length; i += 2) {
    user.push(0x26, ...field(pairs[i] ?? ""), ...field(pairs[i + 1] ?? ""));
  }
  const client = await MqttClient.open(t, port);
  client.version = 5;
  const will = [[user.length, ...user], field("w"), field("x")];
  await client.handshakeRaw(connectBytes(5, 0x06, field("c"), ...will));
  watcher.hex = "";
  client.destroy();
  await watcher.expect("publish");
  assert.ok(watcher.hex.includes(Buffer.from(user).toString("hex")), watcher.hex);
});

both("PINGREQ is answered [MQTT-3.12.4-1]", async (t, version) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.connect(t, port, { version });
  client.hex = "";
  await client.quiet();
  assert.equal(client.hex, "d000");
});

test("v5: after its DISCONNECT, of a code of the list, the server sends nothing and closes [MQTT-3.14.0-1, 3.14.2-1, 3.14.4-1, 3.14.4-2, 4.13.2-1]", async (t) => {
  const { port } = await testBroker(t);
  const before = await answerTo(t, port, 5, packet(0xc0));
  assert.equal(before, "");
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.hex = "";
  client.raw([...packet(0x30, field("a+"), [0]), 0xc0, 0, 0xc0, 0]);
  await client.closed();
  assert.match(client.hex, /^e001(81|82|90)$/);
});

test("v5: reason strings are left out where there is no room for them [MQTT-3.2.2-19, 3.14.2-3]", async (t) => {
  const settings = { mqtt: { reason_strings: true }, limits: { client_id_bytes: 30 } };
  const { port } = await testBroker(t, { settings });
  const refused = await MqttClient.open(t, port);
  refused.hex = "";
  refused.sendConnect({
    version: 5,
    clientId: "x".repeat(31),
    properties: { maximumPacketSize: 10 },
  });
  await refused.closed();
  assert.equal(refused.hex, "2003008500");
  const properties = { maximumPacketSize: 20 };
  const client = await MqttClient.connect(t, port, { version: 5, clientId: "c", properties });
  client.hex = "";
  client.raw([0x82, 2, 0, 1]);
  await client.closed();
  assert.match(client.hex, /^e0018[12]$/);
});

test("v5: acknowledgements carry no reason string and no user property, wanted or not [MQTT-3.1.2-29]", async (t) => {
  const { port } = await testBroker(t, { settings: { mqtt: { reason_strings: true } } });
  const properties = { requestProblemInformation: false };
  const client = await MqttClient.connect(t, port, { version: 5, properties });
  client.hex = "";
  client.publish("t", "x", { qos: 1, messageId: 1 });
  await client.expect("puback");
  client.ack("pubrel", 9);
  await client.expect("pubcomp");
  await client.subscribe("t");
  client.send({ cmd: "unsubscribe", messageId: 2, unsubscriptions: ["t", "u"] });
  await client.expect("unsuback");
  assert.equal(client.hex, "4003000110" + "7003000992" + "900400010000" + "b0050002000011");
});

test("v5: a client that allows no aliases gets none, another none over its maximum [MQTT-3.1.2-26, 3.1.2-27]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  for (const topicAliasMaximum of [0, 2]) {
    const properties = { topicAliasMaximum };
    const client = await MqttClient.connect(t, port, { version: 5, properties });
    await client.subscribe("#");
    for (const topic of ["long/a", "long/b", "long/c", "long/a", "long/b", "long/c"]) {
      publisher.publish(topic, "x");
      const alias = (await client.expect("publish")).properties?.topicAlias ?? 0;
      assert.ok(alias <= topicAliasMaximum, `${alias}`);
    }
    client.destroy();
  }
});

test("v5: no AUTH and no method for a client that named none [MQTT-4.12.0-6]", async (t) => {
  const { port } = await testBroker(t);
  const client = await MqttClient.open(t, port);
  const connack = await client.handshake({ version: 5 });
  assert.equal(connack.properties?.authenticationMethod, undefined);
  await client.quiet();
});

both(
  "a retained message outlives the session of its publisher [v3.1.1 MQTT-3.1.2-7]",
  async (t, version) => {
    const { port, router, frontEnd } = await testBroker(t);
    const client = await MqttClient.connect(t, port, { version });
    client.publish("t", "x", { retain: true });
    client.send({ cmd: "disconnect", reasonCode: 0 });
    await client.closed();
    await eventually(() => frontEnd.sessions.size === 0, "the session to be gone");
    assert.equal(router.retained.size, 1);
  },
);
