/** A client at one node whose session is at another: what it sees is what it would see with its session beside it. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { clientControl, sessionControl } from "../../src/admin/node/session-control.js";
import { type LinkedNode, linkedNodes } from "../support/linked-nodes.js";
import {
  type ConnectOptions,
  eventually,
  MqttClient,
  type Version,
} from "../support/mqtt-client.js";

const versions = [4, 5] as const;

/** A session at `a`, its client connected at `b`. */
interface Pair {
  readonly a: LinkedNode;
  readonly b: LinkedNode;
}

const kept = (version: Version, more: ConnectOptions = {}): ConnectOptions => ({
  ...{ version, clean: false, clientId: "c" },
  ...more,
  ...(version === 5 ? { properties: { sessionExpiryInterval: 600, ...more.properties } } : {}),
});

async function pair(t: TestContext): Promise<Pair> {
  const [a, b] = await linkedNodes(t, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { a, b };
}

/** The client connects to `a`, subscribes, and comes back at `b`. */
async function moved(
  t: TestContext,
  { a, b }: Pair,
  version: Version,
  options: ConnectOptions = {},
): Promise<MqttClient> {
  const first = await MqttClient.connect(t, a.port, kept(version, options));
  await first.subscribe("t/#", 2);
  first.destroy();
  await eventually(
    () => a.frontEnd.sessions.get("c")?.channel === null,
    "the connection to be gone",
  );
  const second = await MqttClient.open(t, b.port);
  const connack = await second.handshake(kept(version, options));
  assert.equal(connack.sessionPresent, true);
  assert.equal(b.remote.nearSize, 1);
  assert.equal(a.remote.farSize, 1);
  assert.equal(b.frontEnd.sessions.get("c"), undefined);
  return second;
}

for (const version of versions) {
  test(`every QoS reaches a client whose session is elsewhere, in order, MQTT ${version}`, async (t) => {
    const nodes = await pair(t);
    const client = await moved(t, nodes, version);
    for (const node of [nodes.a, nodes.b]) {
      const publisher = await MqttClient.connect(t, node.port, { version });
      for (const qos of [0, 1, 2] as const) {
        publisher.publish("t/x", `m${qos}`, { qos, messageId: qos + 1 });
        const packet = await client.expect("publish");
        assert.equal(packet.payload.toString(), `m${qos}`);
        assert.equal(packet.qos, qos);
        const id = packet.messageId ?? 0;
        if (qos === 1) client.ack("puback", id);
        if (qos === 2) {
          client.ack("pubrec", id);
          await client.expect("pubrel");
          client.ack("pubcomp", id);
        }
      }
    }
    await eventually(
      () => nodes.a.frontEnd.sessions.get("c")?.window.inFlight === 0,
      "all to be acknowledged",
    );
  });
}

test("QoS 2 of the client goes on where it was, whichever node it comes back to", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const watcher = await MqttClient.connect(t, b.port);
  await watcher.subscribe("u", 0);
  const client = await moved(t, nodes, 4);
  client.publish("u", "once", { qos: 2, messageId: 9 });
  await client.expect("pubrec");
  assert.equal((await watcher.expect("publish")).payload.toString(), "once");
  client.destroy();
  await eventually(() => a.remote.farSize === 0, "the channel to be gone");
  assert.equal(a.frontEnd.sessions.get("c")?.openQos2, 1);

  const back = await MqttClient.connect(t, a.port, kept(4));
  back.publish("u", "once", { qos: 2, messageId: 9, dup: true });
  await back.expect("pubrec");
  back.destroy();
  const last = await MqttClient.connect(t, b.port, kept(4));
  last.ack("pubrel", 9);
  await last.expect("pubcomp");
  await watcher.quiet();
});

test("what was not acknowledged comes again under its id, at another node", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const client = await moved(t, nodes, 5);
  const publisher = await MqttClient.connect(t, b.port);
  publisher.publish("t/1", "one", { qos: 1, messageId: 1 });
  publisher.publish("t/2", "two", { qos: 2, messageId: 2 });
  const one = await client.expect("publish");
  const two = await client.expect("publish");
  client.ack("pubrec", two.messageId ?? 0);
  await client.expect("pubrel");
  client.destroy();
  await eventually(() => b.remote.nearSize === 0, "the channel to be gone");
  const back = await MqttClient.connect(t, a.port, kept(5));
  const again = await back.expect("publish");
  assert.deepEqual(
    [again.payload.toString(), again.messageId, again.dup],
    ["one", one.messageId, true],
  );
  assert.equal((await back.expect("pubrel")).messageId, two.messageId);
});

