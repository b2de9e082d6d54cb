/** Share groups over nodes: who is chosen, and who gets what the chosen one did not take. */
import assert from "node:assert/strict";
import type { Message } from "../../../src/routing/message.js";
import { allUp, type ClusterNode } from "../cluster-node.js";
import type { FakeSubscriber } from "../fakes.js";
import type { World } from "../world/world.js";
import { accepted, down, member, numbers, payloads, three } from "./cast.js";

const key = "$share/g/t/+";

/** Whatever the QoS, and wherever it is published: one member of all nodes gets it. */
async function oneMember(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const members: FakeSubscriber[] = [];
  for (const [node, clientId] of [
    [a, "m"],
    [b, "m1"],
    [b, "m2"],
    [c, "m"],
  ] as const) {
    members.push(await node.subscribe(clientId, key, 2));
  }
  const sent = [a, b, c].flatMap((node, place) =>
    Array.from({ length: 12 }, (_, i) =>
      node.publish("t/1", `${place * 12 + i}`, ([0, 1, 2] as const)[i % 3] ?? 1),
    ),
  );
  await accepted(world, sent);
  await world.run(200);
  assert.deepEqual(payloads(...members), numbers(36), "one member of a group gets a message");
}

/** With round robin every member has its share, however many are at which node. */
async function inTurn(world: World): Promise<void> {
  const { a, b, c } = await three(world, { strategy: "round_robin" });
  const members = [await b.subscribe("m", key, 1)];
  for (const clientId of ["m1", "m2", "m3"]) members.push(await c.subscribe(clientId, key, 1));
  const sent = Array.from({ length: 40 }, (_, i) => a.publish("t/1", `${i}`));
  await accepted(world, sent);
  const shares = members.map(({ received }) => received.length);
  assert.deepEqual(shares, [10, 10, 10, 10], "each member in its turn, each with its weight");
}

/** By chance every member gets its part. */
async function byChance(world: World): Promise<void> {
  const { a, b, c } = await three(world, { strategy: "random" });
  const members = [await b.subscribe("m", key, 1)];
  for (const clientId of ["m1", "m2", "m3"]) members.push(await c.subscribe(clientId, key, 1));
  const sent = Array.from({ length: 400 }, (_, i) => a.publish("t/1", `${i}`));
  await accepted(world, sent);
  for (const { received } of members) {
    assert.ok(received.length > 60 && received.length < 140, `by chance ${received.length} of 400`);
  }
}

/** What one client publishes goes to one member, while the members stay. */
async function byClient(world: World): Promise<void> {
  const { a, b, c } = await three(world, { strategy: "hash_client" });
  const members: FakeSubscriber[] = [];
  for (const node of [a, b, b, c]) {
    members.push(await node.subscribe(`m${members.length}`, key, 1));
  }
  const publishers = numbers(6);
  const sent = Array.from({ length: 60 }, (_, i) =>
    a.publish("t/1", `${i}`, 1, false, publishers[i % publishers.length]),
  );
  await accepted(world, sent);
  for (const publisher of publishers) {
    const takers = members.filter((one) => one.received.some((got) => got.publisher === publisher));
    assert.equal(takers.length, 1, "one member gets all that one client publishes");
  }
}

/** The publisher's node has a member: nothing leaves it. */
async function near(world: World): Promise<void> {
  const { a, b, c } = await three(world, { strategy: "local_first" });
  const own = await a.subscribe("m", key, 1);
  for (const node of [b, c]) await node.subscribe("m", key, 1);
  const sent = Array.from({ length: 20 }, (_, i) => a.publish("t/1", `${i}`));
  await accepted(world, sent);
  assert.equal(own.received.length, 20, "members of the publisher's own node come first");
}

/** Nodes that are up come before those that may be going down. */
async function sureOnes(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const here = await b.subscribe("m", key, 1);
  await c.subscribe("m", key, 1);
  world.partition([a.place, b.place], [c.place]);
  await world.until(() => a.state(c) === "suspect", 5_000, "c is suspect");
  for (const number of numbers(10)) a.publish("t/1", number);
  await world.run(100);
  assert.deepEqual(here.payloads, numbers(10), "a node that may be down is not chosen");
}

