/** Three real processes and unmodified clients: the main job, from end to end. */
import assert from "node:assert/strict";
import { execFile, spawn, spawnSync } from "node:child_process";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { startNodes, type TestNode, until } from "../support/nodes.js";

const run = promisify(execFile);
const hasMosquitto = spawnSync("mosquitto_sub", ["--help"]).error === undefined;
const three = async (t: TestContext): Promise<[TestNode, TestNode, TestNode]> => {
  const [a, b, c] = await startNodes(t, { nodes: 3 });
  assert(a !== undefined && b !== undefined && c !== undefined);
  return [a, b, c];
};

test("a publish at one node reaches subscribers at the others, at every QoS and version", async (t) => {
  const [a, b, c] = await three(t);
  for (const protocolVersion of [4, 5] as const) {
    const one = await b.connect({ protocolVersion });
    const two = await c.connect({ protocolVersion });
    const publisher = await a.connect({ protocolVersion });
    await one.subscribe(`v${protocolVersion}/+/x`, 2);
    await two.subscribe(`v${protocolVersion}/#`, 2);
    for (const qos of [0, 1, 2] as const) {
      await publisher.publish(`v${protocolVersion}/t/x`, `qos ${qos}`, { qos });
    }
    for (const subscriber of [one, two]) {
      assert.deepEqual(await subscriber.payloads(3), ["qos 0", "qos 1", "qos 2"]);
      assert.deepEqual(
        subscriber.received.map(({ packet }) => packet.qos),
        [0, 1, 2],
      );
    }
  }
});

test("the example of emqttd's cluster guide: one copy to each node that subscribed", async (t) => {
  const [a, b, c] = await three(t);
  const [s1, s2, s3] = [await a.connect(), await b.connect(), await c.connect()];
  await s1.subscribe("t/+/x");
  await s3.subscribe("t/+/x");
  await s1.subscribe("t/+/y");
  await s2.subscribe("t/#");
  await s3.subscribe("t/a");
  const publisher = await a.connect();
  await publisher.publish("t/a", "hello");
  assert.deepEqual(await s2.payloads(1), ["hello"]);
  assert.deepEqual(await s3.payloads(1), ["hello"]);
  const forwards = async (to: TestNode): Promise<number> => a.metric(`peer.${to.name}.forwards`);
  assert.deepEqual([await forwards(b), await forwards(c)], [1, 1]);
  await publisher.publish("t/b", "only for t/#");
  await s2.payloads(2);
  assert.deepEqual([await forwards(b), await forwards(c)], [2, 1]);
  assert.deepEqual([s1.received.length, s3.received.length], [0, 1]);
});

test("two subscribers at one node cost one forward; none at a node, none", async (t) => {
  const [a, b, c] = await three(t);
  const subscribers = [await b.connect(), await b.connect()];
  for (const subscriber of subscribers) await subscriber.subscribe("room/1");
  const publisher = await a.connect();
  for (let i = 0; i < 10; i++) await publisher.publish("room/1", String(i));
  for (const subscriber of subscribers) assert.equal((await subscriber.payloads(10)).length, 10);
  assert.equal(await a.metric(`peer.${b.name}.forwards`), 10);
  assert.equal(await a.metric(`peer.${c.name}.forwards`), 0);
});

test("the newest connection of a client id wins, in the whole cluster [MQTT-3.1.4-3]", async (t) => {
  const [a, b, c] = await three(t);
  const first = await a.connect({ clientId: "same", protocolVersion: 5 });
  const second = await b.connect({ clientId: "same", protocolVersion: 5 });
  await first.closed();
  await until("DISCONNECT", () => first.disconnectReason);
  assert.equal(first.disconnectReason, 0x8e);
  const third = await c.connect({ clientId: "same", protocolVersion: 4 });
  await second.closed();
  assert.equal(second.disconnectReason, 0x8e);
  const fourth = await c.connect({ clientId: "same", protocolVersion: 5 });
  await third.closed();
  assert(fourth.mqtt.connected);
});

