/** Holders of wills at several nodes, without the nodes: who publishes what, and that nobody else does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Nodes } from "./will-nodes.js";

test("wills of a dead node are published once each, by their homes", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(30);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
  assert.ok(nodes.node("b").published.length > 0 && nodes.node("c").published.length > 0);
  // The new process asks before it does anything about what its store holds.
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
  assert.deepEqual([...settled].sort(), ids);
});

test("a node that is back before anybody noticed has its wills to itself", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(10);
  for (const name of ["b", "c"]) nodes.node(name).delayMs = 60_000;
  nodes.kill("a");
  await nodes.settle();
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
  assert.deepEqual([...settled], []);
  nodes.clock.advance(120_000);
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
});

test("what its own node publishes, or drops, nobody else does", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  const ids = await a.connect(10);
  for (const id of ids.slice(0, 5)) a.due(id);
  for (const id of ids.slice(5)) a.holders.release(id, 1);
  await nodes.settle();
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.slice(0, 5));
  assert.equal(nodes.node("b").holders.size + nodes.node("c").holders.size, 0);
});

test("a silent node's wills are the larger side's; it waits with those that are due, and closes their clients", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  const ids = await a.connect(20);
  const b = await nodes.node("b").connect(5);
  nodes.cut("a");
  a.due(ids[0] ?? "");
  await nodes.settle();
  assert.deepEqual(a.published, []);
  assert.deepEqual(nodes.published.sort(), ids.sort());
  nodes.heal();
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
  assert.deepEqual([...new Set(a.closed)].sort(), ids);
  // Those of the larger side were not touched.
  assert.ok(b.every((id) => !nodes.published.includes(id)));
});

for (const isKept of [false, true]) {
  const what = isKept ? "has" : "has not";
  test(`what a holder asks the new process of the owner for, as that ${what} it in its store`, async () => {
    const nodes = new Nodes(["a", "b", "c", "d"]);
    const ids = await nodes.node("a").connect(20);
    nodes.kill("b");
    nodes.cut("d");
    if (!isKept) for (const id of ids) nodes.node("a").due(id);
    await nodes.settle();
    nodes.clock.advance(1000);
    await nodes.settle();
    nodes.kill("a");
    await nodes.settle();
    assert.equal(nodes.published.length, isKept ? 0 : 20);
    // c, which knows what a had done, is not heard by d yet.
    for (const pair of ["a d", "b d"]) nodes.cuts.delete(pair);
    nodes.restart("a", isKept ? [] : ids);
    await nodes.settle();
    assert.deepEqual(nodes.published, []);
    // It answers when it has been there for a while.
    nodes.clock.advance(5_000);
    await nodes.settle();
    assert.deepEqual(nodes.published.sort(), isKept ? ids.sort() : []);
  });
}

test("of two nodes that do not hear each other neither is the larger here: both wait", async () => {
  const nodes = new Nodes(["a", "b"]);
  const ids = await nodes.node("a").connect(4);
  nodes.cut("a");
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.heal();
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids);
});

test("a claim waits for the will of a dead node's connection; one that is delayed is void", async () => {
  const nodes = new Nodes(["a", "b"]);
  const a = nodes.node("a");
  const b = nodes.node("b");
  await a.hold("now", 1);
  b.unaccepted = [];
  nodes.kill("a");
  let granted = false;
  b.holders.beforeGrant("now", () => {
    granted = true;
  });
  await nodes.settle();
  assert.equal(granted, false);
  for (const accept of b.unaccepted) accept();
  assert.equal(granted, true);
  b.unaccepted = null;
  const again = nodes.restart("a");
  await again.hold("later", 2);
  b.delayMs = 5000;
  again.isDead = true;
  nodes.changed();
  await new Promise<void>((done) => b.holders.beforeGrant("later", done));
  nodes.clock.advance(10_000);
  await nodes.settle();
  assert.deepEqual(nodes.published, ["now"]);
});

test("a will that is due is not void because its client is back a moment before this node knows that its owner is dead", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(10);
  nodes.suspects.add("b a");
  nodes.kill("a");
  await nodes.settle();
  let granted = 0;
  for (const id of ids) nodes.node("b").holders.beforeGrant(id, () => void granted++);
  await nodes.settle();
  // What c has told b of waits; it does not know of all.
  assert.ok(granted > 0 && granted < 10);
  nodes.suspects.clear();
  nodes.changed();
  nodes.clock.advance(100);
  await nodes.settle();
  assert.deepEqual([nodes.published.sort(), granted], [ids, 10]);
});

test("a delay runs from the death of the node on", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  await nodes.node("a").connect(6);
  for (const name of ["b", "c"]) nodes.node(name).delayMs = 5000;
  nodes.kill("a");
  nodes.clock.advance(4900);
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.clock.advance(200);
  await nodes.settle();
  assert.equal(nodes.published.length, 6);
});

test("when members come and go, the wills go to those who are to hold them", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  const ids = await nodes.node("a").connect(40);
  nodes.kill("b");
  await nodes.settle();
  nodes.kill("c");
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.node("d").published.sort(), ids.sort());
});

test("a node that was a holder, and has not heard that it is one no more, is asked to let go as well", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  const a = nodes.node("a");
  const ids = await a.connect(40);
  nodes.kill("d");
  await nodes.settle();
  // With d back b holds fewer of them, and does not hear that.
  nodes.unnoticed.add("a b");
  nodes.restart("d");
  await nodes.settle();
  for (const id of ids) a.due(id);
  await nodes.settle();
  assert.ok(a.published.length > 0 && a.published.length < ids.length);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
});

test("a holder that is not answered by the other one publishes nothing: it may be on the smaller side of a cut", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(10);
  // c hears neither, and has noticed that of a alone.
  nodes.cuts.add("a c");
  nodes.unnoticed.add("b c");
  nodes.node("c").holders.onMembersChanged();
  await nodes.settle();
  nodes.clock.advance(200);
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.cut("c");
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  for (const id of ids) nodes.node("a").due(id);
  await nodes.settle();
  nodes.unnoticed.clear();
  nodes.heal();
  await nodes.settle();
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
});

test("a will that a younger one took the place of is published when its holders have heard of that", async () => {
  const nodes = new Nodes(["a", "b"]);
  const a = nodes.node("a");
  await a.hold("x", 1);
  nodes.unnoticed.add("a b");
  await a.hold("x", 2);
  a.due("x", 1);
  await nodes.settle();
  assert.deepEqual(a.published, []);
  nodes.unnoticed.clear();
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(a.published, ["x"]);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published, ["x", "x"], "the younger one");
});

test("a node that starts where nobody hears it asks about its wills when it is heard again", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(10);
  nodes.kill("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
  nodes.cut("a");
  const again = nodes.restart("a");
  const wills = ids.map((clientId) => ({ clientId, epoch: 1 }));
  assert.equal((await again.holders.settledOf(wills)).size, 0);
  for (const id of ids) await again.hold(id, 1);
  nodes.heal();
  for (const id of ids) again.due(id);
  await nodes.settle();
  assert.deepEqual(again.published, []);
});

test("a will that waits for its delay is void where its client has come back, as its node hears when it starts again", async () => {
  const nodes = new Nodes(["a", "b"]);
  await nodes.node("a").connect(2);
  nodes.kill("a");
  nodes.node("b").back.add("a/0");
  const again = nodes.restart("a");
  const wills = (waits: boolean) => ["a/0", "a/1"].map((id) => ({ clientId: id, epoch: 2, waits }));
  assert.deepEqual([...(await again.holders.settledOf(wills(false)))], []);
  assert.deepEqual([...(await again.holders.settledOf(wills(true)))], ["a/0"]);
});

test("what was held all the while on the smaller side is asked about when it is due, until everybody has told", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  const ids = await a.connect(4);
  nodes.cut("a");
  await nodes.settle();
  assert.equal(nodes.published.length, 4);
  nodes.cuts.clear();
  for (const node of nodes.nodes.values()) node.links.clear();
  // Its links are there again, and nothing has been said over them.
  for (const name of ["b", "c"]) nodes.unnoticed.add(["a", name].sort().join(" "));
  a.holders.onMembersChanged();
  for (const id of ids) a.due(id);
  await nodes.settle();
  nodes.unnoticed.clear();
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(a.published, []);
});

test("of two wills of one client that wait the settled one alone is void", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  await a.hold("x", 1);
  nodes.cut("a");
  await nodes.settle();
  assert.deepEqual(nodes.published, ["x"]);
  a.due("x", 1);
  await a.hold("x", 2);
  a.due("x", 2);
  nodes.heal();
  await nodes.settle();
  assert.deepEqual(a.published, ["x"]);
});

test("who told a node that it may publish keeps others from doing that when the node is dead", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  const ids = await a.connect(6);
  nodes.cut("c");
  for (const id of ids) a.due(id);
  await nodes.settle();
  nodes.clock.advance(1000);
  await nodes.settle();
  assert.deepEqual(a.published.sort(), ids.sort());
  // The other side learns at once that it is dead, and nothing from it.
  a.isDead = true;
  nodes.heal();
  await nodes.settle();
  nodes.clock.advance(5000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
});

test("who told a node that it may publish says so while it hears that node: it need not live on to say it again", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const a = nodes.node("a");
  const ids = await a.connect(6);
  nodes.cut("b");
  await nodes.settle();
  for (const id of ids) a.due(id);
  await nodes.settle();
  assert.deepEqual(a.published, ids);
  // Now a is silent for b alone.
  nodes.cuts.delete("b c");
  nodes.changed();
  await nodes.settle();
  nodes.kill("c");
  nodes.cuts.add("a c");
  const c = nodes.restart("c");
  await nodes.settle();
  for (let i = 0; i < 60; i++) {
    nodes.clock.advance(100);
    await nodes.settle();
  }
  assert.deepEqual([...nodes.node("b").published, ...c.published], []);
});

test("bytes that make no sense get no answer", () => {
  const { holders } = new Nodes(["a", "b"]).node("a");
  assert.equal(holders.onQuestion("b", Buffer.from("nonsense")), null);
  assert.equal(holders.onQuestion("b", Buffer.alloc(0)), null);
});

test("who has just started, and does not hear everybody yet, leaves nobody to publish for a silent node", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(5);
  nodes.kill("c");
  nodes.cut("a");
  await nodes.settle();
  nodes.restart("c");
  await nodes.settle();
  assert.deepEqual(nodes.published, []);
  nodes.clock.advance(10_000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids);
});

test("whoever heard that a will was about to be published hears that it was, and tells its owner when all others are new", async () => {
  const nodes = new Nodes(["a", "b", "c", "d"]);
  const a = nodes.node("a");
  const ids = await a.connect(20);
  nodes.cut("a");
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), [...ids].sort());
  // Those that published them and the holders that noted it, but for d.
  for (const name of ["b", "c"]) {
    nodes.kill(name);
    nodes.restart(name);
  }
  nodes.clock.advance(10_000);
  nodes.heal();
  for (const id of ids) a.due(id);
  await nodes.settle();
  nodes.clock.advance(5000);
  await nodes.settle();
  assert.deepEqual(a.published, []);
});

/** Of a's wills each is about to be published by another node, and nobody hears that it was. */
async function halfTold(names: readonly string[], isOnceAtMost: boolean) {
  const nodes = new Nodes(names);
  const ids = await nodes.node("a").connect(20);
  for (const node of nodes.nodes.values()) {
    node.isOnceAtMost = isOnceAtMost;
    node.unaccepted = [];
  }
  return { nodes, ids };
}

