/** A disk that does not come back: what `store.durability` promises, and that the node says so and goes on afterwards. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../support/nodes.js";
import { FailingDiskNode } from "./support.js";

const retained = { qos: 1, retain: true } as const;

async function alarmed(node: FailingDiskNode, wanted: boolean): Promise<void> {
  await until(`an alarm: ${wanted}`, async () => {
    const { alarms = [] } = await node.status();
    return alarms.length > 0 === wanted || undefined;
  });
}

/** Publishes are acknowledged before their flush: waits until the disk has all of them. */
async function flushed(node: FailingDiskNode): Promise<void> {
  await until("everything on the disk", async () => {
    return (await node.metric("store.lmdb.unflushed")) === 0 || undefined;
  });
}

test("process: two commits are acknowledged before the disk has them, and survive a kill", async (t) => {
  const node = new FailingDiskNode(t, ["store.stall_timeout=1s"]);
  await node.start();
  const client = await node.connect({ protocolVersion: 5 });
  await client.publish("kept/0", "0", retained);
  await flushed(node);
  node.fail("hang");
  await client.publish("kept/1", "1", retained);
  await client.publish("kept/2", "2", retained);
  let acknowledged = false;
  client.publish("waits", "3", retained).then(
    () => {
      acknowledged = true;
    },
    () => undefined,
  );
  await alarmed(node, true);
  assert.equal(acknowledged, false);
  await until(
    "its line in the log",
    () => /takes longer than 1000 ms/.test(node.output) || undefined,
  );
  await node.kill();
  node.heal();
  await node.start();
  const reader = await node.connect();
  await reader.subscribe("kept/#");
  assert.deepEqual((await reader.payloads(3)).sort(), ["0", "1", "2"]);
});

test("power: nothing is acknowledged before the disk has it, and all of it afterwards", async (t) => {
  const node = new FailingDiskNode(t, ["store.durability=power", "store.stall_timeout=30s"]);
  await node.start();
  const client = await node.connect({ protocolVersion: 5 });
  await client.publish("kept", "0", retained);
  node.fail("hang");
  let acknowledged = false;
  const published = client.publish("waits", "1", retained).then(() => {
    acknowledged = true;
  });
  // The node is alive, and has taken the message, for as long as somebody asks and gets answers.
  const live = await node.connect();
  await live.subscribe("waits");
  await live.payloads(1);
  for (let round = 0; round < 20; round++) await live.publish("live", "x", { qos: 1 });
  assert.equal(acknowledged, false);
  node.heal();
  await published;
  await alarmed(node, false);
});