test("a will and a retained message cross nodes [MQTT-3.1.2-8, MQTT-3.3.1-5]", async (t) => {
  const [a, b, c] = await three(t);
  const will = { topic: "status/1", payload: Buffer.from("gone"), qos: 1 as const, retain: true };
  const device = await a.connect({ will });
  // One at c, too: who subscribes there before the message has come gets it as a new one.
  const watchers = [await b.connect(), await c.connect()];
  for (const watcher of watchers) await watcher.subscribe("status/+");
  device.mqtt.stream.destroy();
  for (const watcher of watchers) assert.deepEqual(await watcher.payloads(1), ["gone"]);
  const late = await c.connect();
  await late.subscribe("status/#");
  assert.deepEqual(await late.payloads(1), ["gone"]);
  assert.equal(late.received[0]?.packet.retain, true);
});

test("a node killed with kill -9 is back without a command", async (t) => {
  const [a, b, c] = await three(t);
  await b.kill();
  await a.sees([a, c]);
  const publisher = await a.connect();
  const other = await c.connect();
  await other.subscribe("k");
  await publisher.publish("k", "while b is away");
  assert.deepEqual(await other.payloads(1), ["while b is away"]);
  await b.start();
  for (const node of [a, b, c]) await node.sees([a, b, c]);
  const returned = await b.connect();
  await returned.subscribe("k");
  await publisher.publish("k", "b is back");
  assert.deepEqual(await returned.payloads(1), ["b is back"]);
});

test("joining drops no connection and loses nothing", async (t) => {
  const nodes = await startNodes(t, { nodes: 2, joined: false });
  const [a, b] = nodes;
  assert(a !== undefined && b !== undefined);
  const subscriber = await a.connect();
  await subscriber.subscribe("live/#");
  const here = await a.connect();
  const there = await b.connect();
  await there.publish("kept", "before", { qos: 1, retain: true });
  const joining = b.ctl("join_cluster", { node: `${a.name}:${a.linkPort}` });
  for (let i = 0; i < 50; i++) await here.publish("live/here", `here ${i}`);
  await joining;
  await b.sees(nodes);
  await there.publish("live/there", "from the other");
  const got = await subscriber.payloads(51);
  assert.deepEqual(
    got.slice(0, 50),
    [...Array(50).keys()].map((i) => `here ${i}`),
  );
  assert.equal(got[50], "from the other");
  const late = await a.connect();
  await late.subscribe("kept");
  assert.deepEqual(await late.payloads(1), ["before"]);
});

test("mosquitto_pub and mosquitto_sub at different nodes", async (t) => {
  if (!hasMosquitto) {
    t.skip("mosquitto-clients is not installed");
    return;
  }
  const [a, b, c] = await three(t);
  for (const version of ["mqttv31", "mqttv311", "mqttv5"]) {
    const where = ["-V", version, "-t", "m/+/x", "-p", String(b.mqttPort)];
    const sub = spawn("mosquitto_sub", [...where, "-q", "1", "-C", "1", "-W", "10"]);
    t.after(() => sub.kill("SIGKILL"));
    let said = "";
    sub.stdout.on("data", (bytes) => {
      said += bytes;
    });
    // Its own output is buffered: that it has subscribed is seen at the node.
    const row = async (): Promise<true | undefined> =>
      (await c.ctl<{ total: number }>("routes list", { filter: "m/+/x" })).total > 0 || undefined;
    await until("the subscription", row);
    const what = ["-t", "m/1/x", "-m", version, "-q", "2"];
    await run("mosquitto_pub", ["-V", version, "-p", String(c.mqttPort), ...what]);
    await until(
      "the message",
      () => said === `${version}\n` || undefined,
      () => said,
    );
  }
  assert.equal(await a.metric("routing.published"), 0);
});
