/** Claims over a real cluster: who gets a client id, what is closed first, and what happens at the edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { DirectoryService } from "../../src/cluster/directory.js";
import type { ClaimResult, ConnectionHost } from "../../src/cluster/directory-types.js";
import { home } from "../../src/cluster/rendezvous.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { type ClusterNode, startCluster } from "../sim/cluster-node.js";
import type { FakeConnection } from "../sim/fakes.js";
import { World } from "../sim/world/world.js";

/** A connection that stays. */
const by = { isOpen: true };

interface Three {
  readonly world: World;
  readonly nodes: readonly [ClusterNode, ClusterNode, ClusterNode];
}

async function three(seed: number): Promise<Three> {
  const world = new World(seed);
  const [a, b, c] = await startCluster(world, 3);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  await world.run(500);
  return { world, nodes: [a, b, c] };
}

/** A client id whose home is that node. */
function idAt(node: ClusterNode, nodes: readonly ClusterNode[]): string {
  const names = nodes.map(({ name }) => name);
  for (let i = 0; ; i++) if (home(`client-${i}`, names) === node.name) return `client-${i}`;
}

async function settled(world: World, ...connections: readonly FakeConnection[]): Promise<void> {
  const answered = (): boolean => connections.every(({ result }) => result !== null);
  await world.until(answered, 5000, "all claims are answered");
}

/** A directory alone in its cluster, with a host that the test drives. */
function lone(host: Partial<ConnectionHost> = {}) {
  const world = new World(1);
  const { clock } = world.node("a@ha").boot();
  const directory = new DirectoryService({
    ...{ self: "a@ha", clock, stamps: new HybridClock(clock), takeoverTimeoutMs: 2000 },
    ...{ liveMembers: () => ["a@ha"], linkTo: () => null },
  });
  directory.attachHost({
    displace: (_id, _epoch, done) => done(null),
    entries: () => [],
    entry: () => undefined,
    ...host,
  });
  const results: ClaimResult[] = [];
  const claim = (): void => {
    directory.claim({ clientId: "x", user: "", by }, (result) => void results.push(result));
  };
  return { world, directory, results, claim };
}

test("a single node is its own home: a claim is answered at once, in the first turn too", () => {
  const { results, claim, directory } = lone();
  claim();
  assert.ok(results[0]?.granted);
  directory.attached("x", results[0].epoch);
  assert.deepEqual(directory.home.lookup("x"), undefined, "the host says that there is nothing");
});

test("a claim that was granted is outdated when a newer one is, or asks for its end", () => {
  const { results, claim, directory } = lone();
  claim();
  const epoch = results[0]?.granted ? results[0].epoch : 0;
  assert.equal(directory.isOutdated("x", epoch), false);
  assert.equal(directory.isOutdated("x", epoch - 1), true, "an older one that is not attached yet");
  directory.displace("x", epoch + 1, () => undefined);
  assert.equal(directory.isOutdated("x", epoch), true);
  directory.attached("x", epoch);
  assert.equal(directory.isOutdated("x", epoch), false, "it is closed as any other");
});

test("the newest claim wins, wherever the two nodes and the home are", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const { world, nodes } = await three(seed);
    for (const homeNode of nodes) {
      const clientId = idAt(homeNode, nodes);
      let before: FakeConnection | undefined;
      for (const node of [...nodes, ...nodes]) {
        const connection = node.connections.connect(clientId);
        await settled(world, connection);
        assert.equal(connection.state, "connected");
        assert.notEqual(before?.state, "connected", "closed before the newer one is attached");
        before = connection;
      }
    }
  }
});

test("claims in the same instant: each is answered, one connection stays, that of the highest epoch", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { world, nodes } = await three(seed);
    const clientId = idAt(world.dice.pick(nodes), nodes);
    const all = [...nodes, ...nodes].map((node) => node.connections.connect(clientId));
    await settled(world, ...all);
    await world.run(2000);
    const open = all.filter(({ state }) => state === "connected");
    assert.equal(open.length, 1);
    const highest = Math.max(...all.map(({ epoch }) => epoch));
    assert.equal(open[0]?.epoch, highest);
    for (const { state } of all) assert.notEqual(state, "claiming");
  }
});

test("a second claim of one node supersedes the first that still waits", async () => {
  const { world, nodes } = await three(30);
  const [a, b] = nodes;
  const clientId = idAt(b, nodes);
  const first = a.connections.connect(clientId);
  const second = a.connections.connect(clientId);
  assert.deepEqual(first.result, { granted: false, why: "superseded" });
  await settled(world, second);
  assert.equal(second.state, "connected");
});

