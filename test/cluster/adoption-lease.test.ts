/** A node is taken for dead and lives: what it had is adopted, and it neither delivers nor stores anything more. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";
import { redisTest, RedisServer } from "../support/redis.js";

type Nodes = readonly [a: TestNode, b: TestNode, c: TestNode];

async function threeNodes(t: TestContext): Promise<{ nodes: Nodes; redis: RedisServer }> {
  const redis = await RedisServer.start(t);
  const lease = ["lease_interval=300ms", "lease_time=1200ms"].map((word) => `store.redis.${word}`);
  const quick = ["cluster.heartbeat_interval=200ms", "cluster.suspect_after=1s"];
  const settings = ["store.kind=redis", `store.redis.addresses=${redis.address}`];
  const [a, b, c] = await startNodes(t, { nodes: 3, settings: [...settings, ...lease, ...quick] });
  assert.ok(a && b && c);
  return { nodes: [a, b, c], redis };
}

async function down(node: TestNode, { name }: TestNode): Promise<void> {
  await until(`${name} is down`, async () => {
    const { members } = await node.status();
    return members.some((one) => one.name === name && one.state === "down") || undefined;
  });
}

const payloads = ({ received }: TestClient): string[] => received.map(({ payload }) => payload);

/** What each client has got, once each. */
const once = (clients: readonly TestClient[]): string[] => clients.flatMap(payloads).sort();

redisTest(
  "a node that was stopped and goes on after it was adopted ends, and comes back whole",
  async (t) => {
    const { nodes, redis } = await threeNodes(t);
    const [a, b, c] = nodes;
    const stays = await a.connect({ clientId: "stays", clean: false });
    await stays.subscribe("t/#", 2);
    const away = await a.connect({ clientId: "away", clean: false });
    await away.subscribe("t/#", 1);
    await away.mqtt.endAsync();
    const publisher = await b.connect();
    await publisher.publish("t/1", "before", { qos: 2 });
    await stays.payloads(1);

    a.pause();
    // It reads this when it goes on.
    stays.mqtt.publish("t/1", "from the old connection", { qos: 0 });
    const during = publisher.publish("t/1", "during");
    await down(b, a);
    const again = await c.connect({ clientId: "stays", clean: false });
    await during;
    await again.waitFor("what came meanwhile", () => payloads(again).includes("during"));
    await publisher.publish("t/1", "after");
    await again.waitFor("what came after it", () => payloads(again).includes("after"));
    await until("all is adopted", async () => {
      return (
        (await b.metric("adoption.nodes")) + (await c.metric("adoption.nodes")) === 2 || undefined
      );
    });

    a.resume();
    assert.equal(await a.ended(), 1);
    assert.match(
      a.output,
      /had to stop: .*other nodes took this one for dead and have adopted its sessions/,
    );
    assert.deepEqual(payloads(stays), ["before"]);
    assert.deepEqual(payloads(again), ["during", "after"]);
    const left = String(await redis.command("KEYS", `trellis:${a.name}:*:rows:session/*`));
    assert.equal(left, "");

    await a.start();
    for (const node of nodes) await node.sees(nodes);
    assert.equal(await a.metric("session.held"), 0);
    const back = await a.connect({ clientId: "away", clean: false });
    await back.payloads(3);
    await publisher.publish("t/1", "at last");
    await back.payloads(4);
    await again.payloads(3);
    assert.deepEqual(payloads(back), ["before", "during", "after", "at last"]);
    assert.deepEqual(once([again]), ["after", "at last", "during"]);
  },
);