test("an older connection is closed with 0x8E before the newer is greeted, wherever they are", async (t) => {
  const nodes = await linkedNodes(t, 3);
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  let client = await MqttClient.connect(t, a.port, kept(5));
  await client.subscribe("t", 1);
  for (const node of [b, c, b, a, a, c, c, a]) {
    const next = await MqttClient.open(t, node.port);
    const connack = await next.handshake(kept(5));
    assert.equal(connack.sessionPresent, true);
    assert.equal((await client.expect("disconnect")).reasonCode, 0x8e);
    await client.closed();
    client = next;
    await eventually(
      () => nodes.reduce((sum, one) => sum + one.frontEnd.connected, 0) === 1,
      "one connection",
    );
  }
  assert.deepEqual(
    nodes.map(({ frontEnd }) => frontEnd.sessions.size),
    [1, 0, 0],
  );
  assert.equal(a.frontEnd.sessions.get("c")?.subscriptions.size, 1);
});

test("the will of a client whose session is elsewhere: published when it is lost, not after DISCONNECT", async (t) => {
  const nodes = await pair(t);
  const watcher = await MqttClient.connect(t, nodes.b.port);
  await watcher.subscribe("will", 1);
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 1, retain: false } as const;
  const client = await moved(t, nodes, 4, { will });
  assert.equal(
    (await watcher.expect("publish")).payload.toString(),
    "gone",
    "of the first connection",
  );
  client.send({ cmd: "disconnect" });
  await client.closed();
  await watcher.quiet();
  const second = await MqttClient.connect(t, nodes.b.port, kept(4, { will }));
  second.destroy();
  assert.equal((await watcher.expect("publish")).payload.toString(), "gone");
});

test("a displaced client's will is accepted before its successor is greeted", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const watcher = await MqttClient.connect(t, a.port);
  await watcher.subscribe("will", 1);
  const will = { topic: "will", payload: Buffer.from("gone"), qos: 1, retain: false } as const;
  const client = await moved(t, nodes, 5, { will });
  await watcher.expect("publish");
  const successor = await MqttClient.connect(t, b.port, kept(5));
  successor.publish("will", "alive", { qos: 1, messageId: 1 });
  const payloads = [await watcher.expect("publish"), await watcher.expect("publish")];
  assert.deepEqual(
    payloads.map(({ payload }) => payload.toString()),
    ["gone", "alive"],
  );
  await client.expect("disconnect");
});

test("Clean Start ends the session at its node, and another begins where the client is", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const client = await moved(t, nodes, 5);
  const next = await MqttClient.open(t, b.port);
  assert.equal((await next.handshake(kept(5, { clean: true }))).sessionPresent, false);
  await client.closed();
  assert.equal(a.frontEnd.sessions.size, 0);
  assert.equal(b.frontEnd.sessions.get("c")?.subscriptions.size, 0);
  next.destroy();
  const third = await MqttClient.open(t, a.port);
  assert.equal((await third.handshake(kept(5))).sessionPresent, true);
  assert.equal(a.remote.nearSize, 1);
});

test("a DISCONNECT with expiry 0 ends the session at its node", async (t) => {
  const nodes = await pair(t);
  const client = await moved(t, nodes, 5);
  client.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
  await client.closed();
  assert.equal(nodes.a.frontEnd.sessions.size, 0, "closed when it is done");
  const next = await MqttClient.open(t, nodes.b.port);
  assert.equal((await next.handshake(kept(5))).sessionPresent, false);
  assert.equal(nodes.b.frontEnd.sessions.size, 1);
});

test("requests go to the session: SUBACK, retained messages, UNSUBACK", async (t) => {
  const nodes = await pair(t);
  const publisher = await MqttClient.connect(t, nodes.a.port);
  publisher.publish("r/1", "kept", { qos: 1, retain: true, messageId: 1 });
  await publisher.expect("puback");
  const client = await moved(t, nodes, 5);
  assert.equal(await client.subscribe("r/#", 1, { id: 7, messageId: 11 }), 1);
  const retained = await client.expect("publish");
  assert.equal(retained.payload.toString(), "kept");
  assert.equal(retained.retain, true);
  assert.equal(retained.properties?.subscriptionIdentifier, 7);
  client.ack("puback", retained.messageId ?? 0);
  client.send({ cmd: "unsubscribe", messageId: 12, unsubscriptions: ["r/#", "nothing"] });
  const unsuback = await client.expect("unsuback");
  assert.deepEqual([unsuback.messageId, unsuback.granted], [12, [0, 0x11]]);
  publisher.publish("r/1", "more");
  await client.quiet();
});