test("a claim whose connection closes while it waits displaces nobody", async () => {
  const { world, nodes } = await three(33);
  const [a, b, c] = nodes;
  const clientId = idAt(c, nodes);
  const connected = b.connections.connect(clientId);
  await settled(world, connected);
  const closed = a.connections.connect(clientId);
  a.connections.close(closed);
  await settled(world, closed);
  await world.run(1000);
  assert.equal(connected.state, "connected");
  assert.equal(a.cluster.directory.counters.givenUp, 1);
  const places = c.cluster.directory.home.lookup(clientId);
  assert.deepEqual(places?.connections, [{ node: b.name, epoch: connected.epoch }]);
  const next = a.connections.connect(clientId);
  await settled(world, next);
  assert.equal(next.state, "connected");
  assert.notEqual(connected.state, "connected");
});

test("who has gone before its CONNACK displaces nobody at another node, where it may be connected by now", async () => {
  const { world, nodes } = await three(34);
  const [a, b, c] = nodes;
  const clientId = idAt(c, nodes);
  const connected = b.connections.connect(clientId);
  await settled(world, connected);
  const leave = async (node: ClusterNode): Promise<boolean> => {
    const results: ClaimResult[] = [];
    const claim = { clientId, user: "", by: { isOpen: true, hasLeft: true } };
    node.cluster.directory.claim(claim, (result) => void results.push(result));
    await world.until(() => results.length === 1, 3_000, "an answer");
    const [result] = results;
    if (result?.granted) node.cluster.directory.released(clientId, result.epoch);
    await world.run(200);
    return result?.granted === true;
  };
  assert.equal(await leave(a), false);
  assert.equal(connected.state, "connected");
  // One that is at the same node is older.
  assert.equal(await leave(b), true);
  assert.notEqual(connected.state, "connected");
  assert.equal(await leave(a), true);
});

test("who has gone before its CONNACK is not waited for", async () => {
  for (const [waitMs, granted] of [
    [500, true],
    [1_500, false],
  ] as const) {
    let grant = (): void => undefined;
    const { world, directory } = lone({
      beforeGrant: (_id, done) => {
        grant = () => done(true);
      },
    });
    const results: boolean[] = [];
    const left = { isOpen: true, hasLeft: true };
    directory.claim({ clientId: "x", user: "", by: left }, (result) => {
      results.push(result.granted);
    });
    await world.run(waitMs);
    grant();
    assert.deepEqual(results, [granted]);
  }
});

test("another user is refused while a connection or a session is there, and let in afterwards", async () => {
  const { world, nodes } = await three(31);
  const [a, b, c] = nodes;
  const clientId = idAt(c, nodes);
  const mine = a.connections.connect(clientId, { user: "me", persistent: true });
  await settled(world, mine);
  const theirs = b.connections.connect(clientId, { user: "you" });
  await settled(world, theirs);
  assert.deepEqual(theirs.result, { granted: false, why: "other-user" });
  assert.equal(mine.state, "connected");
  a.connections.close(mine);
  await world.run(200);
  const again = b.connections.connect(clientId, { user: "you" });
  await settled(world, again);
  assert.equal(again.state, "refused");
  a.connections.expire(clientId);
  await world.run(200);
  const last = b.connections.connect(clientId, { user: "you" });
  await settled(world, last);
  assert.equal(last.state, "connected");
});

test("the claimant hears where the session is", async () => {
  const { world, nodes } = await three(32);
  const [a, b, c] = nodes;
  const clientId = idAt(c, nodes);
  const first = a.connections.connect(clientId, { persistent: true });
  await settled(world, first);
  const second = b.connections.connect(clientId);
  await settled(world, second);
  assert.ok(second.result?.granted);
  assert.deepEqual(second.result.sessionAt, { node: a.name, isUp: true });
});

test("a claim while its home dies is answered by the next home", async () => {
  for (let seed = 40; seed < 50; seed++) {
    const { world, nodes } = await three(seed);
    const [a, b, c] = nodes;
    const clientId = idAt(c, nodes);
    const before = b.connections.connect(clientId);
    await settled(world, before);
    const connection = a.connections.connect(clientId);
    await world.run(world.dice.between(0, 8));
    c.crash();
    await settled(world, connection);
    await world.run(1000);
    assert.equal(connection.state, "connected");
    assert.notEqual(before.state, "connected");
  }
});

test("the owner is silent: the claim waits for takeover.timeout, goes on, and is counted", async () => {
  const { world, nodes } = await three(51);
  const [a, b, c] = nodes;
  const clientId = idAt(c, nodes);
  const old = b.connections.connect(clientId);
  await settled(world, old);
  b.place.stall(2400);
  const startedMs = world.nowMs;
  const connection = a.connections.connect(clientId);
  await settled(world, connection);
  assert.equal(connection.state, "connected");
  assert.ok(world.nowMs - startedMs >= 2000);
  assert.equal(a.cluster.directory.counters.takeoverTimeouts, 1);
  await world.run(2000);
  assert.notEqual(old.state, "connected", "it is closed when its node wakes");
});

