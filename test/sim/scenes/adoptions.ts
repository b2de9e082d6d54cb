/** Scenes of nodes that share a store: what a dead one left is adopted, once, and what lives is not. */
import assert from "node:assert/strict";
import { home } from "../../../src/cluster/rendezvous.js";
import { claimPrefix } from "../../../src/session/adoption/claims.js";
import { metaKey } from "../../../src/session/journal/meta.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, Stage } from "./stage.js";

interface Cast {
  readonly stage: Stage;
  /** Of the publisher. */
  readonly a: SessionNode;
  /** Home of the client when c is dead. */
  readonly b: SessionNode;
  /** Of the client's session. */
  readonly c: SessionNode;
  /** It has subscribed to `t` with QoS 2, and is away. */
  readonly client: Actor;
  readonly publisher: Actor;
}

async function cast(world: World, filter = "t"): Promise<Cast> {
  const stage = await Stage.openShared(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor(stage.idAt(c, b), c);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await client.connect();
  await client.subscribe(filter, 2);
  await client.leave();
  return { stage, a, b, c, client, publisher };
}

/** Publishes it with QoS 1, and waits until it is acknowledged. */
async function publish(publisher: Actor, payload: string, id: number, topic = "t"): Promise<void> {
  publisher.publish(topic, payload, 1, id);
  await publisher.gets("puback", 8_000);
}

const stateAt = (node: SessionNode, other: SessionNode): string | undefined =>
  node.process?.cluster.state(other.name);

async function isDown({ stage }: Cast, node: SessionNode): Promise<void> {
  const others = stage.nodes.filter((one) => one !== node && one.process !== null);
  const down = (): boolean => others.every((one) => stateAt(one, node) === "down");
  await stage.world.until(down, 10_000, `${node.name} is down`);
}

/** Its client gets these, in this order, each once. */
async function hasCome({ stage, client }: Cast, expected: readonly string[], what: string) {
  await stage.world.run(1_500);
  assert.deepEqual(client.payloads(), expected, what);
}

/** All run and see each other, and had time for what they have to say. */
async function settle({ stage }: Cast): Promise<void> {
  stage.world.heal();
  await stage.world.run(1_000);
  await stage.startAll();
  await stage.allUp();
  await stage.world.run(3_000);
}

/** A node dies, and nobody listens where it was: its client is back at once, with all that was acknowledged, in order. */
async function adopted(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  // An adoption takes a moment.
  b.store.writeMsMax = 150;
  c.crash();
  await publish(publisher, "while it died", 2);
  await isDown(all, c);
  const downMs = world.nowMs;
  client.connectSoon({}, a);
  // Newer ones come all the time.
  const newer = Array.from({ length: 120 }, (_, i) => `${i}`);
  for (const [i, payload] of newer.entries()) {
    publisher.publish("t", payload, 1, 3 + i);
    await world.run(1);
  }
  const { sessionPresent } = await client.gets("connack", 8_000);
  assert.equal(sessionPresent, true, "its session was adopted");
  assert.ok(world.nowMs - downMs < 2_000, "who is certainly dead is not waited for");
  await hasCome(all, ["queued", "while it died", ...newer], "all comes, in order");
  assert.deepEqual(stage.owners(client.clientId), [b.name], "one node has it");
}

/** Its lease is renewed: it is cut off from the others, and keeps what it has. */
async function leased(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, c, client } = all;
  assert.equal(await client.connect(), true);
  stage.isolate(c);
  await world.run(12_000);
  assert.equal(c.lives.length, 1, "whoever has a lease is not adopted");
  assert.deepEqual(stage.owners(client.clientId), [c.name], "it keeps its sessions");
  await publish(client, "to itself", 1);
  await hasCome(all, ["to itself"], "and serves them");
  await settle(all);
  assert.equal(client.state, "online");
}

