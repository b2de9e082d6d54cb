/** A node whose store is a Redis, as an operator runs it: killed, and with a Redis that goes away and comes back. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";
import { redisTest, RedisServer } from "../support/redis.js";

interface Setting {
  readonly node: TestNode;
  readonly redis: RedisServer;
}

async function nodeOnRedis(t: TestContext, settings: readonly string[] = []): Promise<Setting> {
  const redis = await RedisServer.start(t);
  const store = [
    "store.kind=redis",
    `store.redis.addresses=${redis.address}`,
    ...["store.redis.call_timeout=500ms", "store.redis.breaker_pause=100ms"],
  ];
  const [node] = await startNodes(t, { nodes: 1, settings: [...store, ...settings] });
  assert.ok(node);
  return { node, redis };
}

/** Whether a publish is over, and how. */
function publishing(client: TestClient, topic: string, payload: string) {
  const state = { over: false, error: "" };
  client.publish(topic, payload, { qos: 1, retain: true }).then(
    () => {
      state.over = true;
    },
    (error: unknown) => {
      state.over = true;
      state.error = String(error);
    },
  );
  return state;
}

redisTest("killed and started again it has its retained messages", async (t) => {
  const { node } = await nodeOnRedis(t);
  const publisher = await node.connect();
  for (let i = 0; i < 20; i++) {
    await publisher.publish(`kept/${i}`, `value ${i}`, { qos: 1, retain: true });
  }
  await publisher.publish("kept/0", "", { qos: 1, retain: true });
  await node.kill();
  await node.start();
  const subscriber = await node.connect();
  await subscriber.subscribe("kept/#");
  await until("the retained messages", () => subscriber.received.length >= 19 || undefined);
  const seen = subscriber.received.map(({ topic, payload }) => `${topic} ${payload}`);
  const expected = Array.from({ length: 19 }, (_, i) => `kept/${i + 1} value ${i + 1}`);
  assert.deepEqual(seen.sort(), expected.sort());
  assert.equal(await node.metric("store.redis.breaker"), 0);
  assert.ok((await node.metric("store.redis.calls")) > 0);
});

redisTest("killed and started again it has its persistent sessions", async (t) => {
  const { node } = await nodeOnRedis(t);
  const device = { clientId: "dev{ice}1", clean: false };
  const before = await node.connect(device);
  await before.subscribe("jobs/#");
  await before.mqtt.endAsync();
  const publisher = await node.connect();
  const expected = Array.from({ length: 50 }, (_, i) => `job ${i}`);
  for (const payload of expected.slice(0, 25)) await publisher.publish("jobs/1", payload);
  await node.kill();
  await node.start();
  const second = await node.connect();
  for (const payload of expected.slice(25)) {
    await second.publish("jobs/1", payload, { qos: 2 });
  }
  await node.kill();
  await node.start();
  assert.equal(await node.metric("session.held"), 1);
  const after = await node.connect(device);
  assert.deepEqual(await after.payloads(expected.length), expected);
});

redisTest("Redis is away for a moment: acknowledgements wait, live traffic goes on", async (t) => {
  const { node, redis } = await nodeOnRedis(t);
  const subscriber = await node.connect();
  await subscriber.subscribe("live", 0);
  const publisher = await node.connect();
  const other = await node.connect();
  await publisher.publish("kept", "before", { qos: 1, retain: true });
  await redis.kill();
  const waiting = publishing(publisher, "kept", "during");
  await until("the stall", async () => (await node.metric("store.stalled")) === 1 || undefined);
  await other.publish("live", "still", { qos: 0 });
  await until("live traffic", () => subscriber.received.length === 1 || undefined);
  assert.equal(waiting.over, false);
  await redis.start();
  await until("the acknowledgement", () => waiting.over || undefined);
  assert.equal(waiting.error, "");
  await until("the end", async () => (await node.metric("store.stalled")) === 0 || undefined);
  await node.kill();
  await node.start();
  const late = await node.connect();
  await late.subscribe("kept");
  await until("the message", () => late.received.length === 1 || undefined);
  assert.equal(late.received[0]?.payload, "during");
});

redisTest(
  "Redis hangs: what cannot be stored is refused or ends unanswered, and it recovers",
  async (t) => {
    const { node, redis } = await nodeOnRedis(t, ["store.stall_timeout=1s"]);
    const v3 = await node.connect();
    const v5 = await node.connect({ protocolVersion: 5 });
    await v3.publish("kept", "before", { qos: 1, retain: true });
    redis.pause();
    // What is under way when it begins is not refused: nobody knows what became of it.
    const first = publishing(v3, "kept", "during");
    await until("the stall", async () => (await node.metric("store.stalled")) === 1 || undefined);
    const second = publishing(v5, "kept", "refused");
    await until("the refusal", () => second.over || undefined);
    assert.match(second.error, /Quota exceeded/);
    assert.equal(first.over, false);
    // After store.stall_timeout its connection ends without an answer.
    await v3.closed();
    redis.resume();
    await until("the end", async () => (await node.metric("store.stalled")) === 0 || undefined);
    const again = await node.connect();
    await again.publish("kept", "after", { qos: 1, retain: true });
    assert.equal(await node.metric("store.redis.breaker"), 0);
  },
);
