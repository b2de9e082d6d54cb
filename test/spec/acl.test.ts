/**
 * Access rules on all the paths that a message takes, over real sockets: publish, subscribe, live delivery,
 * retained messages, what waited in a queue, wills, shared subscriptions, and a client id that is taken.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Acl, AclSettings } from "../../src/auth/acl/acl.js";
import { silentLog } from "../../src/lib/log.js";
import { testAcl, type TestAcl } from "../auth/acl-support.js";
import { testUsers } from "../auth/support.js";
import { type Settings, type TestBroker, testBroker } from "../support/front-end.js";
import { type ConnectOptions, eventually, MqttClient } from "../support/mqtt-client.js";

const users = await testUsers({ anna: "secret", bert: "other" });
const anna = { username: "anna", password: Buffer.from("secret") };
const bert = { username: "bert", password: Buffer.from("other") };
const versions = [3, 4, 5] as const;

interface Ruled extends TestBroker {
  readonly acl: TestAcl;
}

async function ruled(
  t: TestContext,
  lines: readonly string[],
  acl: Partial<AclSettings> = {},
  settings: Settings = {},
): Promise<Ruled> {
  const authorizer = await testAcl(t, lines, acl, silentLog);
  return { ...(await testBroker(t, { users, authorizer, settings })), acl: authorizer };
}

async function payloads(client: MqttClient, count: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) found.push((await client.expect("publish")).payload.toString());
  return found;
}

for (const version of versions) {
  test(`version ${version}: a publish that is denied goes nowhere, at every QoS [v3.1.1 MQTT-3.3.5-2]`, async (t) => {
    const { port, acl, router } = await ruled(t, [
      "allow all subscribe #",
      "allow all publish ok/#",
    ]);
    const watcher = await MqttClient.connect(t, port, { version: 5 });
    await watcher.subscribe("#", 2);
    const client = await MqttClient.connect(t, port, { version, clientId: "p" });
    client.publish("no/0", "x", { retain: true });
    client.publish("no/1", "x", { qos: 1, messageId: 1, retain: true });
    const puback = await client.expect("puback");
    client.publish("no/2", "x", { qos: 2, messageId: 2, retain: true });
    const pubrec = await client.expect("pubrec");
    if (version === 5) {
      assert.deepEqual([puback.reasonCode, pubrec.reasonCode], [0x87, 0x87]);
      // A refused PUBREC ends the exchange: the id may be used at once [MQTT-4.3.3-9].
      client.publish("ok/2", "again", { qos: 2, messageId: 2 });
      assert.equal((await client.expect("pubrec")).reasonCode, 0);
      assert.deepEqual(await payloads(watcher, 1), ["again"]);
    }
    // MQTT 3 knows no refusal: acknowledged and dropped, as mosquitto does.
    client.ack("pubrel", 2);
    await client.expect("pubcomp");
    client.publish("ok/1", "y", { qos: 1, messageId: 3 });
    await client.expect("puback");
    assert.deepEqual(await payloads(watcher, 1), ["y"]);
    await watcher.quiet();
    assert.equal(acl.counters.deniedPublishes, 3);
    assert.equal(router.retained.size, 0);
  });

  test(`version ${version}: a SUBSCRIBE is granted or refused filter by filter`, async (t) => {
    const { port, acl, frontEnd } = await ruled(t, ["allow all subscribe ok/#"]);
    const client = await MqttClient.connect(t, port, { version, clientId: "s" });
    const subscriptions = ["ok/+", "no", "#", "ok/#"].map((topic) => ({
      ...{ topic, qos: 1 as const, nl: false, rap: false, rh: 0 },
    }));
    client.send({ cmd: "subscribe", messageId: 7, subscriptions });
    const refused = version === 5 ? 0x87 : 0x80;
    const { granted } = await client.expect("suback");
    // MQTT 3.1 has no failure code; 0x80 is what 3.1.1 made it.
    assert.deepEqual(granted.map(Number), [1, refused, refused, 1]);
    assert.deepEqual(
      [...(frontEnd.sessions.get("s")?.subscriptions.keys() ?? [])],
      ["ok/+", "ok/#"],
    );
    assert.equal(acl.counters.deniedSubscriptions, 2);
  });

  test(`version ${version}: the will's topic is looked at in CONNECT`, async (t) => {
    const { port, acl, frontEnd } = await ruled(t, ["allow user anna publish wills/%u"]);
    const will = { payload: Buffer.from("w"), qos: 1, retain: false } as const;
    const client = await MqttClient.open(t, port);
    const connack = await client.handshake({
      version,
      ...anna,
      will: { ...will, topic: "wills/b" },
    });
    assert.equal(connack.reasonCode ?? connack.returnCode, version === 5 ? 0x87 : 5);
    await client.closed();
    assert.equal(frontEnd.sessions.size, 0);
    assert.equal(acl.counters.deniedWills, 1);
    const allowed = { ...will, topic: "wills/anna" };
    await MqttClient.connect(t, port, { version, ...anna, will: allowed });
  });
}

test("the same topic again and again is denied each time, and others in between are not", async (t) => {
  const { port, acl } = await ruled(t, ["allow all all ok/#"]);
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("ok/#");
  for (let i = 0; i < 3; i++) {
    client.publish("no", "x");
    client.publish("no", "x");
    client.publish("ok/1", `${i}`);
  }
  assert.deepEqual(await payloads(client, 3), ["0", "1", "2"]);
  assert.equal(acl.counters.deniedPublishes, 6);
});

test("a topic alias does not get around the rules", async (t) => {
  const { port, acl } = await ruled(t, ["allow all publish ok", "allow all subscribe #"]);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("#");
  const client = await MqttClient.connect(t, port, { version: 5 });
  client.publish("no", "1", { properties: { topicAlias: 1 } });
  client.publish("ok", "2", { properties: { topicAlias: 2 } });
  client.publish("", "3", { properties: { topicAlias: 1 } });
  client.publish("", "4", { properties: { topicAlias: 2 } });
  assert.deepEqual(await payloads(watcher, 2), ["2", "4"]);
  assert.equal(acl.counters.deniedPublishes, 2);
});

test("live delivery leaves out what a granted filter matches and a rule denies", async (t) => {
  const { port, acl } = await ruled(t, ["deny user bert subscribe a/secret", "allow all all a/#"]);
  const [one, other] = [
    await MqttClient.connect(t, port, { version: 5, ...anna }),
    await MqttClient.connect(t, port, { version: 4, ...bert }),
  ];
  for (const client of [one, other]) assert.equal(await client.subscribe("a/#", 1), 1);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  for (const [i, qos] of [0, 1, 2].entries()) {
    publisher.publish("a/secret", `s${qos}`, { qos, messageId: i + 1 });
    publisher.publish("a/open", `o${qos}`, { qos, messageId: i + 10 });
  }
  assert.deepEqual((await payloads(one, 6)).sort(), ["o0", "o1", "o2", "s0", "s1", "s2"]);
  assert.deepEqual((await payloads(other, 3)).sort(), ["o0", "o1", "o2"]);
  await other.quiet();
  assert.equal(acl.counters.deniedDeliveries, 3);
});

test("a reload holds for open connections: publishes, deliveries and new subscriptions", async (t) => {
  const { port, acl } = await ruled(t, ["allow all all a"]);
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("a", 0);
  client.publish("a", "1");
  assert.deepEqual(await payloads(client, 1), ["1"]);
  acl.write("allow all publish a");
  await acl.reload();
  client.publish("a", "2");
  await client.quiet();
  assert.equal(acl.counters.deniedDeliveries, 1);
  assert.equal(await client.subscribe("a", 0), 0x87);
  acl.write("allow all subscribe a");
  await acl.reload();
  client.publish("a", "3", { qos: 1, messageId: 1 });
  assert.equal((await client.expect("puback")).reasonCode, 0x87);
});

test("retained messages are left out one by one", async (t) => {
  const { port, acl } = await ruled(t, [
    "allow anonymous publish r/#",
    "deny all subscribe r/2",
    "allow all subscribe r/#",
  ]);
  const publisher = await MqttClient.connect(t, port);
  for (const i of [1, 2, 3])
    publisher.publish(`r/${i}`, `${i}`, { retain: true, qos: 1, messageId: i });
  for (let i = 0; i < 3; i++) await publisher.expect("puback");
  for (const qos of [0, 1] as const) {
    const client = await MqttClient.connect(t, port, { version: 5 });
    assert.equal(await client.subscribe("r/#", qos), qos);
    assert.deepEqual((await payloads(client, 2)).sort(), ["1", "3"]);
    await client.quiet();
    // A filter that is denied brings nothing at all.
    assert.equal(await client.subscribe("r/2", qos), 0x87);
    await client.quiet();
  }
  assert.equal(acl.counters.deniedRetained, 2);
});

/** A session that waits for its client: subscribed to q/#, one message in flight, two in its queue. */
async function waiting(t: TestContext, { port }: Ruled): Promise<ConnectOptions> {
  const properties = { sessionExpiryInterval: 100 };
  const options = { version: 5, clientId: "q", clean: false, ...anna, properties } as const;
  const client = await MqttClient.connect(t, port, options);
  await client.subscribe("q/#", 1);
  const publisher = await MqttClient.connect(t, port);
  publisher.publish("q/1", "in flight", { qos: 1, messageId: 1 });
  await payloads(client, 1);
  client.destroy();
  await client.closed();
  for (const [i, topic] of ["q/1", "q/2"].entries()) {
    publisher.publish(topic, `queued ${topic}`, { qos: 1, messageId: i + 2 });
  }
  for (let i = 0; i < 3; i++) await publisher.expect("puback");
  return options;
}