/** It reaches neither the others nor the store: it may have been adopted, says nothing more, and is not believed afterwards. */
async function outOfReach(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  assert.equal(await client.connect(), true);
  const beside = stage.actor("beside", c);
  await beside.connect({ expirySeconds: 0 });
  stage.isolate(c);
  c.setInReach(false);
  const hasTaken = (): boolean => b.process?.sessions.get(client.clientId) !== undefined;
  await world.until(hasTaken, 15_000, "it is adopted");
  beside.publish("t", "stale", 0);
  await world.run(500);
  assert.deepEqual(client.payloads(), [], "who was adopted delivers nothing");
  await publish(publisher, "x", 1);
  c.setInReach(true);
  await settle(all);
  assert.equal(c.lives.length, 2, "who was adopted ends");
  assert.deepEqual(stage.owners(client.clientId), [b.name], "one node has it");
  await client.connect({}, a);
  await hasCome(all, ["x"], "all comes once");
}

/** The store is away for all: nobody can adopt, and what does not need it goes on. */
async function storeAway(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, c, client } = all;
  assert.equal(await client.connect(), true);
  const beside = stage.actor("beside", c);
  await beside.connect({ expirySeconds: 0 });
  for (const node of stage.nodes) node.setInReach(false);
  await world.run(6_000);
  beside.publish("t", "live", 0);
  await world.run(500);
  assert.deepEqual(client.payloads(), ["live"], "live traffic goes on");
  for (const node of stage.nodes) node.setInReach(true);
  await settle(all);
  assert.deepEqual(stage.owners(client.clientId), [c.name], "nobody adopted it");
}

/** What the client sent with QoS 2 is committed, has not reached all, and its node dies: the adopter publishes it again. */
async function sentBefore(world: World): Promise<void> {
  const all = await cast(world, "other");
  const { stage, a, b, c, client } = all;
  const near = stage.actor("near", a);
  const far = stage.actor("far", b);
  for (const one of [near, far]) {
    await one.connect();
    await one.subscribe("u", 2);
  }
  assert.equal(await client.connect(), true);
  world.cutLink(b.place, c.place);
  client.publish("u", "x", 2, 1);
  await world.until(() => near.payloads().length > 0, 1_000, "it has come to one");
  await world.run(100);
  await stage.kill(c);
  assert.equal(await client.connect({}, a), true);
  client.send({
    cmd: "publish",
    topic: "u",
    payload: "x",
    qos: 2,
    dup: true,
    retain: false,
    messageId: 1,
  });
  await client.gets("pubcomp", 8_000);
  await world.run(500);
  assert.deepEqual(far.payloads(), ["x"], "what the dead node had committed comes to all");
  assert.deepEqual(near.payloads(), ["x"], "under the number that it had");
}

/** The session's node and its publisher's are cut from each other until what is published waits in the outbox. */
async function inOutbox(
  { world, at, to }: { world: World; at: SessionNode; to: SessionNode },
  publisher: Actor,
) {
  world.cutLink(at.place, to.place);
  await publish(publisher, "waits", 1);
}

/** A node had something for a living one in its outbox when it died. */
async function leftForLiving(world: World): Promise<void> {
  const all = await cast(world, "other");
  const { stage, a, c, publisher } = all;
  await publisher.subscribe("t", 2);
  const origin = stage.actor("origin", c);
  await origin.connect();
  await inOutbox({ world, at: c, to: a }, origin);
  await stage.kill(c);
  world.heal();
  const gets = (): boolean => publisher.payloads().includes("waits");
  await world.until(gets, 4_000, "what a dead node had for a living one comes");
  await world.run(1_000);
  assert.deepEqual(publisher.payloads(), ["waits"], "once");
}

/** A node had something for another one in its outbox, and both died. */
async function leftForDead(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await inOutbox({ world, at: a, to: c }, publisher);
  a.crash();
  c.crash();
  await isDown(all, a);
  await isDown(all, c);
  world.heal();
  assert.equal(await client.connect({}, b), true);
  await hasCome(all, ["waits"], "what a dead node had for another dead one comes");
  assert.deepEqual(stage.owners(client.clientId), [b.name]);
}

