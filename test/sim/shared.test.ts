/** Share groups over three nodes: the real cluster and router in a deterministic world. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Qos } from "../../src/protocol/publish.js";
import type { Message } from "../../src/routing/message.js";
import type { SharedStrategy } from "../../src/routing/shared.js";
import { allUp, type ClusterNode, startCluster } from "./cluster-node.js";
import type { FakeSubscriber } from "./fakes.js";
import { World } from "./world/world.js";

const seeds = Array.from({ length: 6 }, (_, i) => i + 1);
const key = "$share/g/t/+";

interface Three {
  readonly world: World;
  readonly a: ClusterNode;
  readonly b: ClusterNode;
  readonly c: ClusterNode;
}

async function three(seed: number, strategy: SharedStrategy = "random"): Promise<Three> {
  const world = new World(seed);
  const [a, b, c] = await startCluster(world, 3, { strategy });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return { world, a, b, c };
}

/** Changes a member without waiting: it loses its connection (`online` false) or gets one. */
function setOnline(
  node: ClusterNode,
  clientId: string,
  online: boolean,
  filter = key,
): FakeSubscriber {
  const subscriber = node.subscriber(clientId);
  const options = { qos: 2, noLocal: false, retainAsPublished: true, subscriptionId: 0 } as const;
  node.router.subscribe(subscriber, filter, options, true, online);
  return subscriber;
}

const payloads = (...subscribers: FakeSubscriber[]): string[] =>
  subscribers.flatMap((subscriber) => subscriber.payloads);

/** Asserts that these are all the messages `0` … `count - 1`, each once. */
function eachOnce(got: readonly string[], count: number): void {
  const numbers = got.map(Number).sort((x, y) => x - y);
  assert.deepEqual(
    numbers,
    Array.from({ length: count }, (_, i) => i),
  );
}

for (const strategy of ["random", "round_robin"] as const) {
  test(`eight members on three nodes get their shares, each message once: ${strategy}`, async () => {
    const { world, a, b, c } = await three(1, strategy);
    const members: FakeSubscriber[] = [];
    for (const [index, node] of [a, b, c, a, b, c, a, b].entries()) {
      members.push(await node.subscribe(`m${index}`, key, index % 2 === 0 ? 1 : 2));
    }
    const count = 16_000;
    for (let i = 0; i < count; i++) {
      const node = [a, b, c][i % 3] ?? a;
      node.publish(`t/${i % 7}`, `${i}`, 1);
      if (i % 500 === 499) await world.run(20);
    }
    await world.run(1000);
    eachOnce(payloads(...members), count);
    for (const { received } of members) {
      const share = received.length / (count / members.length);
      assert.ok(share > 0.9 && share < 1.1, `${received.length}`);
    }
    for (const node of [a, b, c]) {
      assert.deepEqual(node.complaints, []);
      assert.equal(node.router.shared.counters.noMember, 0);
    }
  });
}

test("local first stays at the publisher's node, hash of the client with one member", async () => {
  const local = await three(2, "local_first");
  for (const node of [local.a, local.b, local.c]) await node.subscribe("m", key);
  for (let i = 0; i < 30; i++) local.b.publish("t/1", `${i}`);
  assert.equal(local.b.subscriber("m").received.length, 30);
  const hash = await three(2, "hash_client");
  for (const node of [hash.a, hash.b, hash.c]) await node.subscribe("m", key);
  for (let i = 0; i < 30; i++) hash.b.publish("t/1", `${i}`);
  await hash.world.run(500);
  const counts = [hash.a, hash.b, hash.c].map((node) => node.subscriber("m").received.length);
  assert.deepEqual(counts.sort(), [0, 0, 30]);
});

test("a peer gets one forward for its subscribers and all groups that chose it", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    const groups = ["$share/g/t/+", "$share/h/t/+", "$share/g/t/#", "$share/i/t/1"];
    for (const group of groups) await b.subscribe("member", group);
    const own = await b.subscribe("own", "t/#");
    await c.subscribe("member", "$share/g/t/+");
    const before = a.forwardsTo(b);
    for (let i = 0; i < 20; i++) a.publish("t/1", `${i}`);
    await world.run(500);
    assert.equal(a.forwardsTo(b) - before, 20);
    eachOnce(own.payloads, 20);
    const both = payloads(b.subscriber("member"), c.subscriber("member"));
    assert.equal(both.length, 20 * groups.length);
    const { received } = c.subscriber("member");
    assert.ok(received.length > 0 && received.length < 20);
    assert.equal(a.forwardsTo(c), received.length);
  }
});

test("no forward goes to a node for a group that did not choose it", async () => {
  const { world, a, b, c } = await three(3, "local_first");
  await a.subscribe("m", key);
  await b.subscribe("m", key);
  for (let i = 0; i < 10; i++) a.publish("t/1", `${i}`);
  await world.run(200);
  assert.deepEqual([a.forwardsTo(b), a.forwardsTo(c)], [0, 0]);
  eachOnce(a.subscriber("m").payloads, 10);
});

for (const qos of [1, 2] as const) {
  test(`a member's node is killed: what it had not accepted goes to others, QoS ${qos}`, async () => {
    for (const seed of seeds) await killed(seed, qos);
  });
}