test("topic aliases and the largest packet are the connection's", async (t) => {
  const nodes = await pair(t);
  const publisher = await MqttClient.connect(t, nodes.a.port, { version: 5 });
  const aliased = await moved(t, nodes, 5, { properties: { topicAliasMaximum: 4 } });
  for (const qos of [0, 1] as const) publisher.publish("t/alias", "x", { qos, messageId: 3 });
  const first = await aliased.expect("publish");
  const second = await aliased.expect("publish");
  assert.deepEqual([first.topic, second.topic], ["t/alias", ""]);
  assert.equal(first.properties?.topicAlias, second.properties?.topicAlias);
  aliased.ack("puback", second.messageId ?? 0);
  aliased.destroy();
  await eventually(() => nodes.a.remote.farSize === 0, "the channel to be gone");

  const dropped: number[] = [];
  let id = 0;
  for (const properties of [{}, { topicAliasMaximum: 4 }]) {
    const options = kept(5, { properties: { maximumPacketSize: 100, ...properties } });
    const small = await MqttClient.connect(t, nodes.b.port, options);
    for (const qos of [0, 1, 2] as const) {
      publisher.publish("t/large", "x".repeat(200), { qos, messageId: 10 + id++ });
    }
    publisher.publish("t/small", "fits", { qos: 1, messageId: 20 });
    const fits = await small.expect("publish");
    assert.equal(fits.payload.toString(), "fits");
    small.ack("puback", fits.messageId ?? 0);
    await eventually(
      () => nodes.a.frontEnd.sessions.get("c")?.window.inFlight === 0,
      "nothing to be left in flight",
    );
    small.destroy();
    await eventually(() => nodes.a.remote.farSize === 0, "the channel to be gone");
    dropped.push(nodes.a.frontEnd.sessions.counters.droppedTooLarge);
  }
  // Of QoS 0 the session does not hear what became of it.
  assert.deepEqual(dropped, [3, 5]);
});

test("a client's mistake that its session finds closes its connection with the reason", async (t) => {
  const nodes = await pair(t);
  const client = await moved(t, nodes, 5);
  const publisher = await MqttClient.connect(t, nodes.a.port);
  publisher.publish("t", "two", { qos: 2, messageId: 1 });
  const packet = await client.expect("publish");
  client.ack("puback", packet.messageId ?? 0);
  assert.equal((await client.expect("disconnect")).reasonCode, 0x82);
  await client.closed();
  await eventually(() => nodes.b.remote.nearSize === 0, "the channel to be gone");
  assert.equal(nodes.a.frontEnd.sessions.get("c")?.channel, null);
});

test("more open QoS 2 publishes than the client was told close it with 0x93", async (t) => {
  const [a, b] = await linkedNodes(t, 2, { limits: { receive_maximum: 3 } });
  assert.ok(a !== undefined && b !== undefined);
  const client = await moved(t, { a, b }, 5);
  for (let id = 1; id <= 4; id++) client.publish("u", "x", { qos: 2, messageId: id });
  for (;;) {
    const packet = await client.next();
    if (packet.cmd === "pubrec") continue;
    assert.equal(packet.cmd === "disconnect" && packet.reasonCode, 0x93);
    break;
  }
  await client.closed();
});

test("its node is gone: the client is told to use another server, and gets a new session", async (t) => {
  for (const version of versions) {
    const nodes = await pair(t);
    const client = await moved(t, nodes, version);
    await nodes.a.stop();
    if (version === 5) assert.equal((await client.expect("disconnect")).reasonCode, 0x9c);
    await client.closed();
    const next = await MqttClient.open(t, nodes.b.port);
    assert.equal((await next.handshake(kept(version))).sessionPresent, false);
    assert.equal(nodes.b.frontEnd.sessions.size, 1);
  }
});

