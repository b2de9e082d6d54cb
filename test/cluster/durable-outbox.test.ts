/** Real nodes: what is due to a member that is down outlives the node where it was published. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestNode, until } from "../support/nodes.js";

const persistent = { clean: false, clientId: "away", protocolVersion: 4 } as const;

/** Two nodes, and a persistent session at the second one that has subscribed and is away. */
async function pair(
  t: Parameters<typeof startNodes>[0],
  settings: readonly string[] = [],
): Promise<{ a: TestNode; b: TestNode }> {
  const [a, b] = await startNodes(t, { nodes: 2, settings });
  assert.ok(a !== undefined && b !== undefined);
  const away = await b.connect(persistent);
  await away.subscribe("t", 1);
  await away.mqtt.endAsync();
  return { a, b };
}

async function isDown(a: TestNode, b: TestNode): Promise<void> {
  await until("the end of the other node", async () => {
    const { members } = await a.status();
    return members.find(({ name }) => name === b.name)?.state === "down" || undefined;
  });
}

test("the outbox outlives its node: all of it comes, in order, before what is new", async (t) => {
  const { a, b } = await pair(t);
  await b.kill();
  await isDown(a, b);
  const first = await a.connect({ protocolVersion: 5 });
  for (let i = 0; i < 50; i++) await first.publish("t", `${i}`);
  await a.kill();
  await a.start();
  const second = await a.connect({ protocolVersion: 5 });
  for (let i = 50; i < 60; i++) {
    const packet = await second.mqtt.publishAsync("t", `${i}`, { qos: 1 });
    // Not 0x10: the row of the member that is down is known.
    assert.notEqual(packet && "reasonCode" in packet ? packet.reasonCode : 0, 0x10);
  }
  await a.kill();
  await a.start();
  await b.start();
  await a.sees([a, b]);
  const away = await b.connect(persistent);
  const wanted = Array.from({ length: 60 }, (_, i) => `${i}`);
  assert.deepEqual(await away.payloads(60), wanted);
  const waiting = (): Promise<number> => a.metric(`peer.${b.name}.unaccepted`);
  await until("an empty outbox", async () => ((await waiting()) === 0 ? true : undefined), waiting);
});

test("nothing acknowledged is lost when the origin is killed in the midst of it", async (t) => {
  const { a, b } = await pair(t);
  await b.kill();
  await isDown(a, b);
  const client = await a.connect();
  let acknowledged = -1;
  await new Promise<void>((resolve) => {
    for (let i = 0; i < 3000; i++) {
      client.mqtt.publish("t", `${i}`, { qos: 1 }, (error) => {
        if (error) return;
        acknowledged = i;
        if (i === 1000) void a.kill().then(resolve);
      });
    }
  });
  await a.start();
  await b.start();
  await a.sees([a, b]);
  const away = await b.connect(persistent);
  const payloads = await away.payloads(acknowledged + 1);
  assert.deepEqual(
    payloads.slice(0, acknowledged + 1),
    Array.from({ length: acknowledged + 1 }, (_, i) => `${i}`),
  );
});

test("limits.outbox_messages: refused to the publisher while nobody has it, and taken again when the peer is back", async (t) => {
  const { a, b } = await pair(t, ["limits.outbox_messages=20", "store.stall_timeout=2s"]);
  await b.kill();
  await isDown(a, b);
  const client = await a.connect({ protocolVersion: 5 });
  const local = await a.connect({ protocolVersion: 5 });
  await local.subscribe("t", 1);
  for (let i = 0; i < 20; i++) await client.publish("t", `${i}`, { qos: i % 2 === 0 ? 1 : 2 });
  for (const qos of [1, 2] as const) {
    await assert.rejects(client.publish("t", "too many", { qos }), { code: 0x97 });
  }
  // What is due to nobody there is not affected.
  await local.subscribe("u", 1);
  await client.publish("u", "taken");
  const old = await a.connect({ protocolVersion: 4 });
  let acknowledged = false;
  old.mqtt.publish("t", "too many", { qos: 1 }, (error) => {
    acknowledged = error === undefined || error === null;
  });
  await old.closed();
  assert.equal(acknowledged, false);
  assert.equal(await a.metric("net.publishes_refused"), 3);
  assert.equal(await a.metric("net.closed_stalled"), 1);
  await b.start();
  await a.sees([a, b]);
  const wanted = Array.from({ length: 20 }, (_, i) => `${i}`);
  const away = await b.connect(persistent);
  assert.deepEqual(await away.payloads(20), wanted);
  await client.publish("t", "again");
  assert.deepEqual(await away.payloads(21), [...wanted, "again"]);
  assert.deepEqual(await local.payloads(22), [...wanted, "taken", "again"]);
});