/** The member of the group at `node` is not there when that dies; one that is left has seen it. */
async function leaves(world: World, node: ClusterNode, left: ClusterNode): Promise<void> {
  member(node, "gone", true, key);
  await world.run(200);
  node.crash();
  await down(world, left, node);
}

/** Members that are away at nodes that are up come before the outboxes of nodes that are down. */
async function queueBeforeOutbox(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const away = member(b, "away", false, key);
  await leaves(world, c, a);
  await accepted(
    world,
    numbers(10).map((number) => a.publish("t/1", number)),
  );
  await world.run(200);
  assert.deepEqual(away.payloads, numbers(10), "a queue comes before an outbox");
}

/** Nobody else is left: what is published waits for the node that is down. */
async function outboxAtLast(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  await leaves(world, c, a);
  await accepted(
    world,
    numbers(3).map((number) => a.publish("t/1", number)),
  );
  await c.start();
  const back = member(c, "gone", true, key);
  await allUp(world, [a, b, c], 30_000);
  await world.run(500);
  assert.deepEqual(back.payloads, numbers(3), "the outbox is the last that is chosen");
}

/** The member of a node that was down is at another one now, of which only the publisher's node knows: what waited for it is not lost. */
async function movedMeanwhile(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  await leaves(world, b, a);
  await leaves(world, c, a);
  await accepted(
    world,
    numbers(20).map((number, i) => a.publish("t/1", number, i % 2 === 0 ? 1 : 2)),
  );
  await b.start();
  await allUp(world, [a, b], 30_000);
  await world.run(500);
  await c.start();
  const back = member(c, "gone", true, key);
  await allUp(world, [a, b, c], 30_000);
  await world.run(500);
  assert.deepEqual(
    payloads(back),
    numbers(20),
    "what waited for a node without it reaches a member",
  );
}

/** The node that was chosen has no member any more when the message comes. */
async function leftMeanwhile(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const members = [await b.subscribe("m", key, 2), await c.subscribe("m", key, 2)];
  const sent = numbers(20).map((number) => a.publish("t/1", number, 2));
  b.router.unsubscribe(b.subscriber("m"), key);
  await accepted(world, sent);
  assert.deepEqual(payloads(...members), numbers(20), "what finds no member goes to another node");
}

/** The node that was chosen goes down before it has accepted. */
async function goneMeanwhile(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const chosen = await c.subscribe("m", key, 1);
  chosen.accepting = false;
  const sent = numbers(5).map((number) => a.publish("t/1", number, 1));
  await world.run(100);
  const other = await b.subscribe("m", key, 1);
  c.crash();
  await accepted(world, sent);
  await world.run(100);
  assert.equal(chosen.received.length, 5);
  assert.deepEqual(other.payloads, numbers(5), "QoS 1 that a dead node had goes to another");
}

/** One of QoS 2 that may have been sent to a client goes to no other; one that never left does. */
async function sentOnce(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  const chosen = await c.subscribe("m", key, 2);
  chosen.accepting = false;
  const sent = numbers(3).map((number) => a.publish("t/1", number, 2));
  await world.run(100);
  world.partition([a.place, b.place], [c.place]);
  const unsent: Message[] = [];
  world.breakPipes(a.place, c.place);
  await world.run(20);
  for (const number of ["3", "4"]) unsent.push(a.publish("t/1", number, 2));
  const other = await b.subscribe("m", key, 2);
  await accepted(world, [...sent, ...unsent]);
  await world.run(100);
  assert.deepEqual(chosen.payloads, numbers(3));
  assert.deepEqual(other.payloads, ["3", "4"], "QoS 2 goes to one client, ever");
}

export const shareScenes = {
  ...{ oneMember, inTurn, byChance, byClient, near },
  ...{ sureOnes, queueBeforeOutbox, outboxAtLast },
  ...{ movedMeanwhile, leftMeanwhile, goneMeanwhile, sentOnce },
};
