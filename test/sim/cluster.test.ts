/** Nodes that meet, part and come back: the real cluster and router in a deterministic world. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClusterNode, startCluster } from "./cluster-node.js";
import { World } from "./world/world.js";

async function two(seed: number): Promise<{ world: World; a: ClusterNode; b: ClusterNode }> {
  const world = new World(seed);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b };
}

test("two nodes join, and a publish at one reaches a subscriber at the other", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, a, b } = await two(seed);
    const subscriber = await a.subscribe("s", "room/+", 1);
    assert.equal(b.publish("room/1", "qos 0", 0).pending, 0);
    const sent = b.publish("room/1", "qos 1", 1);
    assert.equal(sent.matched, 1);
    assert.equal(sent.pending, 1);
    b.publish("garden/1", "for nobody", 1);
    await world.until(() => b.accepted.includes(sent), 1000, "PUBACK");
    assert.deepEqual(subscriber.payloads, ["qos 0", "qos 1"]);
    assert.equal(b.forwardsTo(a), 2);
    assert.deepEqual([a.complaints, b.complaints], [[], []]);
  }
});
