/** Scenes of the life of a publish between routers: who gets it, what counts as accepted, what waits for whom. */
import assert from "node:assert/strict";
import type { Message } from "../../../src/routing/message.js";
import { allUp, type ClusterNode, type ClusterNodeOptions, startCluster } from "../cluster-node.js";
import type { World } from "../world/world.js";

type Three = [ClusterNode, ClusterNode, ClusterNode];

/** So many nodes, at least; what a scene has no use for it leaves. */
async function nodes(world: World, count: number, options: ClusterNodeOptions = {}) {
  const all = await startCluster(world, count, options);
  return all as Three; // a scene of two nodes takes two
}

/** A message crosses the network once for each node that subscribed, and ends there. */
async function oneHop(world: World): Promise<void> {
  const [a, b, c] = await nodes(world, 3);
  const here = [await b.subscribe("s1", "t", 1), await b.subscribe("s2", "+", 1)];
  const there = await c.subscribe("s3", "t", 1);
  const sent = a.publish("t", "x");
  a.publish("t", "y", 0);
  a.publish("u", "z");
  await world.until(() => sent.pending === 0, 1_000, "accepted");
  await world.run(300);
  const crossed = [a.forwardsTo(b), a.forwardsTo(c), b.forwardsTo(c), c.forwardsTo(b)];
  assert.deepEqual(crossed, [3, 2, 0, 0], "crosses once for each node that subscribed");
  assert.deepEqual(here[0]?.payloads, ["x", "y"]);
  assert.deepEqual(there.payloads, ["x", "y"]);
}

/** A peer acknowledges what it has accepted, and only up to the first that it has not. */
async function acceptedOnly(world: World): Promise<void> {
  const [a, b] = await nodes(world, 2);
  const slow = await b.subscribe("s", "t", 1, true);
  slow.accepting = false;
  const sent = ["0", "1", "2"].map((payload) => a.publish("t", payload));
  const open = (): number[] => sent.map(({ pending }) => pending);
  await world.run(500);
  assert.deepEqual(open(), [1, 1, 1], "acknowledged is accepted");
  slow.acceptAt(1);
  await world.run(500);
  assert.equal(open()[0], 1, "acknowledged is accepted, and all before it");
  slow.acceptAll();
  await world.until(() => open().every((pending) => pending === 0), 500, "all are accepted");
}

/** What is left to the outbox counts as accepted when it is committed: its node may die in that moment. */
async function keptFirst(world: World): Promise<void> {
  const [a, b] = await nodes(world, 2);
  await b.subscribe("s", "t", 1, true);
  b.crash();
  await world.until(() => a.state(b) === "down", 10_000, "b is down");
  a.place.disk.store.writeMsMax = 50;
  const sent = a.publish("t", "x");
  if (sent.pending > 0) await world.until(() => sent.pending === 0, 1_000, "in the outbox");
  await a.restart();
  await b.start();
  const { subscriber } = b.subscribeSoon("s", "t", 1, true);
  await allUp(world, [a, b]);
  await world.run(500);
  assert.deepEqual(subscriber.payloads, ["x"], "in the outbox before it is accepted");
}

/** A peer that is cut off when it has accepted is left to the outbox: what comes from there has its old number. */
async function oldNumbers(world: World): Promise<void> {
  const [a, b] = await nodes(world, 2);
  const here = await b.subscribe("s", "t", 1, true);
  let sent: Message;
  do {
    sent = a.publish("t", `${here.payloads.length}`);
    const before = here.payloads.length;
    await world.until(() => here.payloads.length > before, 1_000, "it has come");
  } while (sent.pending === 0);
  world.cutLink(a.place, b.place);
  await world.until(() => sent.pending === 0, 10_000, "left to the outbox");
  world.heal();
  await allUp(world, [a, b]);
  await world.run(500);
  assert.equal(
    here.payloads.length,
    new Set(here.payloads).size,
    "under its number, and not again",
  );
}

/** A link that closes and comes back costs nobody anything, durable or not. */
async function overLink(world: World): Promise<void> {
  const [a, b] = await nodes(world, 2);
  const here = await b.subscribe("s", "t", 1, false);
  world.breakPipes(a.place, b.place);
  const sent: Message[] = [];
  for (let i = 0; i < 60; i++) {
    sent.push(a.publish("t", `${i}`));
    await world.run(2);
  }
  await world.until(() => sent.every(({ pending }) => pending === 0), 3_000, "accepted");
  await world.run(100);
  const expected = sent.map((_, i) => `${i}`);
  assert.deepEqual(here.payloads, expected, "while its node is not down it comes, in order");
}

/** Nobody waits for a node that has subscribed with QoS 0 alone. */
async function qos0Row(world: World): Promise<void> {
  const [a, b] = await nodes(world, 2);
  await b.subscribe("s", "t", 0);
  world.cutLink(a.place, b.place);
  const sent = a.publish("t", "x");
  assert.equal(sent.pending, 0, "QoS 0 delays nobody");
}

export const publishScenes = {
  oneHop,
  acceptedOnly,
  keptFirst,
  oldNumbers,
  overLink,
  qos0Row,
};
