/** Scenes of claims: who may have a connection of a client id, and what becomes of the others. */
import assert from "node:assert/strict";
import { home } from "../../../src/cluster/rendezvous.js";
import { allUp, ClusterNode, nodeName, startCluster } from "../cluster-node.js";
import type { FakeConnection } from "../fakes.js";
import type { World } from "../world/world.js";

type Three = [ClusterNode, ClusterNode, ClusterNode];

async function three(world: World): Promise<Three> {
  return (await startCluster(world, 3)) as Three; // as many were asked for
}

/** A client id whose home is that node while all are up, and another one's when that is not. */
function idAt(at: ClusterNode, ...all: readonly ClusterNode[]): string {
  const names = all.map(({ name }) => name);
  for (let i = 0; ; i++) if (home(`c${i}`, names) === at.name) return `c${i}`;
}

async function connect(
  world: World,
  at: ClusterNode,
  clientId: string,
  options: { user?: string; persistent?: boolean } = {},
): Promise<FakeConnection> {
  const one = at.connections.connect(clientId, options);
  await world.until(() => one.state === "connected", 12_000, `${clientId} connects at ${at.name}`);
  return one;
}

/** A client id belongs to one user as long as something of it is there. */
async function otherUser(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  const first = await connect(world, a, clientId, { user: "one", persistent: true });
  a.connections.close(first);
  await world.run(300);
  const second = b.connections.connect(clientId, { user: "two" });
  await world.until(() => second.result !== null, 3_000, "an answer");
  assert.equal(second.state, "refused", "another user's session is refused");
}

/** Nobody knows whether an older connection is closed: the next claim has it closed, too. */
async function unconfirmed(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  const first = await connect(world, a, clientId);
  await world.run(200);
  world.cutLink(a.place, b.place);
  b.connections.connect(clientId);
  await world.run(300);
  const third = await connect(world, c, clientId);
  assert.equal(first.state, "closed", "connections not yet confirmed closed are closed first");
  assert.equal(third.state, "connected");
  world.heal();
}

/** The clock of the next home is far behind that of the one before: what it grants is newer all the same. */
async function slowClock(world: World): Promise<void> {
  const nodes = [0, 1, 2].map((i) => {
    return new ClusterNode(world, nodeName(i), { wallOffsetMs: i === 2 ? 20_000 : 0 });
  });
  const [a, b, c] = nodes as Three;
  for (const node of nodes) await node.start();
  await b.join(a);
  await c.join(a);
  await allUp(world, nodes);
  const clientId = idAt(c, a, b, c);
  const first = await connect(world, a, clientId);
  c.crash();
  await world.until(() => [a, b].every((node) => node.state(c) === "down"), 10_000, "c is down");
  await world.run(200);
  const second = b.connections.connect(clientId);
  await world.until(() => second.result !== null, 12_000, "an answer");
  const states = [first.state, second.state];
  assert.deepEqual(states, ["closed", "connected"], "an epoch is higher than any that was seen");
}

/** Who had the connection says nothing: it is waited for no longer than the time-out. */
async function silentOwner(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  await connect(world, a, clientId);
  a.place.stall(20_000);
  const second = b.connections.connect(clientId);
  await world.run(1_500);
  assert.equal(second.state, "claiming", "waits for the older connection");
  await world.run(800);
  assert.equal(second.state, "connected", "the wait for a silent node has an end");
}

/** Who had the connection dies while a claim waits for it. */
async function deadOwner(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  await connect(world, a, clientId);
  a.place.stall(20_000);
  const second = b.connections.connect(clientId);
  await world.run(300);
  a.crash();
  await world.until(() => b.state(a) === "down", 1_000, "a is down");
  await world.run(300);
  assert.equal(second.state, "connected", "nobody waits for a node that is down");
}

/** A claim that waits gives way to a newer one. */
async function newerClaim(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  await connect(world, a, clientId);
  a.place.stall(20_000);
  const second = b.connections.connect(clientId);
  await world.run(300);
  const third = c.connections.connect(clientId);
  await world.run(4_000);
  assert.equal(second.result?.granted, false, "a newer claim supersedes one that waits");
  assert.equal(third.state, "connected");
}

/** What became of a claim is reported: the next one waits for nothing. */
async function reported(world: World): Promise<void> {
  const [a, b, c] = await three(world);
  const clientId = idAt(c, a, b, c);
  await connect(world, a, clientId);
  await world.run(200);
  a.place.stall(500);
  const gone = b.connections.connect(clientId);
  await world.run(200);
  // It is granted already, and waits for the older one.
  b.connections.close(gone);
  await world.run(1_000);
  const third = c.connections.connect(clientId);
  await world.run(1_000);
  assert.equal(third.state, "connected", "it is reported what became of a claim");
}

export const directoryScenes = {
  otherUser,
  unconfirmed,
  slowClock,
  silentOwner,
  deadOwner,
  newerClaim,
  reported,
};
