/** Clusters whose nodes die and come back: what their stores hold is there again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { allUp, type ClusterNode, startCluster } from "./cluster-node.js";
import { World } from "./world/world.js";

const seeds = [1, 2, 3, 4, 5, 6, 7, 8];

async function pair(seed: number): Promise<{ world: World; a: ClusterNode; b: ClusterNode }> {
  const world = new World(seed);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b };
}

const isDown = (a: ClusterNode, b: ClusterNode) => (): boolean => a.state(b) === "down";

/** Publishes and waits for the acceptance. Returns what would be reason code 0x10: nobody found. */
async function publish(world: World, node: ClusterNode, payload: string): Promise<boolean> {
  let accepted = false;
  const message = node.publish("t", payload, 1, false, "p", () => {
    accepted = true;
  });
  if (message.pending > 0) await world.until(() => accepted, 10_000, `acceptance of ${payload}`);
  return message.matched === 0;
}

for (const seed of seeds) {
  test(`an outbox outlives its node, and comes before what is new (seed ${seed})`, async () => {
    const { world, a, b } = await pair(seed);
    await b.subscribe("s", "t", 1, true);
    b.crash();
    await world.until(isDown(a, b), 10_000, "b is down");
    for (let i = 1; i <= 5; i++) await publish(world, a, `old ${i}`);
    await a.restart();
    for (let i = 1; i <= 3; i++)
      assert.ok(!(await publish(world, a, `new ${i}`)), "b's row is known");
    await a.restart();
    await b.start();
    // Its session is back before it links.
    const subscribed = b.subscribeSoon("s", "t", 1, true);
    await allUp(world, [a, b]);
    const { subscriber } = subscribed;
    await world.until(() => subscriber.received.length >= 8, 10_000, "all that waited");
    assert.deepEqual(subscriber.payloads, [
      "old 1",
      "old 2",
      "old 3",
      "old 4",
      "old 5",
      "new 1",
      "new 2",
      "new 3",
    ]);
    const outbox = (): number => a.cluster.peer(b.name)?.sender.length ?? -1;
    await world.until(
      () => outbox() === 0,
      5_000,
      () => `${outbox()} left`,
    );
  });
}

test("rows of a member that was removed are not there after a restart", async () => {
  const { world, a, b } = await pair(11);
  await b.subscribe("s", "t", 1, true);
  b.crash();
  await world.until(isDown(a, b), 10_000, "b is down");
  await publish(world, a, "1");
  await a.remove(b);
  await world.run(100);
  await a.restart();
  assert.ok(await publish(world, a, "2"), "nobody subscribed");
  assert.deepEqual(await a.place.disk.store.content.partitions("outbox/"), []);
  assert.deepEqual(await a.place.disk.store.content.partitions("rows/"), []);
});

test("an unsubscription is durable as well", async () => {
  const { world, a, b } = await pair(12);
  const subscriber = await b.subscribe("s", "t", 1, true);
  b.router.unsubscribe(subscriber, "t");
  await world.run(1000);
  b.crash();
  await a.restart();
  assert.ok(await publish(world, a, "1"), "nobody subscribed");
});
