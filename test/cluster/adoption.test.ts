/** Nodes on one Redis, one of which is killed: its sessions are at the others, with all that was acknowledged. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";
import { redisTest, RedisServer } from "../support/redis.js";

type Nodes = readonly [a: TestNode, b: TestNode, c: TestNode];

async function threeNodes(t: TestContext): Promise<Nodes> {
  const redis = await RedisServer.start(t);
  const settings = ["store.kind=redis", `store.redis.addresses=${redis.address}`];
  const [a, b, c] = await startNodes(t, { nodes: 3, settings });
  assert.ok(a && b && c);
  return [a, b, c];
}

const payloads = ({ received }: TestClient): string[] => received.map(({ payload }) => payload);

/** Numbers from 0 on, as texts. */
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

async function offline(node: TestNode, clientId: string, filter: string, qos: 1 | 2) {
  const client = await node.connect({ clientId, clean: false });
  await client.subscribe(filter, qos);
  await client.mqtt.endAsync();
}

/** Everything that the others adopted is open. */
async function allAdopted(nodes: readonly TestNode[], sessions: number): Promise<void> {
  const count = async (): Promise<number> => {
    const counts = await Promise.all(nodes.map((node) => node.metric("adoption.sessions")));
    return counts.reduce((sum, one) => sum + one, 0);
  };
  await until("adoption", async () => (await count()) >= sessions || undefined, count);
}

redisTest("kill -9: the client finds its session and queue at another node at once", async (t) => {
  const [a, b, c] = await threeNodes(t);
  await offline(a, "one", "jobs/#", 2);
  await offline(a, "two", "jobs/1", 1);
  const publisher = await b.connect();
  for (const payload of numbers(20)) await publisher.publish("jobs/1", payload, { qos: 2 });
  await a.kill();
  // Waits for its session, however far the others are.
  const one = await c.connect({ clientId: "one", clean: false });
  for (const payload of numbers(25).slice(20)) {
    await publisher.publish("jobs/1", payload, { qos: 2 });
  }
  assert.deepEqual(await one.payloads(25), numbers(25));
  await allAdopted([b, c], 2);
  await until("that it is told", async () => {
    const { members } = await b.status();
    const { adoption, sessions } = members.find(({ name }) => name === a.name) ?? {};
    return (adoption === "done" && sessions === 0) || undefined;
  });
  const two = await b.connect({ clientId: "two", clean: false });
  assert.deepEqual(await two.payloads(25), numbers(25));

  await a.start();
  for (const node of [a, b, c]) await node.sees([a, b, c]);
  assert.equal(await a.metric("session.held"), 0);
  await publisher.publish("jobs/1", "25", { qos: 2 });
  await one.payloads(26);
  await two.payloads(26);
  await one.mqtt.endAsync();
  await publisher.publish("jobs/1", "26", { qos: 2 });
  const again = await a.connect({ clientId: "one", clean: false });
  assert.deepEqual(await again.payloads(1), ["26"]);
  assert.deepEqual(payloads(one), numbers(26));
});

redisTest(
  "kill -9 while messages flow: what was acknowledged comes, in order, QoS 2 once",
  async (t) => {
    const [a, b, c] = await threeNodes(t);
    await offline(a, "away", "flow/#", 2);
    const publisher = await b.connect({ clientId: "publisher", clean: false });
    const total = 300;
    let killed: Promise<void> | null = null;
    const sent: Promise<void>[] = [];
    for (let i = 0; i < total; i++) {
      sent.push(publisher.publish("flow/2", String(i), { qos: 2 }));
      sent.push(publisher.publish("flow/1", String(i), { qos: 1 }));
      if (i === total / 3) killed = a.kill();
      if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await killed;
    await Promise.all(sent);
    const back = await c.connect({ clientId: "away", clean: false });
    const of = (topic: string): string[] =>
      back.received.flatMap((one) => (one.topic === topic ? [one.payload] : []));
    await back.waitFor("everything", () => {
      return of("flow/2").length >= total && new Set(of("flow/1")).size >= total;
    });
    assert.deepEqual(of("flow/2"), numbers(total));
    assert.deepEqual([...new Set(of("flow/1"))], numbers(total));
    await a.start();
    for (const node of [a, b, c]) await node.sees([a, b, c]);
    await publisher.publish("flow/2", "at last", { qos: 2 });
    await back.waitFor("at last", () => of("flow/2").includes("at last"));
    assert.equal(of("flow/2").length, total + 1);
  },
);

redisTest(
  "kill -9: a will that waits comes once, also when its node is back before that",
  async (t) => {
    const [a, b, c] = await threeNodes(t);
    const watcher = await c.connect();
    await watcher.subscribe("wills/#", 2);
    for (const [clientId, willDelayInterval] of [
      ["soon", 1],
      ["late", 4],
    ] as const) {
      await a.connect({
        ...{ clientId, clean: false, protocolVersion: 5, reconnectPeriod: 0 },
        properties: { sessionExpiryInterval: 600 },
        will: {
          ...{ topic: `wills/${clientId}`, payload: Buffer.from(clientId), qos: 2, retain: false },
          properties: { willDelayInterval },
        },
      });
    }
    await a.kill();
    await allAdopted([b, c], 2);
    assert.deepEqual(await watcher.payloads(1), ["soon"]);
    await a.start();
    for (const node of [a, b, c]) await node.sees([a, b, c]);
    const back = await b.connect({ clientId: "soon", clean: false });
    assert.deepEqual(await watcher.payloads(2), ["soon", "late"]);
    await back.publish("wills/last", "last", { qos: 2 });
    assert.deepEqual(await watcher.payloads(3), ["soon", "late", "last"]);
  },
);