test("with no home to be had a claim is answered as unavailable, after 10 s", async () => {
  const world = new World(52);
  const { clock } = world.node("a@ha").boot();
  const directory = new DirectoryService({
    ...{ self: "a@ha", clock, stamps: new HybridClock(clock), takeoverTimeoutMs: 2000 },
    ...{ liveMembers: () => ["a@ha", "b@hb"], linkTo: () => null },
  });
  const results: ClaimResult[] = [];
  let clientId = "x";
  while (home(clientId, ["a@ha", "b@hb"]) !== "b@hb") clientId += "x";
  directory.claim({ clientId, user: "", by }, (answer) => void results.push(answer));
  await world.run(9_900);
  assert.equal(results.length, 0);
  await world.run(300);
  assert.deepEqual(results, [{ granted: false, why: "unavailable" }]);
  assert.ok(directory.counters.retries > 100);
});

test("a displaced connection's will delays the newcomer: closed means that it was accepted", () => {
  let closed: () => void = () => undefined;
  let connected = true;
  const entry = { clientId: "x", user: "", connection: 1, session: null };
  const { results, claim } = lone({
    displace: (_id, _epoch, done) => {
      closed = () => done(null);
      connected = false;
    },
    entries: () => (connected ? [entry] : []),
    entry: () => (connected ? entry : undefined),
  });
  claim();
  assert.equal(results.length, 0);
  closed();
  assert.ok(results[0]?.granted);
});

test("who closes a connection names the node where its session is, not that an older session is here", () => {
  const older = { clientId: "x", user: "u", connection: null, session: 1 };
  let elsewhere: string | null = "b@h";
  const { directory } = lone({
    displace: (_id, _epoch, done) => done(elsewhere),
    entries: () => [older],
    entry: () => older,
  });
  const named: (string | null)[] = [];
  const close = (): void => directory.displace("x", 5, (at) => void named.push(at));
  close();
  elsewhere = null;
  close();
  assert.deepEqual(named, ["b@h", directory.self]);
});

test("a session that left its node while its connection closed is looked for anew, once", async () => {
  const here = { clientId: "x", user: "", connection: 1, session: 1 };
  let entry: typeof here | undefined = here;
  const { results, claim, directory, world } = lone({
    displace: (_id, _epoch, done) => {
      if (entry !== undefined) {
        // It has moved there, and that node says so.
        directory.home.holds("b@h", {
          ...{ clientId: "x", epoch: 2 },
          entry: { clientId: "x", user: "", connection: null, session: 2 },
        });
      }
      entry = undefined;
      done(null);
    },
    entries: () => (entry === undefined ? [] : [entry]),
    entry: () => entry,
  });
  claim();
  await world.run(200);
  const [first] = results;
  assert.ok(first?.granted);
  assert.equal(first.sessionAt?.node, "b@h");
  assert.equal(results.length, 1);
});

test("a grant that is not attached yet is waited for by the next claim", () => {
  const displaced: number[] = [];
  const { results, claim, directory } = lone({
    displace: (_id, epoch, done) => {
      displaced.push(epoch);
      done(null);
    },
  });
  claim();
  claim();
  const [first] = results;
  assert.ok(first?.granted);
  assert.equal(results.length, 1, "its session is being fetched");
  directory.attached("x", first.epoch);
  const second = results[1];
  assert.ok(second?.granted && second.epoch > first.epoch);
  assert.deepEqual(displaced, [second.epoch]);
});

test("a grant whose client has gone away gives way", () => {
  const { results, claim, directory } = lone();
  claim();
  claim();
  const [first] = results;
  assert.ok(first?.granted);
  directory.released("x", first.epoch);
  assert.ok(results[1]?.granted);
});

test("what a home lost with its link is told again when the link is back", async () => {
  for (let seed = 60; seed < 70; seed++) {
    const { world, nodes } = await three(seed);
    const [a, b, c] = nodes;
    const clientId = idAt(c, nodes);
    const connection = a.connections.connect(clientId);
    await settled(world, connection);
    world.breakPipes(a.place, c.place);
    await world.run(world.dice.between(0, 10));
    a.connections.close(connection);
    await world.until(() => a.state(c) === "up" && c.state(a) === "up", 5000, "linked again");
    await world.run(1000);
    assert.equal(c.cluster.directory.home.lookup(clientId), undefined);
    const other = b.connections.connect(clientId);
    await settled(world, other);
    assert.equal(other.state, "connected");
  }
});
