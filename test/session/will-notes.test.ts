/** What nodes know of others' wills is kept over their restarts, and for as long as somebody may have to hear it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Nodes } from "./will-nodes.js";

test("what nodes know of a dead one's wills they still know when they start again, until it has heard, with all members up", async () => {
  const nodes = new Nodes(["a", "b", "c", "d", "e"]);
  const ids = await nodes.node("a").connect(20);
  const kept = (): number => [...nodes.stored.values()].reduce((sum, { size }) => sum + size, 0);
  nodes.kill("e");
  await nodes.settle();
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), [...ids].sort());
  const { published } = nodes;
  for (const name of ["b", "c", "d"]) {
    nodes.kill(name);
    nodes.restart(name);
    await nodes.settle();
  }
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
  assert.deepEqual([...settled].sort(), [...ids].sort());
  await nodes.settle();
  assert.deepEqual(nodes.published, [], `${published.length} of earlier processes`);
  assert.ok(kept() >= 2 * ids.length);
  nodes.restart("e");
  await nodes.settle();
  assert.equal(kept(), 0);
});

test("what is known of a node's wills is not stored when that is removed, nor what came to nothing", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  const kept = (): number => [...nodes.stored.values()].reduce((sum, { size }) => sum + size, 0);
  await nodes.node("a").connect(20);
  // d hears a.
  for (const pair of ["a b", "a c"]) nodes.cuts.add(pair);
  nodes.changed();
  await nodes.settle();
  assert.deepEqual([nodes.published, kept()], [[], 0]);
  nodes.kill("a");
  await nodes.settle();
  assert.ok(kept() > 0);
  nodes.removed.add("a");
  nodes.changed();
  await nodes.settle();
  assert.equal(kept(), 0);
});

test("of a will that is taken up when its client is back already the holders have the younger one, and let go of that", async () => {
  const nodes = new Nodes(["a", "b"]);
  const a = nodes.node("a");
  await a.hold("x", 2);
  await a.hold("x", 1);
  a.due("x", 2);
  await nodes.settle();
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published, ["x"]);
});

test("who told a node that it may publish keeps that when it starts again: who hears it alone after a cut publishes nothing", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  const a = nodes.node("a");
  const ids = await a.connect(20);
  nodes.cut("d");
  for (const id of ids) a.due(id);
  await nodes.settle();
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(a.published.sort(), [...ids].sort());
  for (const name of ["a", "c"]) nodes.kill(name);
  // b knows as well; nobody hears it.
  for (const pair of ["b c", "a b"]) nodes.cuts.add(pair);
  for (const pair of ["c d", "a d"]) nodes.cuts.delete(pair);
  nodes.restart("c");
  for (let i = 0; i < 20; i++) {
    nodes.clock.advance(1000);
    await nodes.settle();
  }
  assert.deepEqual(nodes.published.sort(), [...ids].sort());
});

test("what a node has held again since it asked at its start is published when it dies, whoever was asked", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  for (const node of nodes.nodes.values()) node.delayMs = 1000;
  const ids = await nodes.node("a").connect(20);
  nodes.kill("a");
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
  assert.equal(settled.size, 0);
  for (const id of ids) await again.hold(id, 1);
  nodes.kill("a");
  nodes.clock.advance(2000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), [...ids].sort());
});
