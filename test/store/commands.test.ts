/** The store commands on a real node: what is stored, whether it is whole, and a backup that a node starts on. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { StoreControl, StoreStats } from "../../src/admin/parts.js";
import { startNodes, TestNode } from "../support/nodes.js";

type Verified = Awaited<ReturnType<StoreControl["verify"]>>;

const settings = ["limits.retained_messages=10000"];

async function retain(node: TestNode, count: number, payload: string): Promise<void> {
  const client = await node.connect();
  const all = Array.from({ length: count }, (_, index) =>
    client.publish(`stored/${index}`, payload, { qos: 1, retain: true }),
  );
  await Promise.all(all);
}

test("stats, verify and compact of a running node", async (t) => {
  const [node] = await startNodes(t, { nodes: 1, settings });
  assert.ok(node !== undefined);
  await retain(node, 2000, "x".repeat(500));
  const stats = await node.ctl<StoreStats>("store stats");
  assert.equal(stats.kind, "lmdb");
  assert.equal(stats.alarm, null);
  const records = stats.counters["store.lmdb.records"] ?? 0;
  assert.ok(records >= 2000, `${records}`);
  const verified = await node.ctl<Verified>("store verify");
  assert.equal(verified.wrong, 0, JSON.stringify(verified.damaged));
  assert.ok(verified.records >= 2000 && verified.partitions > 1);
  await retain(node, 2000, "");
  const { before, after } = await node.ctl<{ before: number; after: number }>("store compact");
  assert.ok(after <= before, `${before} ${after}`);
  assert.equal((await node.ctl<Verified>("store verify")).wrong, 0);
  await retain(node, 1, "after it");
  assert.equal(await node.metric("store.lmdb.failures"), 0);
  assert.equal(await node.metric("store.stalled"), 0);
});

test("a node starts on a backup, and has everything", async (t) => {
  const [node] = await startNodes(t, { nodes: 1, settings });
  assert.ok(node !== undefined);
  await retain(node, 500, "kept");
  const folder = mkdtempSync(join(tmpdir(), "trellis-backup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  mkdirSync(join(folder, "data"));
  const directory = join(folder, "data", node.name);
  const backup = await node.ctl<{ records: number }>("store backup", { directory });
  assert.ok(backup.records >= 500);
  await assert.rejects(node.ctl("store backup", { directory }), /is not empty/);
  const nowhere = { directory: "/nowhere/at/all" };
  await assert.rejects(node.ctl("store backup", nowhere), /cannot back up to \/nowhere\/at\/all/);
  await retain(node, 500, "later");
  await node.kill();
  const restored = new TestNode(t, node.name, folder, settings, "k".repeat(32));
  await restored.start();
  const client = await restored.connect();
  await client.subscribe("stored/#");
  assert.deepEqual(new Set(await client.payloads(500)), new Set(["kept"]));
  assert.equal((await restored.ctl<Verified>("store verify")).wrong, 0);
  await restored.kill();
});

test("where nothing is stored the commands say so", async (t) => {
  const [node] = await startNodes(t, { nodes: 1, settings: ["store.kind=memory"] });
  assert.ok(node !== undefined);
  for (const command of ["store stats", "store verify", "store compact"]) {
    await assert.rejects(node.ctl(command), /store\.kind: memory/);
  }
});
