/** Who is not let in, and the sentence that each side gets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClusterState } from "../../src/cluster/member-list.js";
import type { Pipe } from "../../src/cluster/transport.js";
import { Refusal } from "../../src/lib/refusal.js";
import { allUp, ClusterNode, type ClusterNodeOptions, startCluster } from "./cluster-node.js";
import { World } from "./world/world.js";

async function running(
  world: World,
  name: string,
  options: ClusterNodeOptions = {},
): Promise<ClusterNode> {
  const node = new ClusterNode(world, name, options);
  await node.start();
  return node;
}

async function pair(seed: number, options: ClusterNodeOptions = {}) {
  const world = new World(seed);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { world, a, b, c: await running(world, "c@hc", options) };
}

/** The command is refused with these words, and nobody became a member of anything. */
async function refused(node: ClusterNode, target: ClusterNode | string, words: RegExp) {
  const before = node.cluster.members.everything();
  await assert.rejects(node.join(target), (error: unknown) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.match(error.message, words);
    return true;
  });
  assert.deepEqual(node.cluster.members.everything(), before);
}

test("another cookie: both sides say so, and nothing else is decoded", async () => {
  const { world, a, b, c } = await pair(1, { cookie: "another cookie" });
  const startedMs = world.nowMs;
  await refused(c, a, /a node on ha has another cookie: give all nodes .* the same cookie file/);
  assert.ok(world.nowMs - startedMs >= 1000, "the answer is slow");
  await refused(c, "a@ha:4370", /^a@ha has another cookie/);
  assert.equal(a.cluster.acceptor.counters.wrongCookie, 2);
  assert.ok(a.complained("refused a node: its cookie is not ours"));
  assert.deepEqual(
    [a, b].map((node) => node.cluster.members.all().length),
    [2, 2],
  );
  assert.equal(c.cluster.peers().length, 0);
});

test("a member that came back with another cookie: both log it, once at the dialer", async () => {
  const world = new World(2);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  b.crash();
  b.options = { cookie: "changed" };
  await b.start();
  await world.run(20_000);
  assert.ok(b.complained("a@ha has another cookie"));
  assert.ok(a.complained("b@hb has another cookie"));
  const lines = a.complaints.filter(({ message }) => message.startsWith("b@hb has another cookie"));
  assert.equal(lines.length, 1);
  assert.ok(a.complained("refused a node: its cookie is not ours"));
  assert.equal(a.state(b), "down");
});

test("no such node: by name, by address, and where another one answers", async () => {
  const { a, c } = await pair(3);
  await refused(
    c,
    "nobody@ha",
    /there is no node nobody@ha: nobody of that name answers on ports 4370-4373 of ha \(there: a@ha\)/,
  );
  await refused(c, "nobody@nowhere", /there is no node nobody@nowhere/);
  await refused(c, "a@ha:4372", /there is no node a@ha: nobody answers at ha port 4372/);
  await refused(
    c,
    "nobody@ha:4370",
    /there is no node nobody@ha at ha port 4370: a@ha answers there/,
  );
  await refused(c, "not a name", /"not a name" is no node name/);
  assert.equal(a.cluster.members.all().length, 2);
});

test("a node joining itself, under its own name or another", async () => {
  const { c } = await pair(4);
  await refused(c, "c@hc", /c@hc is this very node: a node cannot join itself/);
  await refused(c, "other@hc:4370", /is this very node: a node cannot join itself/);
});

test("a name that is taken", async () => {
  const { world, a, b } = await pair(5);
  const impostor = new ClusterNode(world, "b@hb");
  await impostor.start();
  await refused(
    impostor,
    a,
    /the name b@hb is already taken by another node of the cluster: .*--node name/,
  );
  assert.equal(a.state(b), "up");
  assert.equal(a.cluster.members.get("b@hb")?.id, b.cluster.members.id);
  await refused(impostor, "b@hb:4370", /is this very node/);
});

test("two clusters that share a name, or where one removed a member of the other, do not merge", async () => {
  const { world, a, c } = await pair(6);
  const other = await running(world, "x@hx");
  const impostor = await running(world, "b@hb");
  await impostor.join(other);
  await refused(other, a, /the name b@hb is already taken/);
  await c.join(a);
  await other.remove(impostor);
  await a.remove(c);
  await world.until(() => c.complained("was removed"), 5000, "told");
  await c.join(other);
  await refused(other, a, /c@hc was removed from this cluster/);
  await refused(a, other, /c@hc was removed from this cluster/);
});

test("already a member", async () => {
  const { a, b } = await pair(7);
  await refused(a, b, /a@ha and b@hb are already members of the same cluster/);
});

test("an incompatible version: the dialer is told, the acceptor logs it", async () => {
  const { world, a, c } = await pair(8);
  const said: Buffer[] = [];
  let closed = false;
  c.process.life.transport.dial("ha", 4370, (result) => {
    assert.ok(typeof result === "object");
    result.onData = (bytes) => void said.push(bytes);
    result.onClose = () => {
      closed = true;
    };
    result.write(hello(9, 9));
  });
  await world.until(() => closed, 5000, "closed");
  const answer = Buffer.concat(said);
  // CHALLENGE with version 0 (none in common), highest 1, lowest 1.
  assert.deepEqual([...answer.subarray(4, 8)], [2, 0, 1, 1]);
  assert.ok(a.complained("refused a node of an incompatible version"));
  assert.ok(a.complained('"theirs":"9-9"'));
});