test("a will of QoS 0 that a node began to publish is nobody's when that process is dead", async () => {
  for (const isOnceAtMost of [true, false]) {
    const { nodes, ids } = await halfTold(["a", "b", "c"], isOnceAtMost);
    nodes.kill("a");
    await nodes.settle();
    const { published } = nodes.node("c");
    assert.ok(published.length > 0 && published.length < ids.length);
    nodes.kill("c");
    nodes.restart("c");
    const again = nodes.restart("a");
    const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
    assert.deepEqual([...settled].sort(), isOnceAtMost ? [...published].sort() : []);
    nodes.clock.advance(10_000);
    for (const id of ids) again.due(id);
    await nodes.settle();
    // What the other one began it has to say something of.
    assert.deepEqual(again.published.sort(), isOnceAtMost ? [] : [...published].sort());
  }
});

test("who asks knows that the process which began to publish a will of QoS 0 is dead before others do", async () => {
  const { nodes, ids } = await halfTold(["a", "b", "c"], true);
  nodes.kill("a");
  await nodes.settle();
  const b = nodes.node("b");
  const ofC = [...nodes.node("c").published];
  // It hears nothing of members any more.
  b.holders.onMembersChanged = () => undefined;
  nodes.kill("c");
  nodes.restart("c");
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(ids.map((clientId) => ({ clientId, epoch: 1 })));
  assert.deepEqual([...settled].sort(), ofC.sort());
});