test("the link is lost and comes back: the client is closed, its session goes on queueing", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const client = await moved(t, nodes, 5);
  const publisher = await MqttClient.connect(t, a.port);
  a.cluster.peer(b.name)?.drop();
  assert.equal((await client.expect("disconnect")).reasonCode, 0x9c);
  await eventually(() => a.frontEnd.sessions.get("c")?.channel === null, "the session to be alone");
  publisher.publish("t/1", "waits", { qos: 1, messageId: 1 });
  await publisher.expect("puback");
  const next = await MqttClient.open(t, b.port);
  assert.equal((await next.handshake(kept(5))).sessionPresent, true);
  assert.equal((await next.expect("publish")).payload.toString(), "waits");
  assert.equal(b.remote.counters.nearLost, 1);
  assert.equal(a.remote.counters.farLost, 1);
});

test("a listener with a mount point: what its clients see and name is under it, also over a channel", async (t) => {
  const listeners = { more: [{ name: "mounted", kind: "tcp", port: 0, mount_point: "m/" }] };
  const [a, b] = await linkedNodes(t, 2, { listeners });
  assert.ok(a !== undefined && b !== undefined);
  const mountedAt = (node: LinkedNode): number =>
    node.frontEnd.listeners().find(({ name }) => name === "mounted")?.port ?? 0;
  const first = await MqttClient.connect(t, mountedAt(a), kept(4));
  await first.subscribe("t/#", 2);
  first.destroy();
  await eventually(
    () => a.frontEnd.sessions.get("c")?.channel === null,
    "the connection to be gone",
  );
  const client = await MqttClient.connect(t, mountedAt(b), kept(4));
  assert.equal(await client.subscribe("own/#", 1, { messageId: 5 }), 1);
  const plain = await MqttClient.connect(t, b.port);
  await plain.subscribe("m/#", 2);
  plain.publish("m/t/1", "in", { qos: 1, messageId: 1 });
  await plain.expect("publish");
  const packet = await client.expect("publish");
  assert.deepEqual([packet.topic, packet.payload.toString()], ["t/1", "in"]);
  client.ack("puback", packet.messageId ?? 0);
  client.publish("own/2", "out", { qos: 2, messageId: 2 });
  const heard = [await client.next(), await client.next()].map(({ cmd }) => cmd).sort();
  assert.deepEqual(heard, ["publish", "pubrec"]);
  // Of the client's own publish, or (first) the acknowledgement of the other one.
  let own = await plain.next();
  while (own.cmd !== "publish") own = await plain.next();
  assert.equal(own.topic, "m/own/2");
});

test("keep-alive is the connection's node's business: a silent client is closed and its will published", async (t) => {
  const nodes = await pair(t);
  const watcher = await MqttClient.connect(t, nodes.a.port);
  await watcher.subscribe("will", 0);
  const will = { topic: "will", payload: Buffer.from("silent"), qos: 0, retain: false } as const;
  const client = await moved(t, nodes, 5, { keepalive: 1 });
  client.destroy();
  const next = await MqttClient.connect(t, nodes.b.port, kept(5, { keepalive: 1, will }));
  assert.equal((await next.expect("disconnect")).reasonCode, 0x8d);
  assert.equal((await watcher.expect("publish")).payload.toString(), "silent");
});

test("listings say where connection and session are; kick and delete reach both from either node", async (t) => {
  const nodes = await pair(t);
  const { a, b } = nodes;
  const at = (node: LinkedNode) => {
    const { sessions } = node.frontEnd;
    return { clients: clientControl(sessions), sessions: sessionControl(sessions) };
  };
  for (const operator of [a, b]) {
    const client = await moved(t, nodes, 5);
    assert.equal(at(a).clients.show("c"), undefined);
    assert.deepEqual([...at(a).clients.list()].filter(Boolean), []);
    assert.equal(at(b).clients.show("c")?.sessionNode, a.name);
    assert.equal([...at(b).clients.list()].length, 1);
    assert.equal(at(a).sessions.show("c")?.connectionNode, b.name);
    assert.equal(at(b).sessions.show("c"), undefined);
    assert.equal(at(operator).clients.kick("c"), true);
    assert.equal((await client.expect("disconnect")).reasonCode, 0x98);
    await eventually(() => a.remote.farSize + b.remote.nearSize === 0, "the channel to be gone");
    const again = await MqttClient.connect(t, b.port, kept(5));
    assert.equal(await at(operator).sessions.delete("c"), true);
    assert.equal((await again.expect("disconnect")).reasonCode, 0x98);
    assert.equal(a.frontEnd.sessions.size, 0);
  }
  assert.equal(await at(b).sessions.delete("c"), false);
});
