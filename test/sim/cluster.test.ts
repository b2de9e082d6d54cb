/** Nodes that meet, part and come back: the real cluster and router in a deterministic world. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { allUp, ClusterNode, startCluster } from "./cluster-node.js";
import { World } from "./world/world.js";

/** So many histories of each story: every seed has other delays, and cuts bytes in other places. */
const seeds = Array.from({ length: 8 }, (_, i) => i + 1);

interface Three {
  readonly world: World;
  readonly a: ClusterNode;
  readonly b: ClusterNode;
  readonly c: ClusterNode;
}

async function three(seed: number): Promise<Three> {
  const world = new World(seed);
  const [a, b, c] = await startCluster(world, 3);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return { world, a, b, c };
}

function calm(...nodes: ClusterNode[]): void {
  for (const node of nodes) assert.deepEqual(node.complaints, []);
}

test("two nodes join, and a publish at one reaches a subscriber at the other", async () => {
  for (const seed of seeds) {
    const world = new World(seed);
    const [a, b] = await startCluster(world, 2);
    assert.ok(a !== undefined && b !== undefined);
    const subscriber = await a.subscribe("s", "room/+", 1);
    assert.equal(b.publish("room/1", "qos 0", 0).pending, 0);
    const sent = b.publish("room/1", "qos 1", 1);
    assert.equal(sent.matched, 1);
    assert.equal(sent.pending, 1);
    assert.equal(b.publish("garden/1", "for nobody", 1).matched, 0);
    await world.until(() => b.accepted.includes(sent), 1000, "PUBACK");
    assert.deepEqual(subscriber.payloads, ["qos 0", "qos 1"]);
    assert.equal(b.forwardsTo(a), 2);
    calm(a, b);
  }
});

test("a cluster of one publishes to itself, and its SUBACK comes at once", async () => {
  const world = new World(1);
  const a = new ClusterNode(world, "a@ha");
  await a.start();
  const subscription = a.subscribeSoon("s", "#");
  assert.ok(subscription.synced);
  assert.equal(a.publish("t", "x", 1).pending, 0);
  assert.deepEqual(subscription.subscriber.payloads, ["x"]);
});

test("three nodes are a mesh, and each tells what it has to each", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    const nodes = [a, b, c];
    for (const node of nodes) {
      const names = node.cluster.members.others().map(({ name }) => name);
      assert.equal(names.length, 2);
      await node.subscribe("s", "all", 2);
    }
    for (const node of nodes) {
      const sent = node.publish("all", `from ${node.name}`, 2);
      await world.until(() => sent.pending === 0, 1000, "PUBACK");
    }
    for (const node of nodes) assert.equal(node.subscriber("s").received.length, 3);
    calm(a, b, c);
  }
});

test("each pair makes one link and loses none, whichever connection overtakes the other", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const world = new World(seed);
    const nodes = await startCluster(world, 4);
    await world.run(3000);
    const counters = nodes.map(({ cluster }) => cluster.counters);
    assert.deepEqual(
      counters.map(({ linksMade, linksLost }) => [linksMade, linksLost]),
      nodes.map(() => [3, 0]),
      `seed ${seed}`,
    );
  }
});

test("PUBACK waits for a subscriber elsewhere that has not accepted yet, QoS 0 for nobody", async () => {
  const { world, a, b } = await three(1);
  const slow = await b.subscribe("slow", "t", 1);
  slow.accepting = false;
  const first = a.publish("t", "1");
  const second = a.publish("t", "2");
  assert.equal(a.publish("t", "3", 0).pending, 0);
  await world.run(3000);
  assert.deepEqual(slow.payloads, ["1", "2", "3"]);
  slow.acceptAt(1);
  await world.run(1000);
  assert.deepEqual([first.pending, second.pending], [1, 1]);
  slow.acceptAll();
  await world.until(() => a.accepted.length === 2, 1000, "both PUBACKs");
  assert.deepEqual(a.accepted, [first, second]);
});

test("nodes with a static list find each other in any order, and again after a crash", async () => {
  for (const seed of seeds) {
    const world = new World(seed);
    const names = ["a@ha", "b@hb", "c@hc"];
    const nodes = names.map((name) => new ClusterNode(world, name, { discovery: names }));
    for (const node of world.dice.shuffle(nodes)) {
      await node.start();
      await world.run(world.dice.between(0, 3000));
    }
    await allUp(world, nodes, 60_000);
    const [a, b, c] = nodes;
    assert.ok(a !== undefined && b !== undefined && c !== undefined);
    a.crash();
    a.place.disk.wipe();
    await a.start();
    await world.run(20_000);
    // Another data directory under the old name must not come in by itself.
    assert.equal(b.state(a), "down");
    assert.ok(a.complained("the name a@ha is already taken"), JSON.stringify(a.complaints));
  }
});

test("nodes with a static list, started in the same instant, are one cluster", async () => {
  for (const seed of seeds) {
    const world = new World(seed);
    const names = ["a@ha", "b@hb", "c@hc", "d@hd", "e@he"];
    const nodes = names.map((name) => new ClusterNode(world, name, { discovery: names }));
    const started = Promise.all(nodes.map((node) => node.boot()));
    await world.settled(started, 5_000, "started");
    await allUp(world, nodes, 30_000);
    await world.run(5_000);
    await allUp(world, nodes, 1);
  }
});