/** All of a dead node is adopted: its rows are gone, and nothing waits for it. */
async function rowsGone(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, c, client, publisher } = all;
  await stage.kill(c);
  assert.equal(await client.connect({}, a), true);
  client.send({ cmd: "unsubscribe", messageId: 9, unsubscriptions: ["t"] });
  await client.gets("unsuback");
  const isDone = (): boolean => a.process?.sessions.adoptions?.progressOf(c.name) === "done";
  await world.until(isDone, 5_000, "nothing is left to adopt");
  publisher.publish("t", "to nobody", 1, 1);
  const { reasonCode } = await publisher.gets("puback");
  assert.equal(reasonCode, 0x10, "rows of a node that was adopted are gone");
  assert.equal(a.process?.cluster.peer(c.name)?.sender.length, 0, "nothing waits for it");
}

/** Who is cut off, and lives, may hold something for the sessions: they wait. */
async function memberAway(world: World): Promise<void> {
  const stage = await Stage.openShared(world, 4);
  const [a, b, c, d] = stage.nodes as [SessionNode, SessionNode, SessionNode, SessionNode]; // four
  const client = stage.actor(stage.idAt(c, b), c);
  const origin = stage.actor("origin", d);
  const publisher = stage.actor("publisher", a);
  const all = { stage, a, b, c, client, publisher };
  await origin.connect();
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  await inOutbox({ world, at: d, to: c }, origin);
  stage.isolate(d);
  const isCut = (): boolean => [a, b].every((one) => stateAt(one, d) === "down");
  await world.until(isCut, 10_000, "it is cut off");
  c.crash();
  client.connectSoon({}, a);
  await world.run(6_000);
  world.heal();
  client.connectSoon({}, a);
  await client.gets("connack", 8_000);
  await hasCome(all, ["waits"], "what those who were cut off hold comes first");
}

/** The one who adopts dies, too, when `isReached`: the next one goes on. */
async function adopterDies(
  world: World,
  isReached: (all: Cast) => Promise<boolean>,
  backs: boolean,
) {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  c.crash();
  await publish(publisher, "while it died", 2);
  b.store.writeMsMax = 40;
  const endMs = world.nowMs + 5_000;
  while (!(await isReached(all)) && world.nowMs < endMs) await world.run(1);
  b.crash();
  b.store.writeMsMax = 5;
  if (!backs) await isDown(all, b);
  else void c.boot();
  assert.equal(await client.connect({}, a), true, "its session is found");
  await hasCome(all, ["queued", "while it died"], "all comes, once");
  await settle(all);
  assert.equal(stage.owners(client.clientId).length, 1, "one node has it");
  await publish(publisher, "at last", 3);
  await hasCome(all, ["queued", "while it died", "at last"], "all comes, once");
}

/** Is its claim in the dead node's space? */
async function isClaimed({ stage, b, c, client }: Cast, by = b): Promise<boolean> {
  const partition = `session/${client.clientId}`;
  const content = stage.shared?.space(c.name).content;
  const rows = (await content?.read(partition, claimPrefix)) ?? [];
  return rows.some(([key]) => key.startsWith(claimPrefix) && key.endsWith(by.name));
}

/** Has it committed the session, or is that gone where it was? */
async function hasSwitched({ stage, b, c, client }: Cast): Promise<boolean> {
  const content = stage.shared?.space(c.name).content;
  const [row] = (await content?.read(`session/${client.clientId}`, metaKey, 1)) ?? [];
  return b.process?.sessions.get(client.clientId) !== undefined || row?.[0] !== metaKey;
}

const adopterDiesEarly = (world: World) => adopterDies(world, isClaimed, false);
const adopterDiesLate = (world: World) => adopterDies(world, hasSwitched, false);

/**
 * Who adopted it died, the next one adopted it from there, and dies before the first owner's store is rid of it. That one is back
 * first, and finds the claim of the one in between alone: what is published there is for the session wherever it is.
 */
