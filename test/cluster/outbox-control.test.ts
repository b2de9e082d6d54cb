/** Real nodes: what waits for a member that is down is shown, given to another one, or given up; and one that lost its data. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import type { OutboxInfo, WaitingInfo } from "../../src/admin/parts.js";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

interface Listing {
  readonly items: readonly OutboxInfo[];
}
interface Waiting {
  readonly total: number;
  readonly items: readonly WaitingInfo[];
}

const away = { clean: false, clientId: "away", protocolVersion: 4 } as const;

async function box(node: TestNode, of: TestNode): Promise<OutboxInfo> {
  const { items } = await node.ctl<Listing>("outbox list");
  const found = items.find((one) => one.node === of.name);
  assert.ok(found !== undefined);
  return found;
}

async function isDown(node: TestNode, other: TestNode): Promise<void> {
  await until("the end of the other node", async () =>
    (await box(node, other)).state === "down" ? true : undefined,
  );
}

/** Three nodes; a session at c that is away has subscribed to `t/#`, and c is down. */
async function scene(
  t: Parameters<typeof startNodes>[0],
): Promise<{ a: TestNode; b: TestNode; c: TestNode; publisher: TestClient }> {
  const [a, b, c] = await startNodes(t, { nodes: 3, settings: ["cluster.redial_max=500ms"] });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  const subscriber = await c.connect(away);
  await subscriber.subscribe("t/#", 2);
  await subscriber.mqtt.endAsync();
  assert.deepEqual(
    { ...(await box(a, c)), state: "" },
    { node: c.name, state: "", messages: 0, bytes: 0, oldest: null, drains: true, lostData: false },
  );
  await assert.rejects(a.ctl("outbox discard", { node: c.name }), /is up: .* is on its way/);
  await c.kill();
  await Promise.all([isDown(a, c), isDown(b, c)]);
  const publisher = await a.connect({ protocolVersion: 5, clientId: "p" });
  return { a, b, c, publisher };
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

/** A message at each number, at QoS 1 and 2 in turn. */
const qosOf = (i: number): 1 | 2 => (i % 2 === 0 ? 2 : 1);

async function publishTen(publisher: TestClient): Promise<void> {
  for (let i = 1; i <= 10; i++) await publisher.publish(`t/${i}`, `${i}`, { qos: qosOf(i) });
}

test("an outbox is listed, and shown page by page, also after a restart", async (t) => {
  const { a, c, publisher } = await scene(t);
  await publishTen(publisher);
  const info = await box(a, c);
  assert.deepEqual([info.messages, info.drains, info.lostData], [10, false, false]);
  assert.ok(info.bytes > 10 && info.oldest !== null);
  const first = await a.ctl<Waiting>("outbox show", { node: c.name, limit: 6 });
  assert.equal(first.total, 10);
  const after = first.items.at(-1)?.number;
  const rest = await a.ctl<Waiting>("outbox show", { node: c.name, after });
  assert.deepEqual(
    [...first.items, ...rest.items].map((one) => [one.topic, one.qos, one.publisher, one.bytes]),
    numbers(1, 10).map((text) => [`t/${text}`, qosOf(Number(text)), "p", text.length]),
  );
  await assert.rejects(a.ctl("outbox show", { node: "x@h" }), /no other member/);
  await assert.rejects(a.ctl("outbox show", { node: c.name, after: "x" }), /no number/);
  await assert.rejects(a.ctl("outbox redirect", { node: c.name, to: c.name }), /cannot go/);
  await assert.rejects(a.ctl("outbox redirect", { node: c.name, to: "x@h" }), /no member that is/);
  await a.kill();
  await a.start();
  await isDown(a, c);
  assert.deepEqual([(await box(a, c)).messages, (await box(a, c)).oldest], [10, info.oldest]);
});

test("what waits is given to sessions elsewhere, or given up, and does not come any more", async (t) => {
  const { a, b, c, publisher } = await scene(t);
  await publishTen(publisher);
  const other = await b.connect();
  await other.publish("t/11", "11");
  // The client has begun another session, at b: it gets what waited for the first one, in order.
  const again = await b.connect({ ...away, clean: true });
  await again.subscribe("t/#", 2);
  assert.deepEqual(await a.ctl("outbox redirect", { node: c.name, to: b.name }), {
    ...{ to: b.name, redirected: 10 },
  });
  const got = await again.payloads(10);
  for (const qos of [1, 2]) {
    const isOf = (text: string): boolean => qosOf(Number(text)) === qos;
    assert.deepEqual(got.filter(isOf), numbers(1, 10).filter(isOf));
  }
  assert.equal((await box(a, c)).messages, 0);
  assert.equal(await a.metric(`peer.${c.name}.outbox_redirected`), 10);

  // To sessions of the node itself.
  const here = await b.ctl("outbox redirect", { node: c.name, to: b.name });
  assert.deepEqual(here, { to: b.name, redirected: 1 });
  assert.equal((await again.payloads(11)).at(-1), "11");

  const late = await a.connect();
  await late.publish("t/12", "12");
  assert.deepEqual(await a.ctl("outbox discard", { node: c.name }), { node: c.name, discarded: 1 });
  assert.equal(await a.metric(`peer.${c.name}.outbox_discarded`), 1);
  await c.start();
  await a.sees([a, b, c]);
  await late.publish("t/13", "13");
  await again.payloads(13);
  assert.deepEqual(
    again.received.slice(11).map(({ payload }) => payload),
    ["12", "13"],
  );
  // The first session has ended: the client began the other one with Clean Start.
  const left = async () => (await c.ctl<{ items: unknown[] }>("sessions list")).items.length;
  await until("its end", async () => ((await left()) === 0 ? true : undefined));
});

test("a node that lost its data is refused with an alarm, and what waits for it is held", async (t) => {
  const { a, b, c, publisher } = await scene(t);
  for (let i = 1; i <= 3; i++) await publisher.publish("t", `${i}`);
  rmSync(c.dataDirectory, { recursive: true });
  await c.start();
  await until("an alarm", async () => ((await a.status()).alarms?.length === 1 ? true : undefined));
  const [alarm = ""] = (await a.status()).alarms ?? [];
  assert.match(alarm, /^n3@127\.0\.0\.1 runs with another data directory .* 3 messages wait here/);
  assert.deepEqual([(await box(a, c)).lostData, (await box(a, c)).messages], [true, 3]);
  await assert.rejects(
    c.ctl("join_cluster", { node: `${a.name}:${a.linkPort}` }),
    /the name n3@127\.0\.0\.1 is already taken/,
  );
  assert.deepEqual(await a.ctl("outbox discard", { node: c.name }), { node: c.name, discarded: 3 });
  await a.ctl("remove_from_cluster", { node: c.name });
  assert.equal((await a.status()).alarms, undefined);
  await c.ctl("join_cluster", { node: `${a.name}:${a.linkPort}` });
  await a.sees([a, b, c]);
});
