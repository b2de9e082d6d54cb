/** Retained messages over three real processes: what is acknowledged is there for whoever subscribes afterwards, anywhere. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

const retain = { qos: 1, retain: true } as const;

function at<T>(items: readonly T[], index: number): T {
  const item = items[index % items.length];
  assert.ok(item !== undefined);
  return item;
}

async function clientsOf(nodes: readonly TestNode[]): Promise<TestClient[]> {
  return await Promise.all(nodes.map((node) => node.connect({ protocolVersion: 5 })));
}

/** What a new subscriber of the node is sent, once there is as much of it. */
async function retainedAt(node: TestNode, filter: string, count: number): Promise<string[]> {
  const client = await node.connect({ protocolVersion: 5 });
  await client.subscribe(filter);
  await client.payloads(count);
  const seen = client.received.map(({ topic, payload }) => `${topic}=${payload}`);
  client.mqtt.end(true);
  return seen.sort();
}

test("whoever subscribes at any node after the PUBACK gets it: 1,000 of 1,000 tries", async (t) => {
  const nodes = await startNodes(t, { nodes: 3 });
  const publishers = await clientsOf(nodes);
  const subscribers = await clientsOf(nodes);
  const tries = 1000;
  const beside = 20;
  const attempt = async (index: number): Promise<void> => {
    const topic = `try/${index}`;
    await at(publishers, index).publish(topic, `value ${index}`, retain);
    // Of all pairs of nodes, one's own among them.
    await at(subscribers, Math.floor(index / 3)).subscribe(topic);
  };
  for (let first = 0; first < tries; first += beside) {
    await Promise.all(Array.from({ length: beside }, (_, i) => attempt(first + i)));
  }
  const received = () => subscribers.flatMap((client) => client.received);
  await until(
    "all of them",
    () => received().length >= tries || undefined,
    () => received().length,
  );
  const values = new Map(received().map(({ topic, payload }) => [topic, payload]));
  for (let index = 0; index < tries; index++) {
    assert.equal(values.get(`try/${index}`), `value ${index}`);
  }
  assert.equal(received().length, tries);
  assert.ok(received().every(({ packet }) => packet.retain));
});

test("a node that was away has what the others have; what was deleted does not come back", async (t) => {
  const nodes = await startNodes(t, { nodes: 3 });
  const [one, two, three] = nodes;
  assert.ok(one !== undefined && two !== undefined && three !== undefined);
  const [publisher] = await clientsOf([one]);
  const [other] = await clientsOf([three]);
  assert.ok(publisher !== undefined && other !== undefined);
  for (const name of ["stays", "changes", "goes"]) await other.publish(`r/${name}`, "old", retain);
  await three.kill();
  await one.sees([one, two]);
  await publisher.publish("r/changes", "new", retain);
  await publisher.publish("r/goes", "", retain);
  await publisher.publish("r/comes", "new", retain);
  await three.start();
  for (const node of nodes) await node.sees(nodes);
  const due = ["r/changes=new", "r/comes=new", "r/stays=old"];
  for (const node of nodes) assert.deepEqual(await retainedAt(node, "r/#", due.length), due);
});
