/** Real nodes that are killed: retained messages are as they were acknowledged. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestNode } from "../support/nodes.js";

/** What a client that subscribes now gets, as "topic payload"; `last` is the topic that comes at the end. */
async function retained(node: TestNode): Promise<string[]> {
  const client = await node.connect({ protocolVersion: 5 });
  await client.subscribe("r/#");
  await client.publish("r/end", "", { qos: 1 });
  const seen = (): boolean => client.received.some(({ topic }) => topic === "r/end");
  await client.waitFor("all that is retained", seen);
  client.mqtt.end(true);
  const found = client.received.filter(({ topic }) => topic !== "r/end");
  return found.map(({ topic, payload }) => `${topic} ${payload}`).sort();
}

test("set, replaced, deleted and expiring retained messages outlive kill -9", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  const client = await node.connect({ protocolVersion: 5 });
  const set = (topic: string, payload: string, seconds = 0): Promise<void> => {
    const properties = seconds === 0 ? {} : { messageExpiryInterval: seconds };
    return client.publish(topic, payload, { qos: 1, retain: true, properties });
  };
  await set("r/kept", "1");
  await set("r/replaced", "old");
  await set("r/replaced", "new");
  await set("r/deleted", "x");
  await set("r/deleted", "");
  await set("r/soon", "gone", 1);
  await set("r/later", "2", 3600);
  const setMs = performance.now();
  await node.kill();
  await node.start();
  while (performance.now() - setMs < 1100) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await retained(node), ["r/kept 1", "r/later 2", "r/replaced new"]);
  // What changes after a restart is kept as well.
  const again = await node.connect({ protocolVersion: 5 });
  await again.publish("r/kept", "3", { qos: 2, retain: true });
  await again.publish("r/later", "", { qos: 1, retain: true });
  await node.kill();
  await node.start();
  assert.deepEqual(await retained(node), ["r/kept 3", "r/replaced new"]);
});

test("each acknowledged one of many is there, however soon the node is killed", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  let acknowledged = 0;
  for (let round = 1; round <= 3; round++) {
    const client = await node.connect();
    const killed = new Promise<void>((resolve) => {
      for (let i = 0; i < 2000; i++) {
        const number = round * 10_000 + i;
        const done = (error?: unknown): void => {
          if (error !== undefined && error !== null) return;
          acknowledged = Math.max(acknowledged, number);
          // PUBACKs come in order: this one is not the last.
          if (i === 700) void node.kill().then(resolve);
        };
        client.mqtt.publish("r/counter", `${number}`, { qos: 1, retain: true }, done);
      }
    });
    await killed;
    client.mqtt.end(true);
    await node.start();
    const [found = ""] = await retained(node);
    assert.ok(
      Number(found.slice("r/counter ".length)) >= acknowledged,
      `${found}, ${acknowledged}`,
    );
  }
});
