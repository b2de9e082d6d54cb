/** Nodes with a shared Redis that one of them, or none, reaches for a while. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";
import { redisTest, RedisServer } from "../support/redis.js";
import { TcpProxy } from "../support/tcp-proxy.js";

interface Setting {
  readonly nodes: readonly [a: TestNode, b: TestNode];
  readonly redis: RedisServer;
  /** From the first node to Redis. */
  readonly way: TcpProxy;
}

async function twoNodes(t: TestContext): Promise<Setting> {
  const redis = await RedisServer.start(t);
  const way = await TcpProxy.open(t, redis.port);
  const quick = ["call_timeout=500ms", "breaker_pause=100ms", "lease_interval=300ms"];
  const words = [...quick, "lease_time=1200ms"].map((word) => `store.redis.${word}`);
  const [a, b] = await startNodes(t, {
    nodes: 2,
    settings: ["store.kind=redis", ...words],
    settingsOf: (index) => [`store.redis.addresses=${index === 0 ? way.address : redis.address}`],
  });
  assert.ok(a && b);
  return { nodes: [a, b], redis, way };
}

async function alarmsOf(node: TestNode): Promise<string> {
  return ((await node.status()).alarms ?? []).join("\n");
}

async function suspended(node: TestNode, isSuspended: boolean): Promise<void> {
  await until(`suspension ${isSuspended}`, async () => {
    return (await node.metric("store.lease.suspended")) === Number(isSuspended) || undefined;
  });
}

async function follower(node: TestNode, clientId: string, clean: boolean): Promise<TestClient> {
  const client = await node.connect({ clientId, clean });
  await client.subscribe("t", 1);
  return client;
}

const countOf = (client: TestClient, payload: string): number =>
  client.received.filter((one) => one.payload === payload).length;

redisTest(
  "a node cut off from Redis alone serves no persistent session until it is back",
  async (t) => {
    const { nodes, way } = await twoNodes(t);
    const [a, b] = nodes;
    const kept = await follower(a, "kept", false);
    const other = await follower(a, "other", true);
    const publisher = await b.connect();
    await publisher.publish("t", "before");
    await kept.payloads(1);
    way.cut();
    await suspended(a, true);
    assert.match(await alarmsOf(a), /could not renew its lease for 900 ms/);
    assert.match(a.output, /could not renew its lease for 900 ms/);
    await publisher.publish("t", "live", { qos: 0 });
    // Accepted by the publisher's node in the end, for the node that cannot store it.
    const during = publisher.publish("t", "during");
    await other.waitFor("live", () => countOf(other, "live") === 1);
    await other.waitFor("during", () => countOf(other, "during") === 1);
    await assert.rejects(a.connect({ clientId: "late", clean: false }), /Server unavailable/);
    assert.equal(countOf(kept, "live") + countOf(kept, "during"), 0);
    way.mend();
    await suspended(a, false);
    await during;
    assert.equal(await alarmsOf(a), "");
    const again = await a.connect({ clientId: "kept", clean: false });
    await again.waitFor("during", () => countOf(again, "during") + countOf(kept, "during") === 1);
    assert.equal(await a.metric("store.lease.suspensions"), 1);
    assert.equal(await a.metric("store.lease.held"), 1);
    assert.equal(await b.metric("store.lease.suspensions"), 0);
  },
);

redisTest("Redis is away for all: what needs no store goes on at every session", async (t) => {
  const { nodes, redis } = await twoNodes(t);
  const [a, b] = nodes;
  const kept = await follower(a, "kept", false);
  const publisher = await b.connect();
  await redis.kill();
  const endMs = performance.now() + 3_000;
  for (let i = 0; performance.now() < endMs; i++) {
    await publisher.publish("t", String(i), { qos: 0 });
    await kept.waitFor(`message ${i}`, () => countOf(kept, String(i)) === 1);
  }
  for (const node of nodes) {
    assert.equal(await node.metric("store.lease.suspended"), 0);
    assert.equal(await node.metric("store.lease.held"), 0);
  }
  await redis.start();
  await until("the lease", async () => (await a.metric("store.lease.held")) === 1 || undefined);
  await publisher.publish("t", "after");
  await kept.waitFor("after", () => countOf(kept, "after") === 1);
});
