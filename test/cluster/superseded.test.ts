/** Three real processes: a persistent client whose node is killed goes on at another one, and gets all of its queue once that is back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

const keeper = { clientId: "keeper", clean: false, protocolVersion: 4 } as const;

interface Listed {
  readonly items: readonly { readonly clientId: string }[];
}

async function has(node: TestNode, clientId: string): Promise<boolean> {
  const { items } = await node.ctl<Listed>("sessions list");
  return items.some((one) => one.clientId === clientId);
}

/** So many numbers from the first on, those of each QoS in their order: QoS 1 may overtake QoS 2. */
function inOrder(numbers: readonly number[], from: number, count: number): void {
  for (const rest of [0, 1]) {
    const wanted = [...Array(count).keys()].map((i) => i + from).filter((i) => i % 2 === rest);
    assert.deepEqual(
      numbers.filter((i) => i % 2 === rest),
      wanted,
    );
  }
}

async function three(t: Parameters<typeof startNodes>[0]): Promise<[TestNode, TestNode, TestNode]> {
  const [a, b, c] = await startNodes(t, { nodes: 3 });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return [a, b, c];
}

async function publish(client: TestClient, from: number, count: number): Promise<void> {
  for (let i = from; i < from + count; i++) {
    await client.publish("keep/x", `${i}`, { qos: i % 2 === 0 ? 1 : 2 });
  }
}

test("the queue of a dead node's session comes to the session that its client has begun elsewhere", async (t) => {
  const [a, b, c] = await three(t);
  const first = await a.connect(keeper);
  await first.subscribe("keep/#", 2);
  await first.mqtt.endAsync();
  const publisher = await c.connect();
  await publish(publisher, 0, 20); // at a
  await a.kill();
  await c.sees([b, c]);
  await publish(publisher, 20, 20); // waits for a at c
  const again = await b.connect(keeper);
  await again.subscribe("keep/#", 2);
  await publish(publisher, 40, 20); // at b at once, and for a at c too
  const numbers = (): number[] => again.received.map(({ payload }) => Number(payload));
  await again.waitFor("what is published now", () => numbers().length >= 20);
  inOrder(numbers(), 40, 20);
  await a.start();
  for (const node of [a, b, c]) await node.sees([a, b, c]);
  await again.waitFor("what the older session had", () => numbers().length >= 60);
  inOrder(numbers().slice(20), 0, 40);
  await until("the end of the older session", async () => !(await has(a, "keeper")) || undefined);
  assert.ok(await has(b, "keeper"));
  await publish(publisher, 60, 10);
  await again.waitFor("the rest", () => numbers().length >= 70);
  inOrder(numbers().slice(60), 60, 10);
  assert.equal(new Set(numbers()).size, 70);
});

test("Clean Start wants nothing of a dead node's session: it ends when the node is back", async (t) => {
  const [a, b, c] = await three(t);
  const first = await a.connect(keeper);
  await first.subscribe("keep/#", 2);
  await first.mqtt.endAsync();
  await a.kill();
  await c.sees([b, c]);
  const publisher = await c.connect();
  await publish(publisher, 0, 4);
  const clean = await b.connect({ clientId: "keeper", clean: true, protocolVersion: 5 });
  await clean.mqtt.endAsync();
  await a.start();
  for (const node of [a, b, c]) await node.sees([a, b, c]);
  await until("the end of the older session", async () => !(await has(a, "keeper")) || undefined);
  const again = await c.connect(keeper);
  await publish(publisher, 4, 1);
  await again.subscribe("other/#");
  assert.deepEqual(again.received, []);
});

test("two nodes that know the same client are joined: one session, and nothing of either is lost", async (t) => {
  const nodes = await startNodes(t, { nodes: 2, joined: false });
  const [a, b] = nodes;
  assert.ok(a !== undefined && b !== undefined);
  for (const node of [a, b]) {
    const client = await node.connect(keeper);
    await client.subscribe("keep/#", 2);
    await client.mqtt.endAsync();
    const publisher = await node.connect();
    await publish(publisher, node === a ? 0 : 100, 5);
    publisher.mqtt.end(true);
  }
  // A client that is connected to both keeps its younger connection.
  const older = await a.connect({ clientId: "both", protocolVersion: 5 });
  const younger = await b.connect({ clientId: "both", protocolVersion: 5 });
  await b.ctl("join_cluster", { node: `${a.name}:${a.linkPort}` });
  for (const node of nodes) await node.sees(nodes);
  await older.closed();
  assert.equal(older.disconnectReason, 0x8e);
  assert.ok(younger.mqtt.connected);
  await until(
    "one session",
    async () => (await has(a, "keeper")) !== (await has(b, "keeper")) || undefined,
  );
  const again = await a.connect(keeper);
  await again.waitFor("all messages", () => again.received.length >= 10);
  const payloads = again.received.map(({ payload }) => Number(payload)).sort((x, y) => x - y);
  assert.deepEqual(payloads, [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]);
});