test("what waited is left out when its client comes back and may not get it any more", async (t) => {
  const broker = await ruled(t, ["allow all all q/#"]);
  const options = await waiting(t, broker);
  broker.acl.write("deny all subscribe q/1", "allow all all q/#");
  await broker.acl.reload();
  const client = await MqttClient.open(t, broker.port);
  assert.equal((await client.handshake(options)).sessionPresent, true);
  assert.deepEqual(await payloads(client, 1), ["queued q/2"]);
  await client.quiet();
  assert.equal(broker.acl.counters.deniedQueued, 2);
  assert.equal(broker.frontEnd.sessions.get("q")?.window.inFlight, 1);
});

test("what waited comes when its client may still get it", async (t) => {
  const broker = await ruled(t, ["allow all all q/#"]);
  const options = await waiting(t, broker);
  await broker.acl.reload();
  const client = await MqttClient.open(t, broker.port);
  await client.handshake(options);
  assert.deepEqual(await payloads(client, 3), ["in flight", "queued q/1", "queued q/2"]);
  assert.equal(broker.acl.counters.deniedQueued, 0);
});

test("nothing is queued for a session without its client that it may not get", async (t) => {
  const { port, acl, frontEnd } = await ruled(t, ["deny all subscribe q/1", "allow all all q/#"]);
  const properties = { sessionExpiryInterval: 100 };
  const options = { version: 5, clientId: "q", clean: false, properties } as const;
  const client = await MqttClient.connect(t, port, options);
  await client.subscribe("q/#", 1);
  client.destroy();
  await eventually(() => frontEnd.sessions.get("q")?.channel === null, "the end of the connection");
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("q/1", "x", { qos: 1, messageId: 1 });
  // Somebody subscribed to it, so it is not 0x10.
  assert.equal((await publisher.expect("puback")).reasonCode, 0);
  publisher.publish("q/2", "y", { qos: 1, messageId: 2 });
  await publisher.expect("puback");
  assert.equal(frontEnd.sessions.get("q")?.queued, 1);
  assert.equal(acl.counters.deniedDeliveries, 1);
});