async function adoptedTwice(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client } = all;
  c.crash();
  const endMs = world.nowMs + 5_000;
  while (!(await hasSwitched(all)) && world.nowMs < endMs) await world.run(1);
  b.crash();
  // Nothing of it is deleted there for some seconds.
  const fence = (a.process?.cluster.nextStamp() ?? 0) + 4e6;
  const partition = `session/${client.clientId}`;
  await stage.shared?.space(c.name).content.write([{ partition, fence, operations: [] }]);
  await world.until(() => stage.owners(client.clientId)[0] === a.name, 10_000, "it is adopted");
  await world.run(2_000);
  a.crash();
  void c.boot();
  await world.until(() => c.isListening, 30_000, "its clients may come");
  const origin = stage.actor("origin", c);
  await origin.connect({ expirySeconds: 0 });
  await publish(origin, "x", 1);
  void a.boot();
  await world.until(() => stateAt(a, c) === "up", 15_000, "the owner is back");
  await settle(all);
  assert.equal(await client.connect({}, a), true);
  await hasCome(all, ["x"], "what was published meanwhile has come");
  assert.equal(stage.owners(client.clientId).length, 1, "one node has it");
}

/** The old owner is dead. Who adopts its session dies when that is its own, and the third one with it; the old owner is back. */
async function dieAsItAdopts(all: Cast): Promise<void> {
  const { stage, a, b, c } = all;
  const { world } = stage;
  b.store.writeMsMax = 40;
  const endMs = world.nowMs + 5_000;
  while (!(await hasSwitched(all)) && world.nowMs < endMs) await world.run(1);
  for (const node of [a, b]) node.crash();
  b.store.writeMsMax = 5;
  void c.boot();
  await world.until(() => c.isListening, 30_000, "its clients may come");
}

/**
 * Who adopts a session has something for it in his own outbox, and dies before he took that: the old owner, who is back
 * first, leaves it there.
 */
async function adopterOwes(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client } = all;
  const origin = stage.actor("origin", b);
  await origin.connect({ expirySeconds: 0 });
  await inOutbox({ world, at: b, to: c }, origin);
  c.crash();
  world.heal();
  await dieAsItAdopts(all);
  await world.run(4_000);
  await settle(all);
  assert.equal(await client.connect({}, a), true);
  await hasCome(all, ["waits"], "what its adopter had for it has come");
  assert.equal(stage.owners(client.clientId).length, 1, "one node has it");
}

/** Who adopted the session is dead when the old owner is back, which takes `x` for it as a member of a group, and dies again. */
async function takeInDoubt(all: Cast): Promise<void> {
  const { stage, c } = all;
  c.crash();
  await dieAsItAdopts(all);
  const origin = stage.actor("origin", c);
  await origin.connect({ expirySeconds: 0 });
  await publish(origin, "x", 1);
  c.crash();
}

/** What the old owner takes in doubt is nobody else's: it comes also when that one is the first to be back again. */
async function takenInDoubt(world: World): Promise<void> {
  const all = await cast(world, "$share/g/t");
  await takeInDoubt(all);
  const { c } = all;
  void c.boot();
  await world.until(() => c.isListening, 30_000, "its clients may come again");
  await hasComeFromDoubt(all);
}

/** The same, but who adopted it is the first to be back, and rids the other's store of it. */
async function leftInDoubt(world: World): Promise<void> {
  const all = await cast(world, "$share/g/t");
  await takeInDoubt(all);
  const { a, b } = all;
  for (const node of [a, b]) void node.boot();
  await world.until(() => a.isListening && b.isListening, 30_000, "its clients may come again");
  await world.run(2_000);
  await hasComeFromDoubt(all);
}

async function hasComeFromDoubt(all: Cast): Promise<void> {
  const { stage, a, client } = all;
  await settle(all);
  assert.equal(await client.connect({}, a), true);
  await hasCome(all, ["x"], "what was taken in doubt has come");
  assert.equal(stage.owners(client.clientId).length, 1, "one node has it");
}