test("a place of the list that never answers does not keep the others from their turn", async () => {
  const world = new World(5);
  const list = ["ghost@nowhere", "ghost@hb:4373", "a@ha", "b@hb"];
  const nodes = ["a@ha", "b@hb"].map((name) => new ClusterNode(world, name, { discovery: list }));
  for (const node of nodes) await node.start();
  await allUp(world, nodes, 20_000);
});

test("a command does not fail because discovery is trying something", async () => {
  const world = new World(6);
  const a = new ClusterNode(world, "a@ha");
  const b = new ClusterNode(world, "b@hb", { discovery: ["ghost@nowhere", "ghost@elsewhere"] });
  await a.start();
  await b.start();
  for (let i = 0; i < 10; i++) {
    await world.run(world.dice.between(0, 3000));
    await b.join(a);
    await b.leave();
  }
});

test("who left on purpose stays out, whoever discovers whom, until it is started anew", async () => {
  const world = new World(4);
  const names = ["a@ha", "b@hb", "c@hc"];
  const nodes = names.map((name) => new ClusterNode(world, name, { discovery: names }));
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  for (const node of nodes) await node.start();
  await allUp(world, nodes, 30_000);
  await c.leave();
  await world.run(20_000);
  assert.deepEqual(
    [a, b, c].map((node) => node.cluster.members.others().length),
    [1, 1, 0],
  );
  await c.restart();
  await allUp(world, nodes, 30_000);
  await a.remove(c);
  await world.run(20_000);
  assert.deepEqual(
    [a, b, c].map((node) => node.cluster.members.others().length),
    [1, 1, 0],
  );
  const refusals = c.complaints.filter(({ message }) => message.startsWith("cannot join"));
  assert.equal(refusals.length, 2, "once for each place, not once a second");
});

test("several nodes share a host: ports tell them apart", async () => {
  const world = new World(3);
  const nodes = ["a@h", "b@h", "c@h"].map((name) => new ClusterNode(world, name));
  const [a, b, c] = nodes;
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  for (const node of nodes) await node.start();
  await b.join(a);
  await c.join(b);
  await allUp(world, nodes);
  // They come back on each other's ports.
  a.crash();
  b.crash();
  await b.start();
  await a.start();
  await allUp(world, nodes);
  const found = await world.settled(b.process.joiner.names("h"), 5000, "names");
  assert.deepEqual(found.map(({ name }) => name).sort(), ["a@h", "b@h", "c@h"]);
});

test("a node that leaves is gone everywhere, keeps its own, and can come back", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    await c.subscribe("s", "t/+", 1);
    await c.leave();
    await world.until(
      () => [a, b].every((node) => node.cluster.peers().length === 1),
      2000,
      "gone",
    );
    assert.equal(a.publish("t/1", "not for c", 1).matched, 0);
    assert.equal(c.publish("t/1", "alone", 1).pending, 0);
    assert.deepEqual(c.subscriber("s").payloads, ["alone"]);
    await c.join(b);
    await allUp(world, [a, b, c]);
    const sent = a.publish("t/1", "again", 1);
    await world.until(() => sent.pending === 0, 1000, "PUBACK");
    assert.deepEqual(c.subscriber("s").payloads, ["alone", "again"]);
  }
});

test("a node that left while a peer was away tells it when it asks", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    a.crash();
    await world.run(1000);
    await c.leave();
    await a.start();
    await world.until(() => a.cluster.members.get("c@hc")?.status === "left", 15_000, "a hears");
    await allUp(world, [a, b]);
    assert.equal(b.cluster.peers().length, 1);
  }
});

test("a node is removed, dead or alive, and is told when it comes back", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    await c.subscribe("s", "t", 1);
    await a.remove(c);
    await world.until(() => c.complained("was removed"), 5000, "c hears");
    const peers = (): string => [a, b, c].map((node) => node.cluster.peers().length).join();
    await world.until(() => peers() === "1,1,0", 2000, peers);
    b.crash();
    await a.remove(b);
    await b.start();
    await world.until(() => b.complained("was removed"), 10_000, "b hears");
    assert.equal(a.publish("t", "x", 1).matched, 0);
    assert.deepEqual(a.cluster.members.others(), []);
  }
});

test("a node that was killed is back without a command", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    await b.subscribe("s", "t", 1);
    c.crash();
    const sent = a.publish("t", "1");
    await world.until(() => sent.pending === 0, 1000, "PUBACK");
    await world.until(() => a.state(c) === "down", 1000, "the dead node's port refuses");
    await c.start();
    await allUp(world, [a, b, c]);
    const more = c.publish("t", "2");
    await world.until(() => more.pending === 0, 1000, "PUBACK");
    assert.deepEqual(b.subscriber("s").payloads, ["1", "2"]);
  }
});

test("a member that slept while another left and came back is introduced to it", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    await b.leave();
    await world.until(() => c.cluster.peers().length === 1, 2000, "c hears");
    c.crash();
    await b.join(a);
    await a.leave();
    // All that c knew have left, as far as it knows; b alone knows better.
    await c.start();
    await allUp(world, [b, c]);
    assert.equal(c.cluster.members.get("a@ha")?.status, "left");
  }
});

test("the whole cluster is killed and started: all are back, and none is a stranger", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    for (const node of [a, b, c]) node.crash();
    for (const node of world.dice.shuffle([a, b, c])) {
      await node.start();
      await world.run(world.dice.between(0, 2000));
    }
    await allUp(world, [a, b, c]);
  }
});

test("a node that stops in order is down at once for the others", async () => {
  const { world, a, b, c } = await three(1);
  c.stop();
  await world.until(() => a.state(c) === "down" && b.state(c) === "down", 300, "down");
});