test("a will is looked at again when it is due", async (t) => {
  const { port, acl, frontEnd } = await ruled(t, ["allow all all w/#"]);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("w/#");
  const connect = (topic: string): Promise<MqttClient> =>
    MqttClient.connect(t, port, {
      ...{ version: 5, clientId: topic },
      will: { topic, payload: Buffer.from(topic), qos: 0, retain: true },
    });
  const [first, second] = [await connect("w/1"), await connect("w/2")];
  acl.write("deny all publish w/1", "allow all all w/#");
  await acl.reload();
  first.destroy();
  await eventually(() => acl.counters.deniedWillsDue === 1, "the will");
  second.destroy();
  assert.deepEqual(await payloads(watcher, 1), ["w/2"]);
  await watcher.quiet();
  assert.equal(frontEnd.sessions.counters.willsPublished, 1);
});

test("a shared subscription is asked about by the filter inside, and delivered by topic", async (t) => {
  const { port, router } = await ruled(t, [
    "deny user bert subscribe jobs/secret",
    "allow all all jobs/#",
  ]);
  const member = await MqttClient.connect(t, port, { version: 5, ...bert });
  assert.equal(await member.subscribe("$share/g/other/#", 1), 0x87);
  assert.equal(await member.subscribe("$share/jobs/secret", 1), 0x87);
  assert.equal(await member.subscribe("$share/g/jobs/secret", 1), 0x87);
  assert.equal(await member.subscribe("$share/g/jobs/#", 1), 1);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  publisher.publish("jobs/secret", "x", { qos: 1, messageId: 1 });
  publisher.publish("jobs/1", "y", { qos: 1, messageId: 2 });
  assert.deepEqual(await payloads(member, 1), ["y"]);
  await member.quiet();
  assert.equal(router.shared.counters.deniedAll, 1);
  // Somebody who may have it joins: that one gets all of it, whoever is chosen.
  const other = await MqttClient.connect(t, port, { version: 4, ...anna });
  await other.subscribe("$share/g/jobs/#", 1);
  for (let i = 3; i < 23; i++) publisher.publish("jobs/secret", `${i}`, { qos: 1, messageId: i });
  assert.equal((await payloads(other, 20)).length, 20);
  await member.quiet();
  assert.equal(router.shared.counters.deniedAll, 1);
});

