/** One copy to each node that subscribed, none to one that did not: the per-peer counters prove it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ClusterNode, startCluster } from "./cluster-node.js";
import { World } from "./world/world.js";

interface Guide {
  readonly world: World;
  readonly node1: ClusterNode;
  readonly node2: ClusterNode;
  readonly node3: ClusterNode;
}

/** The example of emqttd's cluster guide. */
async function guide(seed: number): Promise<Guide> {
  const world = new World(seed);
  const [node1, node2, node3] = await startCluster(world, 3);
  assert.ok(node1 !== undefined && node2 !== undefined && node3 !== undefined);
  await node1.subscribe("s1", "t/+/x");
  await node3.subscribe("s3", "t/+/x");
  await node1.subscribe("s1", "t/+/y");
  await node2.subscribe("s2", "t/#");
  await node3.subscribe("s3", "t/a");
  return { world, node1, node2, node3 };
}

const forwards = ({ node1, node2, node3 }: Guide): number[][] => [
  [node1.forwardsTo(node2), node1.forwardsTo(node3)],
  [node2.forwardsTo(node1), node2.forwardsTo(node3)],
  [node3.forwardsTo(node1), node3.forwardsTo(node2)],
];
const payloads = ({ node1, node2, node3 }: Guide): string[][] => [
  node1.subscriber("s1").payloads,
  node2.subscriber("s2").payloads,
  node3.subscriber("s3").payloads,
];

for (const qos of [0, 1, 2] as const) {
  test(`t/a at node1 goes to node2 and node3, once each, QoS ${qos}`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      const all = await guide(seed);
      const sent = all.node1.publish("t/a", "x", qos);
      await all.world.run(500);
      assert.equal(sent.pending, 0);
      assert.deepEqual(payloads(all), [[], ["x"], ["x"]]);
      assert.deepEqual(forwards(all), [
        [1, 1],
        [0, 0],
        [0, 0],
      ]);
    }
  });
}

test("a topic that a node did not subscribe never goes there", async () => {
  const all = await guide(7);
  all.node1.publish("t/b", "only node2");
  all.node2.publish("t/b/x", "node1 and node3, and ours");
  all.node3.publish("t/b/y", "node1 and node2");
  all.node3.publish("u", "nobody");
  await all.world.run(500);
  assert.deepEqual(forwards(all), [
    [1, 0],
    [1, 1],
    [1, 1],
  ]);
  assert.deepEqual(
    payloads(all).map((list) => list.length),
    [2, 3, 1],
  );
});

test("many matching filters and subscribers at a node cost one forward, each gets one copy", async () => {
  const { world, node1, node2 } = await guide(9);
  await node2.subscribe("s2", "t/a");
  await node2.subscribe("s2", "+/a");
  await node2.subscribe("other", "t/+");
  const before = node1.forwardsTo(node2);
  for (let i = 0; i < 10; i++) node1.publish("t/a", `${i}`, i % 2 === 0 ? 1 : 0);
  await world.run(500);
  assert.equal(node1.forwardsTo(node2) - before, 10);
  for (const id of ["s2", "other"]) assert.equal(node2.subscriber(id).received.length, 10);
});

test("the last UNSUBSCRIBE at a node stops its copies, an earlier one does not", async () => {
  const { world, node1, node3 } = await guide(11);
  await node3.subscribe("another", "t/a");
  node3.router.unsubscribe(node3.subscriber("s3"), "t/a");
  await world.run(200);
  node1.publish("t/a", "still for one");
  await world.run(200);
  assert.equal(node1.forwardsTo(node3), 1);
  node3.router.unsubscribe(node3.subscriber("another"), "t/a");
  await world.run(200);
  node1.publish("t/a", "for none");
  await world.run(200);
  assert.equal(node1.forwardsTo(node3), 1);
  assert.deepEqual(node3.subscriber("another").payloads, ["still for one"]);
});

test("a QoS 0 row takes no number: the publisher waits for nobody", async () => {
  const { world, node1, node3 } = await guide(13);
  await node3.subscribe("zero", "z", 0);
  const sent = node1.publish("z", "x", 2);
  assert.deepEqual([sent.matched, sent.pending], [1, 0]);
  await world.run(200);
  assert.deepEqual(node3.subscriber("zero").received, [
    { topic: "z", payload: "x", qos: 0, publisher: "p" },
  ]);
});

test("a retained message goes once to every node, subscribed or not", async () => {
  const all = await guide(15);
  const sent = all.node1.publish("t/a", "kept", 1, true);
  await all.world.run(500);
  assert.equal(sent.pending, 0);
  assert.deepEqual(forwards(all)[0], [1, 1]);
  assert.deepEqual(payloads(all), [[], ["kept"], ["kept"]]);
  for (const node of [all.node2, all.node3])
    assert.deepEqual(node.retained(), all.node1.retained());
  all.node2.publish("nobody/subscribed", "kept too", 0, true);
  await all.world.run(500);
  assert.deepEqual(forwards(all)[1], [1, 1]);
  assert.equal(all.node1.retained().size, 2);
});
