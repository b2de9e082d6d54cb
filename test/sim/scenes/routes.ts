/** Routes: what nodes know of each other's subscribers, and since when. */
import assert from "node:assert/strict";
import { allUp } from "../cluster-node.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { accepted, numbers, publishAll, three, two } from "./cast.js";
import { type Actor, Stage } from "./stage.js";

/** A node that left, or was removed, has no rows any more. */
async function rowsGo(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  for (const node of [b, c]) await node.subscribe("s", "t", 1, true);
  assert.equal(a.publish("t", "x", 0).matched, 2);
  await b.leave();
  await a.remove(c);
  await world.run(500);
  assert.equal(a.publish("t", "x", 0).matched, 0, "the rows of nodes that are no members go");
}

/** … and so have those of one that is away for too long, also over a restart of who holds them, until it is back. */
async function rowsForgotten(world: World): Promise<void> {
  const { a, b } = await two(world, { settings: { forgetAfterMs: 60_000, outboxAgeMs: 60_000 } });
  await b.subscribe("s", "t", 1, true);
  b.crash();
  await world.run(50_000);
  assert.equal(a.publish("t", "kept").matched, 1, "rows stay while their node may come back");
  await world.run(20_000);
  assert.equal(a.publish("t", "x").matched, 0, "the rows of a node that is away for too long go");
  await a.restart();
  assert.equal(a.publish("t", "x").matched, 0, "the rows of a node that is away for too long go");
  await b.start();
  await b.subscribe("s", "t", 1, true);
  await allUp(world, [a, b], 30_000);
  await accepted(world, [a.publish("t", "new")]);
  assert.deepEqual(b.subscriber("s").payloads, ["kept", "new"]);
}

/** SUBACK waits for a node that is suspect: it may come back without having been down. */
async function suspectToo(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  world.cutLink(a.place, c.place);
  await world.until(() => a.state(c) === "suspect", 5_000, "c is suspect");
  const one = a.subscribeSoon("s1", "t");
  await world.run(200);
  // The row is there, and its first subscriber waits: so does this one.
  const other = a.subscribeSoon("s2", "t");
  await world.run(200);
  assert.deepEqual([one.synced, other.synced], [false, false], "SUBACK waits for a suspect");
  world.mendLink(a.place, c.place);
  await world.until(() => one.synced && other.synced, 550, "SUBACK when all hold the row");
  await accepted(world, [c.publish("t", "x"), b.publish("t", "y")]);
  for (const { subscriber } of [one, other]) {
    assert.deepEqual([...subscriber.payloads].sort(), ["x", "y"]);
  }
}

/** … also one whose row was there already, and is not known to all yet. */
async function whoeverCausedIt(world: World): Promise<void> {
  const { a, c } = await three(world);
  world.cutLink(a.place, c.place);
  const one = a.subscribeSoon("s1", "t");
  await world.run(200);
  const other = a.subscribeSoon("s2", "t");
  await world.run(200);
  assert.deepEqual(
    [one.synced, other.synced],
    [false, false],
    "SUBACK waits, whoever made the row",
  );
}

/** … and not for ever. */
async function notForEver(world: World): Promise<void> {
  const { a, c } = await three(world);
  world.cutLink(a.place, c.place);
  await a.subscribe("s", "t");
  assert.equal(a.cluster.table.counters.syncTimeouts, 1, "SUBACK waits for a second at most");
}

/** A snapshot that is acknowledged holds all rows: nobody waits longer. */
async function snapshotCounts(world: World): Promise<void> {
  const { a, b } = await two(world);
  world.breakPipes(a.place, b.place);
  await world.until(() => a.cluster.peer(b.name)?.link === null, 1_000, "the link is gone");
  await a.subscribe("s", "t");
  const { syncTimeouts } = a.cluster.table.counters;
  assert.equal(syncTimeouts, 0, "the acknowledgement of a snapshot counts");
  await accepted(world, [b.publish("t", "x")]);
  assert.deepEqual(a.subscriber("s").payloads, ["x"]);
}