/** One died, and nothing is left of it, when the next one dies: what the first one had for that one's sessions is asked for. */
async function nextDies(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(b);
  const isDone = ({ process }: SessionNode): boolean =>
    process?.sessions.adoptions?.progressOf(b.name) === "done";
  await world.until(() => isDone(a) && isDone(c), 5_000, "nothing is left to adopt");
  await world.run(1_000);
  await stage.kill(c);
  assert.equal(await client.connect({}, a), true);
  await hasCome(all, ["queued"], "all comes");
  assert.deepEqual(stage.owners(client.clientId), [a.name]);
}

/** One adopts when a node joins, and is the home from then on: that one leaves the session to him. */
async function homeChanges(world: World): Promise<void> {
  const stage = await Stage.openShared(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const d = stage.add();
  await world.until(() => d.isListening, 10_000, "it listens");
  const isRight = (id: string): boolean =>
    home(id, [a.name, b.name]) === b.name && home(id, [a.name, b.name, d.name]) === d.name;
  const clientId = Array.from({ length: 1000 }, (_, i) => `c${i}`).find(isRight) ?? "";
  const client = stage.actor(clientId, c);
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  b.store.writeMsMax = 20_000;
  c.crash();
  const isCommitting = (): boolean =>
    b.process?.sessions.adoptions?.tries.get(clientId)?.isCommitting === true;
  await world.until(isCommitting, 5_000, "one adopts");
  await world.run(5);
  b.store.writeMsMax = 5;
  await d.join(a);
  await world.run(22_000);
  assert.deepEqual(stage.owners(clientId), [b.name], "who claimed it first has it");
}

/** What one had claimed came to nothing, as it lost the store; another one is the home by then. */
async function claimLeft(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(b);
  c.crash();
  const endMs = world.nowMs + 5_000;
  while (!(await isClaimed(all, a)) && world.nowMs < endMs) await world.run(1);
  a.setInReach(false);
  await world.run(300);
  void b.boot();
  await world.until(() => stateAt(a, b) === "up", 15_000, "the other one is back");
  a.setInReach(true);
  await world.until(() => b.isListening, 5_000, "its clients may come");
  assert.equal(await client.connect({}, b), true, "it is adopted in the end");
  await hasCome(all, ["queued"], "all comes, once");
  assert.equal(stage.owners(client.clientId).length, 1, "one of them has it");
}

/** Somebody has raised the fence of what is gone from a node: a session that was adopted there does not move back, and is not lost. */
async function fenceLeft(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await world.until(() => stage.owners(client.clientId)[0] === b.name, 5_000, "it is adopted");
  await settle(all);
  const fence = (b.process?.cluster.nextStamp() ?? 0) + 1e6;
  const partition = `session/${client.clientId}`;
  await stage.shared?.space(c.name).content.write([{ partition, fence, operations: [] }]);
  const moved = b.process?.sessions.moves?.push(client.clientId, c.name).catch(() => -1);
  await world.settled(moved ?? Promise.resolve(-1), 15_000, "an answer");
  assert.deepEqual(stage.owners(client.clientId), [b.name], "it stays where it is");
  assert.equal(await client.connect({}, b), true);
  await hasCome(all, ["queued"], "all comes, once");
}

/** A session has ended, and that is not stored yet when its node dies: it is there again, and no other one has begun. */
async function endNotStored(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client } = all;
  c.setInReach(false);
  c.process?.sessions.delete(client.clientId);
  client.connectSoon({}, a);
  await world.run(500);
  await stage.kill(c);
  const { sessionPresent } = await client.gets("connack", 8_000);
  assert.equal(sessionPresent, true, "it is there again");
  assert.deepEqual(stage.owners(client.clientId), [b.name], "no other one has begun");
}

export const adoptionScenes = {
  homeChanges,
  claimLeft,
  fenceLeft,
  endNotStored,
  nextDies,
  adopted,
  leased,
  outOfReach,
  storeAway,
  sentBefore,
  leftForLiving,
  leftForDead,
  rowsGone,
  memberAway,
  adopterDiesEarly,
  adopterDiesLate,
  adoptedTwice,
  adopterOwes,
  takenInDoubt,
  leftInDoubt,
};