test("what waits for a member of a group who may not have it any more goes to another", async (t) => {
  const { port, acl } = await ruled(t, ["allow all all jobs/#"]);
  const options = { version: 5, ...bert, clientId: "m", clean: false } as const;
  const properties = { sessionExpiryInterval: 100, receiveMaximum: 1 };
  const member = await MqttClient.connect(t, port, { ...options, properties });
  await member.subscribe("$share/g/jobs/#", 1);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  for (let i = 1; i <= 4; i++) publisher.publish("jobs/1", `${i}`, { qos: 1, messageId: i });
  for (let i = 1; i <= 4; i++) await publisher.expect("puback");
  const { messageId = 0 } = await member.expect("publish");
  const other = await MqttClient.connect(t, port, { version: 5, ...anna });
  await other.subscribe("$share/g/jobs/#", 1);
  acl.write("deny user bert subscribe jobs/1", "allow all all jobs/#");
  await acl.reload();
  member.send({ cmd: "puback", messageId });
  assert.deepEqual(await payloads(other, 3), ["2", "3", "4"]);
  await member.quiet();
  assert.equal(acl.counters.deniedQueued, 3);
});

test("another user cannot take over a client id, nor what waits for it; the first stays", async (t) => {
  const broker = await ruled(t, ["allow user anna all q/#", "allow anonymous publish q/#"]);
  const options = await waiting(t, broker);
  for (const version of versions) {
    for (const shown of [bert, {}]) {
      const thief = await MqttClient.open(t, broker.port);
      const connack = await thief.handshake({ version, clientId: "q", clean: false, ...shown });
      assert.equal(connack.reasonCode ?? connack.returnCode, version === 5 ? 0x87 : 5);
      await thief.closed();
      assert.deepEqual(thief.packets, []);
    }
  }
  const client = await MqttClient.connect(t, broker.port, options);
  assert.deepEqual(await payloads(client, 3), ["in flight", "queued q/1", "queued q/2"]);
  const thief = await MqttClient.open(t, broker.port);
  await thief.handshake({ version: 5, clientId: "q", ...bert });
  await thief.closed();
  await client.quiet();
});

test("with mosquitto's rules every SUBSCRIBE is granted, and delivery decides", async (t) => {
  const lines = ["topic readwrite pub/#", "pattern read own/%c"];
  const { port } = await ruled(t, lines, { acl_format: "mosquitto" });
  const client = await MqttClient.connect(t, port, { version: 4, clientId: "m" });
  assert.equal(await client.subscribe("#", 0), 0);
  client.publish("own/m", "1");
  client.publish("pub/x", "2");
  assert.deepEqual(await payloads(client, 1), ["2"]);
  await client.quiet();
});

test("without rules nobody is asked", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  await MqttClient.connect(t, port, { clientId: "c" });
  assert.equal(frontEnd.sessions.get("c")?.access, null);
  const { authorizer } = frontEnd.sessions;
  assert.equal((authorizer as Acl).hasFile, false); // the test's broker makes one
});

test("a listener for everybody refuses anonymous clients unless somebody has said otherwise", async (t) => {
  const lines: string[] = [];
  const log = {
    ...silentLog,
    warn: (fields: object, text: string) => lines.push(JSON.stringify(fields) + text),
  };
  const listeners = {
    tcp: { port: 0, bind: "0.0.0.0" },
    more: [
      { kind: "tcp", name: "here", port: 0 },
      { kind: "tcp", name: "said", port: 0, bind: "0.0.0.0", anonymous: true },
    ],
  };
  const settings = { listeners, auth: { anonymous: null } };
  const { port, frontEnd } = await testBroker(t, { users, settings, log });
  const codes: (number | undefined)[] = [];
  for (const shown of [{}, {}, anna]) {
    const client = await MqttClient.open(t, port);
    codes.push((await client.handshake({ version: 5, ...shown })).reasonCode);
  }
  assert.deepEqual(codes, [0x87, 0x87, 0]);
  assert.equal(frontEnd.authenticator.counters.refusedAnonymous, 2);
  assert.equal(lines.length, 1);
  assert.match(
    lines.join(),
    /"listener":"tcp".*anonymous clients are refused.*auth\.anonymous: true/,
  );
  const others = frontEnd.listeners().filter(({ name }) => name !== "tcp");
  for (const { port: open } of others) await MqttClient.connect(t, open);
  assert.equal(others.length, 2);
  const all = await testBroker(t, { settings: { listeners, auth: { anonymous: true } } });
  await MqttClient.connect(t, all.port);
});
