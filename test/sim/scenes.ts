/** Scenes for what random histories do not see: who is chosen, what is refused, what is not kept. */
import assert from "node:assert/strict";
import type { Message } from "../../src/routing/message.js";
import { allUp, type ClusterNode, type ClusterNodeOptions, startCluster } from "./cluster-node.js";
import type { World } from "./world/world.js";

interface Pair {
  readonly world: World;
  readonly a: ClusterNode;
  readonly b: ClusterNode;
}

async function pair(world: World, options: ClusterNodeOptions = {}): Promise<Pair> {
  const [a, b] = await startCluster(world, 2, options);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b };
}

async function down({ world, a, b }: Pair): Promise<void> {
  b.crash();
  await world.until(() => a.state(b) === "down", 10_000, "b is down");
}

/** What is due to nobody durable is not kept for a node that is down. */
async function notKept(world: World): Promise<void> {
  const both = await pair(world);
  const { a, b } = both;
  await b.subscribe("s", "t", 1, false);
  // A row of another filter is durable.
  await b.subscribe("other", "u", 1, true);
  const slow = b.subscriber("s");
  slow.accepting = false;
  const sent = a.publish("t", "x");
  await world.run(100);
  await down(both);
  await world.until(() => sent.pending === 0, 1_000, "nobody waits for it");
  await b.start();
  const again = b.subscribeSoon("s", "t", 1, false);
  await allUp(world, [a, b]);
  await world.run(1_000);
  assert.deepEqual(again.subscriber.payloads, [], "what is not durable is not kept");
}

/** A publish that the outbox has no room for goes nowhere. */
async function noRoom(world: World): Promise<void> {
  const both = await pair(world, { settings: { outboxMessages: 3 } });
  const { a, b } = both;
  const here = await a.subscribe("here", "t", 1);
  await b.subscribe("s", "t", 1, true);
  await down(both);
  const sent: Message[] = [];
  for (let i = 0; i < 5; i++) sent.push(a.publish("t", `${i}`));
  await world.run(1_000);
  assert.deepEqual(
    sent.map(({ refused }) => refused !== 0),
    [false, false, false, true, true],
    "refused without room",
  );
  assert.deepEqual(here.payloads, ["0", "1", "2"], "without room it goes to nobody");
}

/** A publisher does not wait longer than the time-out for a peer that is up and does not accept. */
async function late(world: World): Promise<void> {
  const { a, b } = await pair(world);
  const slow = await b.subscribe("s", "t", 1, true);
  slow.accepting = false;
  const sent = a.publish("t", "x");
  await world.until(() => sent.pending === 0, 12_000, "left to the outbox of a peer that is late");
}

/** Members that are away get nothing while one is connected anywhere. */
async function away(world: World): Promise<void> {
  const { a, b } = await pair(world);
  const key = "$share/g/t/+";
  const options = { qos: 2, noLocal: false, retainAsPublished: true, subscriptionId: 0 } as const;
  const gone = b.subscriber("away");
  b.router.subscribe(gone, key, options, true, false);
  const here = await a.subscribe("here", key, 1);
  await world.run(200);
  for (let i = 0; i < 10; i++) a.publish("t/1", `${i}`);
  await world.run(500);
  assert.deepEqual(gone.payloads, [], "one that is away is chosen while another is connected");
  assert.equal(here.payloads.length, 10);
}

/** What counts as accepted because it is in the outbox is there after a crash. */
async function overCrash(world: World): Promise<void> {
  const both = await pair(world);
  const { a, b } = both;
  await b.subscribe("s", "t", 1, true);
  await down(both);
  const sent = a.publish("t", "x");
  await world.until(() => sent.pending === 0, 1_000, "in the outbox");
  await a.restart();
  await b.start();
  const { subscriber } = b.subscribeSoon("s", "t", 1, true);
  await allUp(world, [a, b]);
  await world.run(1_000);
  assert.deepEqual(subscriber.payloads, ["x"], "what is in the outbox is there over a crash");
}

/** A durable row is known after a crash of the node that acknowledged it. */
async function rowStays(world: World): Promise<void> {
  const both = await pair(world);
  const { a, b } = both;
  a.place.disk.store.writeMsMax = 100;
  await b.subscribe("s", "t", 1, true);
  a.crash();
  b.crash();
  await a.start();
  const sent = a.publish("t", "x");
  assert.equal(sent.matched, 1, "a node that has acknowledged it knows its row after a crash");
}

/** A publish in the midst of a snapshot goes by the rows from before. */
async function midst(world: World): Promise<void> {
  const { a, b } = await pair(world);
  const here = await b.subscribe("s", "t", 1, true);
  for (let i = 0; i < 20_000; i++) b.cluster.setRow(`many/${i}`, 9);
  await world.run(2_000);
  const sent: Message[] = [];
  world.breakPipes(a.place, b.place);
  for (let i = 0; i < 2_000; i++) {
    sent.push(a.publish("t", `${i}`));
    await world.run(1);
  }
  await world.until(() => sent.every(({ pending }) => pending === 0), 10_000, "accepted");
  assert.equal(here.payloads.length, sent.length, "a publish in the midst of a snapshot is lost");
}

export const scenes = { notKept, noRoom, late, away, overCrash, rowStays, midst };
