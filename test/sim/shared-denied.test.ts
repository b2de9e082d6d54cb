/** Share groups with members who may not have a message: another one gets it, wherever in the cluster. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SharedStrategy } from "../../src/routing/shared.js";
import { type ClusterNode, startCluster } from "./cluster-node.js";
import type { FakeSubscriber } from "./fakes.js";
import { World } from "./world/world.js";

const key = "$share/g/t";
const strategies = ["random", "round_robin", "hash_client", "local_first"] as const;
const options = { qos: 2, noLocal: false, retainAsPublished: true, subscriptionId: 0 } as const;

interface Denied {
  readonly world: World;
  readonly nodes: readonly ClusterNode[];
  /** Two of each node, none of whom may have anything. */
  readonly members: readonly FakeSubscriber[];
}

async function denied(seed: number, strategy: SharedStrategy): Promise<Denied> {
  const world = new World(seed);
  const nodes = await startCluster(world, 3, { strategy });
  const members: FakeSubscriber[] = [];
  for (const node of nodes) {
    for (const clientId of ["m1", "m2"]) members.push(await node.subscribe(clientId, key, 2));
  }
  for (const member of members) member.allowed = false;
  return { world, nodes, members };
}

/** Each node publishes `each` messages, of every QoS in turn. */
async function publishAll({ world, nodes }: Denied, each: number): Promise<string[]> {
  const sent: string[] = [];
  for (let i = 0; i < each; i++) {
    for (const node of nodes) {
      node.publish("t", `${node.name} ${i}`, i % 3 === 0 ? 0 : i % 3 === 1 ? 1 : 2);
      sent.push(`${node.name} ${i}`);
    }
  }
  await world.run(1000);
  return sent.sort();
}

const sum = (nodes: readonly ClusterNode[], counter: "deniedMember" | "deniedAll"): number =>
  nodes.reduce((total, { router }) => total + router.shared.counters[counter], 0);

for (const strategy of strategies) {
  test(`the one member who may have them gets all, each once: ${strategy}`, async () => {
    for (const chosen of [0, 1, 2, 3, 4, 5]) {
      const group = await denied(chosen + 1, strategy);
      const { members, nodes } = group;
      const allowed = members[chosen];
      assert.ok(allowed !== undefined);
      allowed.allowed = true;
      const sent = await publishAll(group, 12);
      assert.deepEqual([...allowed.payloads].sort(), sent);
      for (const other of members) if (other !== allowed) assert.deepEqual(other.payloads, []);
      assert.equal(sum(nodes, "deniedAll"), 0);
      for (const { complaints } of nodes) assert.deepEqual(complaints, []);
    }
  });
}

test("nobody may have them: dropped and counted, once each, and the publisher is answered", async () => {
  const group = await denied(1, "random");
  const { members, nodes, world } = group;
  const sent = await publishAll(group, 9);
  for (const { payloads } of members) assert.deepEqual(payloads, []);
  assert.equal(sum(nodes, "deniedAll"), sent.length);
  const message = nodes[0]?.publish("t", "last", 1);
  await world.run(1000);
  assert.equal(message?.pending, 0);
});

test("when nobody who is connected may, one who waits gets it, but not QoS 0", async () => {
  const group = await denied(2, "random");
  const waiting = group.nodes[1]?.subscriber("away");
  assert.ok(waiting !== undefined);
  group.nodes[1]?.router.subscribe(waiting, key, options, true, false);
  await group.world.run(1000);
  const sent = await publishAll(group, 9);
  const numbered = sent.filter((payload) => Number(payload.split(" ")[1]) % 3 !== 0);
  assert.deepEqual([...waiting.payloads].sort(), numbered);
  assert.equal(sum(group.nodes, "deniedAll"), sent.length - numbered.length);
});

test("those who may have them share them", async () => {
  const group = await denied(3, "random");
  const allowed = [0, 3, 5].map((i) => group.members[i]);
  for (const member of allowed) if (member !== undefined) member.allowed = true;
  const sent = await publishAll(group, 200);
  const got = allowed.flatMap((member) => member?.payloads ?? []);
  assert.deepEqual(got.sort(), sent);
  for (const member of allowed) assert.ok((member?.payloads.length ?? 0) > sent.length / 8);
});

test("a node that passes them on is killed: what its publisher was answered for is not lost", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const group = await denied(seed, "random");
    const { world, nodes, members } = group;
    const [publisher, passing] = nodes;
    const allowed = members[4];
    assert.ok(publisher !== undefined && passing !== undefined && allowed !== undefined);
    allowed.allowed = true;
    // All are answered by now, or wait for an answer of the node that dies.
    const sent = Array.from({ length: 30 }, (_, i) => publisher.publish("t", `${i}`, 1));
    await world.run(seed);
    passing.crash();
    await world.until(
      () => sent.every(({ pending }) => pending === 0),
      10_000,
      () => `answers; ${sent.filter(({ pending }) => pending > 0).length} are missing`,
    );
    const got = new Set(allowed.payloads);
    assert.deepEqual(
      sent.map((_, i) => `${i}`).filter((payload) => !got.has(payload)),
      [],
      `seed ${seed}`,
    );
  }
});

test("the links between nodes break all the time: what is passed on arrives, and everybody is answered", async () => {
  const group = await denied(11, "random");
  const { world, nodes, members } = group;
  for (const member of [members[1], members[4]]) if (member !== undefined) member.allowed = true;
  const sent: { readonly pending: number }[] = [];
  for (let i = 0; i < 60; i++) {
    for (const node of nodes) sent.push(node.publish("t", `${node.name} ${i}`, 1));
    await world.run(3);
    const [one, two] = [nodes[i % 3]?.place, nodes[(i + 1) % 3]?.place];
    if (i % 4 === 0 && one !== undefined && two !== undefined) world.breakPipes(one, two);
  }
  await world.until(
    () => sent.every(({ pending }) => pending === 0),
    20_000,
    () => `answers; ${sent.filter(({ pending }) => pending > 0).length} are missing`,
  );
  const got = new Set(members.flatMap(({ payloads }) => payloads));
  assert.equal(got.size, sent.length);
});