/** What changes in one turn is one message, and what changes nothing is none. */
async function oneDelta(world: World): Promise<void> {
  const { a } = await two(world);
  const sent = (): number => a.cluster.table.counters.deltasSent;
  const before = sent();
  for (const number of numbers(50)) a.subscribeSoon("s", `t/${number}`);
  await world.run(100);
  assert.equal(sent() - before, 1, "the changes of one turn are one delta");
  for (const number of numbers(20)) a.subscribeSoon(`s${number}`, "t/0");
  await world.run(100);
  assert.equal(sent() - before, 1, "what peers know is not told again");
}

/** An operator may have a copy compared at once. */
async function verified(world: World): Promise<void> {
  const { a, b } = await two(world);
  await b.subscribe("s", "t");
  const peer = a.cluster.peer(b.name);
  assert.ok(peer !== undefined);
  const seen: string[] = [];
  Reflect.set(peer.rows, "hash", 1);
  peer.verifyRows((equal) => seen.push(String(equal)));
  await world.until(() => seen.length === 1, 1_000, "an answer");
  assert.deepEqual(seen, ["false"], "a copy is compared when it is asked for");
  await world.until(() => peer.rows.seq >= 0, 1_000, "a snapshot");
  peer.verifyRows((equal) => seen.push(String(equal)));
  await world.until(() => seen.length === 2, 1_000, "another answer");
  assert.deepEqual(seen, ["false", "true"]);
}

/** A topic that begins with $ is for those alone who name that level. */
async function systemTopics(world: World): Promise<void> {
  const { a, b } = await two(world);
  const wild = [await b.subscribe("s1", "#"), await b.subscribe("s2", "+/x")];
  const named = [await b.subscribe("s3", "$own/#"), await b.subscribe("s4", "$own/+")];
  await accepted(world, [a.publish("$own/x", "x", 1, true)]);
  await world.run(100);
  for (const { payloads } of wild) assert.deepEqual(payloads, [], "$ topics match no wildcard");
  for (const { payloads } of named) assert.deepEqual(payloads, ["x"]);
  const held = (filter: string): number => [...b.router.retained.matching(filter)].length;
  assert.deepEqual(["#", "+/x", "$own/#"].map(held), [0, 0, 1], "nor what is retained there");
}

/** A node that starts lets nobody in before it knows who is subscribed where. */
async function knowsFirst(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const [here, publisher] = [stage.actor("here", b), stage.actor("publisher", a)];
  await here.connect({ expirySeconds: 0 });
  await here.subscribe("t", 1);
  await stage.kill(a);
  await stage.startAll();
  await publisher.connect();
  await publishAll(world, publisher, [["t", "x"]], 1);
  await world.run(100);
  assert.deepEqual(here.payloads(), ["x"], "a node that starts knows first who is subscribed");
}

/** … and does not wait for ever for a member that is there, and cannot store what it hears. */
async function startsInTime(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const keeper = stage.actor("keeper", a);
  await stage.kill(b);
  await keeper.connect();
  await keeper.subscribe("t", 1);
  a.crash();
  void b.boot();
  await world.until(() => b.isListening, 10_000, "b listens");
  b.store.failing = "unavailable";
  void a.boot();
  const seen = "a node that starts waits five seconds for its members";
  await world.until(() => a.isListening, 6_000, seen);
}

/** A node that starts is linked when it has its durable rows: others know it by them all the time. */
async function ownRowsFirst(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const [keeper, publisher] = [stage.actor("keeper", b), stage.actor("publisher", a)];
  await keeper.connect();
  await keeper.subscribe("t", 1);
  await keeper.leave();
  await publisher.connect();
  b.store.readMsMax = 10;
  b.crash();
  void b.boot();
  const count = 30;
  for (const number of numbers(count)) {
    publisher.publish("t", number, 1, 1 + Number(number));
    await world.run(20);
  }
  await stage.startAll();
  await stage.allUp();
  await keeper.connect();
  await world.until(
    () => isComplete(keeper, count),
    3_000,
    "what was published while its node started",
  );
}

const isComplete = (actor: Actor, count: number): boolean =>
  new Set(actor.payloads()).size === count;

export const routeScenes = {
  ...{ rowsGo, rowsForgotten, suspectToo, whoeverCausedIt, notForEver, snapshotCounts },
  ...{ oneDelta, verified, systemTopics },
  ...{ knowsFirst, startsInTime, ownRowsFirst },
};