async function killed(seed: number, qos: Qos): Promise<void> {
  const { world, a, b, c } = await three(seed);
  const taken = [await a.subscribe("m", key, 2), await b.subscribe("m", key, 2)];
  taken.push(await c.subscribe("m", key, 2));
  const count = 400;
  const sent: Message[] = [];
  for (let i = 0; i < count; i++) {
    if (i === 150) c.crash();
    sent.push(a.publish("t/1", `${i}`, qos));
    if (i % 10 === 0) await world.run(world.dice.between(0, 3));
  }
  await world.until(() => sent.every(({ pending }) => pending === 0), 10_000, "every PUBACK");
  await world.run(1000);
  const got = payloads(...taken);
  const times = new Map<string, number>();
  for (const payload of got) times.set(payload, (times.get(payload) ?? 0) + 1);
  const twice = [...times].filter(([, n]) => n > 1).map(([payload]) => payload);
  // Only what the killed node had taken and not acknowledged may come twice, and with QoS 2 nothing.
  const atC = new Set(taken[2]?.payloads);
  for (const payload of twice) assert.ok(qos === 1 && atC.has(payload), `${payload} came twice`);
  const { lostWithNode, rerouted } = a.router.shared.counters;
  if (qos === 1) assert.equal(times.size, count, `seed ${seed}`);
  // One that went out to the killed node with QoS 2 cannot be sent to another client.
  else assert.ok(times.size >= count - lostWithNode, `${count - times.size} of ${lostWithNode}`);
  assert.ok(rerouted + lostWithNode > 0);
}

test("the last member of a node goes while messages are on their way: another node gets them", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    const members = [await b.subscribe("m", key, 2), await c.subscribe("m", key, 2)];
    const sent = Array.from({ length: 50 }, (_, i) => a.publish("t/1", `${i}`, 2));
    b.router.unsubscribe(b.subscriber("m"), key);
    await world.until(() => sent.every(({ pending }) => pending === 0), 2000, "PUBCOMP");
    eachOnce(payloads(...members), 50);
    assert.ok(b.router.shared.counters.passedOn > 0);
  }
});

test("members that are away get messages only while nobody is connected anywhere", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    const away = [setOnline(b, "away", false), setOnline(c, "away", false)];
    await world.run(200);
    for (let i = 0; i < 40; i++) a.publish("t/1", `${i}`, 1);
    assert.equal(a.publish("t/1", "nobody waits for it", 0).matched, 1);
    await world.run(200);
    eachOnce(payloads(...away), 40);
    for (const { received } of away) assert.ok(received.length > 5, `${received.length}`);
    const here = await c.subscribe("here", key, 1);
    for (let i = 0; i < 40; i++) a.publish("t/1", `${i}`, 1);
    await world.run(200);
    eachOnce(here.payloads, 40);
    assert.equal(payloads(...away).length, 40);
  }
});

test("only members of a node that is down have queues: the message waits for it, QoS 0 does not", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed);
    const member = setOnline(c, "m", true);
    await world.run(200);
    world.partition([a.place, b.place], [c.place]);
    await world.until(() => a.state(c) === "down" && b.state(c) === "down", 20_000, "down");
    const sent = Array.from({ length: 10 }, (_, i) => a.publish("t/1", `${i}`, 1));
    a.publish("t/1", "not kept", 0);
    const open = (): number => sent.filter(({ pending }) => pending > 0).length;
    await world.until(() => open() === 0, 1000, "the outbox is committed");
    assert.equal(a.router.shared.counters.noMember, 1);
    world.heal();
    await allUp(world, [a, b, c], 60_000);
    await world.until(() => member.received.length >= 10, 5000, "the outbox drains");
    eachOnce(member.payloads, 10);
  }
});

test("parted nodes serve their own members, and after it all share again", async () => {
  for (const seed of seeds) {
    const { world, a, b, c } = await three(seed, "round_robin");
    const members = [await a.subscribe("m", key, 1), await c.subscribe("m", key, 1)];
    world.partition([a.place, b.place], [c.place]);
    const sent: Message[] = [];
    for (let i = 0; i < 100; i++) {
      sent.push((i % 2 === 0 ? b : c).publish("t/1", `${i}`, 1));
      await world.run(100);
    }
    await world.until(() => sent.every(({ pending }) => pending === 0), 20_000, "PUBACKs");
    world.heal();
    await allUp(world, [a, b, c], 60_000);
    await world.run(1000);
    assert.equal(new Set(payloads(...members)).size, 100);
    const before = members.map(({ received }) => received.length);
    for (let i = 0; i < 20; i++) b.publish("t/1", `after ${i}`, 1);
    await world.run(500);
    assert.deepEqual(
      members.map(({ received }, i) => received.length - (before[i] ?? 0)),
      [10, 10],
    );
  }
});

test("a member that does not accept yet delays PUBACK, wherever it is", async () => {
  const { world, a, b } = await three(4);
  const slow = await b.subscribe("slow", key, 1);
  slow.accepting = false;
  const sent = a.publish("t/1", "x", 1);
  await world.run(1000);
  assert.equal(sent.pending, 1);
  slow.acceptAll();
  await world.until(() => a.accepted.includes(sent), 1000, "PUBACK");
});

test("copies of groups' rows are right after many changes", async () => {
  const { world, a, b, c } = await three(5);
  const nodes = [a, b, c];
  for (let i = 0; i < 300; i++) {
    const node = world.dice.pick(nodes);
    const filter = world.dice.pick([key, "$share/h/t/1", "t/1"]);
    const clientId = `m${world.dice.integer(5)}`;
    if (world.dice.chance(0.4)) node.router.unsubscribe(node.subscriber(clientId), filter);
    else setOnline(node, clientId, world.dice.chance(0.6), filter);
    if (i % 5 === 0) await world.run(world.dice.between(0, 400));
  }
  await world.run(2000);
  for (const one of nodes) {
    for (const other of nodes) {
      if (one === other) continue;
      const peer = one.cluster.peer(other.name);
      assert.ok(peer !== undefined);
      const held = [...one.router.index.peerRows(peer.index)].sort();
      assert.deepEqual(held, [...other.cluster.table.entries()].sort());
      assert.equal(peer.counters.digestMismatches, 0);
    }
  }
});