test("a node that was silent closes clients whose wills of QoS 0 may have come, also when that shows later", async () => {
  const { nodes, ids } = await halfTold(["a", "b", "c", "d"], true);
  nodes.cut("a");
  await nodes.settle();
  const ofC = [...nodes.node("c").published].sort();
  assert.ok(ofC.length > 0 && ofC.length < ids.length);
  nodes.heal();
  await nodes.settle();
  const a = nodes.node("a");
  assert.deepEqual(a.closed, []);
  // Nobody can tell yet.
  const [first = ""] = ofC;
  a.due(first);
  await nodes.settle();
  nodes.kill("c");
  await nodes.settle();
  nodes.clock.advance(5_000);
  await nodes.settle();
  assert.deepEqual([...new Set(a.closed)].sort(), ofC);
  assert.deepEqual(a.published, []);
});

test("a will that another node is publishing, when its owner is heard again, is not its owner's to publish", async () => {
  const { nodes, ids } = await halfTold(["a", "b", "c", "d"], false);
  nodes.cut("a");
  await nodes.settle();
  nodes.heal();
  await nodes.settle();
  const a = nodes.node("a");
  for (const id of ids) a.due(id);
  await nodes.settle();
  for (const node of nodes.nodes.values()) for (const accept of node.unaccepted ?? []) accept();
  await nodes.settle();
  nodes.clock.advance(5_000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), [...ids].sort());
  assert.deepEqual(a.published, []);
});

