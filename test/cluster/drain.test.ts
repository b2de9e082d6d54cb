/** Real nodes: one that is drained, or leaves, takes nothing with it that was acknowledged. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DrainStatus } from "../../src/admin/parts.js";
import { startNodes, type TestNode, until } from "../support/nodes.js";

const persistent = (clientId: string) => ({
  ...({ clientId, protocolVersion: 5, clean: false } as const),
  properties: { sessionExpiryInterval: 3600 },
});

/** Sessions at a node, of which some are away with a message, one is connected, and a client without a session. */
async function populate(node: TestNode, away: number) {
  for (let i = 0; i < away; i++) {
    const client = await node.connect(persistent(`away${i}`));
    await client.subscribe(`t/${i}`, 2);
    await client.mqtt.endAsync();
  }
  const publisher = await node.connect({ protocolVersion: 5 });
  for (let i = 0; i < away; i++) await publisher.publish(`t/${i}`, `for ${i}`, { qos: 2 });
  const online = await node.connect(persistent("online"));
  await online.subscribe("online", 1);
  return { publisher, online };
}

async function checkAway(node: TestNode, away: number): Promise<void> {
  for (let i = 0; i < away; i++) {
    const client = await node.connect(persistent(`away${i}`));
    assert.deepEqual(await client.payloads(1), [`for ${i}`]);
  }
}

const settings = ["drain.server_reference=elsewhere:1883"];

test("a node that leaves moves its sessions first, then closes its clients with 0x9D", async (t) => {
  const [a, b] = await startNodes(t, { nodes: 2, settings });
  assert.ok(a !== undefined && b !== undefined);
  const { publisher, online } = await populate(a, 3);
  let reference: string | undefined;
  publisher.mqtt.on("disconnect", ({ properties }) => {
    reference = properties?.serverReference;
  });
  await a.ctl("leave_cluster");
  await publisher.closed();
  await online.closed();
  assert.deepEqual([publisher.disconnectReason, online.disconnectReason], [0x9d, 0x9d]);
  assert.equal(reference, "elsewhere:1883");
  await checkAway(b, 3);
  const back = await b.connect(persistent("online"));
  await (await b.connect()).publish("online", "still subscribed");
  assert.deepEqual(await back.payloads(1), ["still subscribed"]);
  assert.equal((await a.ctl<{ total: number }>("sessions list")).total, 0);
  // It is in service again, alone.
  await a.connect();
});

test("a drained node refuses clients, gives all away, and is in service again when that is undone", async (t) => {
  const [a, b] = await startNodes(t, { nodes: 2, settings });
  assert.ok(a !== undefined && b !== undefined);
  const { online } = await populate(a, 3);
  await a.ctl("drain start");
  await online.closed();
  assert.equal(online.disconnectReason, 0x9c);
  await assert.rejects(a.connect({ protocolVersion: 5 }), /Use another server|0x9c|156|closed/i);
  const status = (): Promise<DrainStatus> => a.ctl<DrainStatus>("drain status");
  await until(
    "the end of the drain",
    async () => ((await status()).state === "done" ? true : undefined),
    async () => JSON.stringify(await status()),
  );
  const { sessions, clients, moved } = await status();
  assert.deepEqual([sessions, clients, moved], [0, 0, 4]);
  await checkAway(b, 3);
  await assert.rejects(b.ctl("sessions move", { client: "online", node: a.name }), /being drained/);
  await a.ctl("drain undo");
  await a.connect();
  // That it takes sessions again comes with its heartbeats.
  const plan = () => b.ctl<{ gives: number }>("rebalance plan");
  await until("the plan", async () => ((await plan()).gives > 0 ? true : undefined));
  const stays = await b.connect(persistent("online"));
  await b.ctl("rebalance start");
  await until("the share of each", async () =>
    (await a.ctl<{ total: number }>("sessions list")).total >= 2 ? true : undefined,
  );
  await assert.rejects(a.ctl("drain undo"), /not being drained/);
  // Wherever its session is now, its client has not noticed.
  await (await b.connect()).publish("online", "wherever");
  assert.deepEqual(await stays.payloads(1), ["wherever"]);
});

test("a drained node also closes clients whose sessions are at other nodes, and their wills wait", async (t) => {
  const more = ["session.placement=stay", "drain.will_grace=2s"];
  const [a, b] = await startNodes(t, { nodes: 2, settings: [...settings, ...more] });
  assert.ok(a !== undefined && b !== undefined);
  const will = { topic: "will/far", payload: Buffer.from("gone"), qos: 1, retain: false } as const;
  await (await b.connect(persistent("far"))).mqtt.endAsync();
  const far = await a.connect({ ...persistent("far"), will });
  const watcher = await b.connect();
  await watcher.subscribe("will/#");
  await a.ctl("drain start");
  await far.closed();
  assert.equal(far.disconnectReason, 0x9c);
  const closedMs = performance.now();
  await watcher.payloads(1);
  assert.ok(performance.now() - closedMs > 1_000, "it waited");
});

test("a node is drained while another is down, which has the sessions' messages when it is back; it leaves after that", async (t) => {
  const [a, b, c] = await startNodes(t, { nodes: 3, settings });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  await populate(a, 2);
  await c.kill();
  for (const node of [a, b]) {
    await until(`${node.name} missing it`, async () => {
      const { members } = await node.status();
      return members.some(({ name, state }) => name === c.name && state === "down") || undefined;
    });
  }
  await assert.rejects(a.ctl("leave_cluster"), new RegExp(`${c.name} may have messages`));
  await a.ctl("drain start");
  const stubs = (): Promise<number> => a.metric("moves.under_way.stubs");
  await until("the end of the drain", async () => {
    const { state, sessions } = await a.ctl<DrainStatus>("drain status");
    return state === "done" && sessions === 0 ? true : undefined;
  });
  assert.equal(await stubs(), 3);
  await assert.rejects(a.ctl("leave_cluster"), new RegExp(`${c.name} may have messages`));
  await c.start();
  await (await c.connect()).publish("online", "from the one that was down");
  assert.deepEqual(await (await b.connect(persistent("online"))).payloads(1), [
    "from the one that was down",
  ]);
  await checkAway(b, 2);
  await until("nothing left to do", async () => ((await stubs()) === 0 ? true : undefined));
  await a.ctl("leave_cluster");
});