test("joining a node of an incompatible version", async () => {
  const { world, c } = await pair(9);
  const stranger = world.node("new@hn").boot();
  await world.settled(
    stranger.transport.listen("hn", [4370, 4370], (pipe) => answerWithVersion(pipe, 9)),
    100,
    "listens",
  );
  await refused(
    c,
    "new@hn",
    /a node on hn speaks link protocol 9-9 and this node 1-1: upgrade the older/,
  );
  await refused(c, "new@hn:4370", /new@hn speaks link protocol 9-9 and this node 1-1/);
});

test("a removed node: by redial, by restart, by join_cluster, and let in with a new identity", async () => {
  const { world, a, b, c } = await pair(10);
  await c.join(a);
  await allUp(world, [a, b, c]);
  await b.remove(c);
  await world.until(() => c.complained("c@hc was removed from this cluster"), 5000, "told");
  await refused(c, a, /c@hc was removed from this cluster .*join_cluster with --discard/);
  c.crash();
  await a.remove(b).catch(() => undefined);
  await c.start();
  await world.run(5000);
  assert.deepEqual(c.cluster.members.others(), []);
  await refused(c, a, /c@hc was removed from this cluster/);
  await world.settled(c.process.joiner.discardIdentity(), 1000, "discard");
  await c.join(a);
  await allUp(world, [a, c]);
});

test("a removed node that was dead hears it when it comes back, from whoever it meets first", async () => {
  for (let seed = 11; seed < 16; seed++) {
    const { world, a, b, c } = await pair(seed);
    await c.join(a);
    await allUp(world, [a, b, c]);
    c.crash();
    // b does not hear of the removal before it meets c again.
    world.partition([a.place], [b.place]);
    await a.remove(c);
    await c.start();
    await world.run(4000);
    world.heal();
    await world.until(() => c.complained("c@hc was removed from this cluster"), 20_000, "told");
    await world.run(3000);
    for (const node of [a, b]) assert.equal(node.cluster.members.get("c@hc")?.status, "removed");
    assert.deepEqual(c.cluster.members.others(), []);
  }
});

test("clocks two minutes apart: a joiner is refused, and so is a member whose clock has run away", async () => {
  const { world, a, b, c } = await pair(17, { wallOffsetMs: 120_000 });
  await refused(
    c,
    a,
    /the clocks of a@ha and this node are 1[12][0-9]{4} ms apart \(at most 60000 ms\)/,
  );
  b.crash();
  b.place.wallOffsetMs = -120_000;
  await b.start();
  await world.until(() => b.complained("the clocks of a@ha and this node are"), 10_000, "told");
  assert.equal(a.state(b), "down");
  b.place.wallOffsetMs = 0;
  await world.until(() => a.state(b) === "up", 10_000, "in again when the clock is right");
});

test("an older start of a node that was seen later", async () => {
  const world = new World(18);
  const [a, b] = await startCluster(world, 2);
  assert.ok(a !== undefined && b !== undefined);
  const { value: state } = await b.process.life.file<ClusterState>("cluster").load();
  assert.ok(state !== undefined);
  await b.restart();
  await allUp(world, [a, b]);
  b.crash();
  // A copy of the data directory from before, on a machine whose clock is behind.
  b.place.wallOffsetMs = -40_000;
  await world.settled(b.place.boot().file("cluster").save(state), 100, "copied");
  b.place.crash();
  await b.start();
  await world.until(
    () => b.complained("a@ha has already seen a later start of b@hb"),
    10_000,
    "told",
  );
});

test("a change of members at a time: a second join is refused while the first is under way", async () => {
  const { world, a, b, c } = await pair(19);
  const first = c.process.joiner.join(a.name);
  await assert.rejects(c.process.joiner.join(b.name), /another change of members is under way/);
  await world.settled(first, 10_000, "the first");
});

test("what is no other member cannot be removed, and who is alone cannot leave", async () => {
  const { a, b, c } = await pair(20);
  await assert.rejects(a.remove(a), /a@ha is this very node: use leave_cluster/);
  await assert.rejects(a.remove(c), /c@hc is not a member of this cluster: the others are b@hb/);
  await assert.rejects(c.remove(b), /b@hb is not a member of this cluster: there is no other/);
  await assert.rejects(
    c.leave(),
    /c@hc is in no cluster with other nodes: there is nothing to leave/,
  );
});

function hello(highest: number, lowest: number): Buffer {
  const bytes = Buffer.alloc(5 + 7 + 32);
  bytes.writeUInt32BE(bytes.length - 4, 0);
  bytes[4] = 1;
  bytes.writeUInt32BE(0x54524c53, 5);
  bytes[9] = highest;
  bytes[10] = lowest;
  return bytes;
}

/** A node of a later version: it has no version in common with us. */
function answerWithVersion(pipe: Pipe, version: number): void {
  pipe.onData = () => {
    const bytes = Buffer.alloc(5 + 3 + 32);
    bytes.writeUInt32BE(bytes.length - 4, 0);
    bytes[4] = 2;
    bytes[6] = version;
    bytes[7] = version;
    pipe.write(bytes);
    pipe.close();
  };
}