test("what a process finds that an earlier one was publishing, its owner hears from it, and all others when it is accepted", async () => {
  const { nodes, ids } = await halfTold(["a", "b", "c", "d"], false);
  nodes.cut("a");
  await nodes.settle();
  const found = [...nodes.node("c").published].sort();
  assert.ok(found.length > 0 && found.length < ids.length);
  nodes.kill("c");
  const c = nodes.restart("c");
  for (const id of found) c.holders.isHere(id, 1, "a");
  nodes.heal();
  await nodes.settle();
  const { closed } = nodes.node("a");
  assert.deepEqual([...new Set(closed)].sort(), found);
  nodes.kill("a");
  await nodes.settle();
  for (const id of found) c.holders.publishedAgain(id, 1, "a");
  await nodes.settle();
  nodes.kill("c");
  nodes.restart("c");
  const again = nodes.restart("a");
  const settled = await again.holders.settledOf(found.map((clientId) => ({ clientId, epoch: 1 })));
  assert.deepEqual([...settled].sort(), found);
});

test("what another node has published while this one waited to be answered is not published again", async () => {
  const nodes = new Nodes(["a", "b", "c"]);
  const ids = await nodes.node("a").connect(20);
  const [b, c] = [nodes.node("b"), nodes.node("c")];
  nodes.unnoticed.add("b c");
  nodes.node("a").isDead = true;
  b.holders.onMembersChanged();
  await nodes.settle();
  nodes.cuts.add("b c");
  c.holders.onMembersChanged();
  nodes.cuts.clear();
  nodes.unnoticed.clear();
  c.holders.onMembersChanged();
  await nodes.settle();
  assert.ok(c.published.length > 0);
  nodes.kill("c");
  nodes.clock.advance(5_000);
  await nodes.settle();
  assert.deepEqual(nodes.published.sort(), ids.sort());
});

test("who gives up what it had begun to publish says so, over another link if one breaks: its death says nothing then", async () => {
  for (const breaks of [false, true]) {
    const nodes = new Nodes(["a", "b", "c", "d"]);
    for (const node of nodes.nodes.values()) node.isOnceAtMost = true;
    await nodes.node("a").connect(20);
    // d hears a; and does not answer at first.
    for (const pair of ["a b", "a c"]) nodes.cuts.add(pair);
    nodes.unnoticed.add("b d");
    nodes.node("b").holders.onMembersChanged();
    await nodes.settle();
    nodes.unnoticed.delete("b d");
    if (breaks) nodes.unnoticed.add("b c");
    nodes.clock.advance(200);
    await nodes.settle();
    nodes.cuts.clear();
    nodes.unnoticed.clear();
    nodes.node("b").links.clear();
    nodes.changed();
    await nodes.settle();
    nodes.kill("b");
    await nodes.settle();
    nodes.clock.advance(5_000);
    await nodes.settle();
    const { closed, published } = nodes.node("a");
    assert.deepEqual([closed, published, nodes.published], [[], [], []]);
  }
});

for (const delayMs of [0, 60_000]) {
  test(`who was silent asks all about a will that waited there, though its holders are new, when due after ${delayMs} ms`, async () => {
    const nodes = new Nodes(["a", "b", "c", "d"]);
    const ids = await nodes.node("c").connect(40);
    nodes.node("a").delayMs = delayMs;
    nodes.cut("a");
    for (const id of ids) nodes.node("c").due(id);
    await nodes.settle();
    assert.deepEqual(nodes.published.sort(), [...ids].sort());
    assert.ok(nodes.node("a").holders.size > 0);
    // Of those whom c has told d alone is left, and a does not hear it yet.
    for (const name of ["b", "c"]) nodes.kill(name);
    nodes.restart("b").delayMs = delayMs;
    for (const pair of ["a b", "a c"]) nodes.cuts.delete(pair);
    nodes.changed();
    await nodes.settle();
    nodes.heal();
    for (let i = 0; i < 40; i++) {
      nodes.clock.advance(2_000);
      await nodes.settle();
    }
    assert.deepEqual(nodes.published.sort(), [...ids].sort());
    assert.equal(nodes.node("a").holders.size + nodes.node("b").holders.size, 0);
  });
}
