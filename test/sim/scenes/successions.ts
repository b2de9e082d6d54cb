/** Scenes of a client whose session's node was out of reach, and who has a younger session elsewhere when it is back. */
import assert from "node:assert/strict";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, Stage } from "./stage.js";

interface Cast {
  readonly stage: Stage;
  /** Of the publisher; the home. */
  readonly a: SessionNode;
  /** Of the younger session. */
  readonly b: SessionNode;
  /** Of the older session. */
  readonly c: SessionNode;
  readonly client: Actor;
  readonly publisher: Actor;
}

/** The client has subscribed at c, and is away. */
async function cast(world: World): Promise<Cast> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor(stage.idAt(a), c);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  return { stage, a, b, c, client, publisher };
}

/** Waits until its publish is answered. */
async function publish(publisher: Actor, payload: string, id: number): Promise<void> {
  publisher.publish("t", payload, 2, id);
  await publisher.gets("pubcomp");
}

/** All run, and have had time to say what they have to say. */
async function settle({ stage, b, client }: Cast): Promise<void> {
  await stage.startAll();
  await stage.allUp();
  await stage.world.run(4_000);
  assert.deepEqual(
    stage.owners(client.clientId),
    [b.name],
    "there is one session, the younger one",
  );
}

/** Nobody waits for a node that is down: there is a new session. */
async function ownerDown(world: World): Promise<void> {
  const { stage, b, c, client } = await cast(world);
  await stage.kill(c);
  const before = client.got.length;
  client.connectSoon({}, b);
  await world.run(500);
  const [greeting] = client.got.slice(before);
  const isNew = greeting?.cmd === "connack" && !greeting.sessionPresent;
  assert.ok(isNew && client.state !== "offline", "CONNECT succeeds, with a new session");
}

/** What was published before the younger session's first subscription is the older one's, all else the younger one's. */
async function cutOff(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await publish(publisher, "while it was down", 2);
  assert.equal(await client.connect({}, b), false);
  await publish(publisher, "before it subscribed", 3);
  await client.subscribe("t", 2);
  await publish(publisher, "afterwards", 4);
  await settle(all);
  await publish(publisher, "at last", 5);
  await world.run(300);
  const expected = [
    ...["queued", "while it was down", "before it subscribed", "afterwards", "at last"],
  ].sort();
  assert.deepEqual(client.payloads().sort(), expected, "the older session takes up to the cut");
}

/** The answer that all is taken is lost: it is given again, and not taken again. */
async function givenAgain(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await client.connect({}, b);
  await client.subscribe("t", 2);
  void c.boot();
  const taken = (): number => b.process?.sessions.superseded?.counters.takenOver ?? 0;
  await world.until(() => taken() > 0, 10_000, "it is handed over");
  world.breakPipes(b.place, c.place);
  await settle(all);
  assert.deepEqual(client.payloads(), ["queued"], "its queue is handed over once");
}

/** Its node dies before it has heard that all is taken: it is given again, with what came since, and taken once. */
async function givenAgainAtStart(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await client.connect({}, b);
  await client.subscribe("t", 2);
  void c.boot();
  const taken = (): number => b.process?.sessions.superseded?.counters.takenOver ?? 0;
  await world.until(() => taken() > 0, 10_000, "it is handed over");
  await stage.kill(c);
  const isQueued = c.lives.some(({ sessions }) => (sessions.get(client.clientId)?.queued ?? 0) > 0);
  assert.ok(isQueued, "the older session is there still");
  await settle(all);
  assert.deepEqual(client.payloads(), ["queued"], "its queue is handed over once");
}

/**
 * Its node dies before it has heard that all is taken, and so does that of the younger one, later. A third session gets what both
 * have, each once: `late` reads what it has to hand over last.
 */
async function thirdSession(world: World, late: "first" | "second"): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await client.connect({}, b);
  await client.subscribe("t", 2);
  await client.leave();
  await publish(publisher, "younger", 2);
  void c.boot();
  const taken = (): number => b.process?.sessions.superseded?.counters.takenOver ?? 0;
  await world.until(() => taken() > 0, 10_000, "it is handed over");
  await stage.kill(c);
  await publish(publisher, "between", 3);
  await stage.kill(b);
  assert.equal(await client.connect({}, a), false);
  await client.subscribe("t", 2);
  const slow = late === "first" ? c : b;
  void b.boot();
  await world.until(() => a.namesUp().includes(b.name), 10_000, "the second one's node is back");
  await stage.startAll();
  slow.store.readMsMax = 4_000;
  await stage.allUp();
  await world.run(20_000);
  slow.store.readMsMax = 0;
  const isOne = (): boolean => stage.owners(client.clientId).length === 1;
  await world.until(isOne, 30_000, "there is one session, the youngest");
  await publish(publisher, "at last", 4);
  await world.run(300);
  const expected = ["at last", "between", "queued", "younger"];
  assert.deepEqual(client.payloads().sort(), expected, "a queue is handed over once");
}

const firstOfThree = (world: World): Promise<void> => thirdSession(world, "second");
const secondOfThree = (world: World): Promise<void> => thirdSession(world, "first");

/** Clean Start wants nothing of what was before. */
async function cleanWinner(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, b, c, client, publisher } = all;
  await publish(publisher, "queued", 1);
  await stage.kill(c);
  await client.connect({ clean: true }, b);
  await settle(all);
  assert.deepEqual(client.payloads(), [], "after Clean Start the old one is discarded");
}

/** The younger session has ended when the older one is back, and its node is away. */
async function tombstone(world: World): Promise<void> {
  const { stage, a, b, c, client } = await cast(world);
  await stage.kill(c);
  await client.connect({}, b);
  await client.leave(true);
  await stage.kill(b);
  void c.boot();
  await world.until(() => c.isListening, 15_000, "c listens");
  await world.run(1_000);
  assert.deepEqual(stage.owners(client.clientId), [], "an ended session leaves a tombstone");
  assert.equal(await client.connect({}, a), false);
}

/** Both halves have served the client: the younger connection stays, the other one hears why not. */
async function twoHalves(world: World): Promise<void> {
  const all = await cast(world);
  const { stage, a, b, c, client, publisher } = all;
  assert.equal(await client.connect({}, c), true);
  world.partition([a.place, b.place], [c.place]);
  const isAlone = (): boolean => c.namesUp().length === 1 && a.namesUp().length === 2;
  await world.until(isAlone, 10_000, "cut in two");
  const younger = stage.actor(client.clientId, b);
  assert.equal(await younger.connect(), false);
  await younger.subscribe("t", 2);
  world.heal();
  await settle(all);
  await publish(publisher, "x", 1);
  await world.run(300);
  const [last] = client.got.slice(-1);
  const why = last?.cmd === "disconnect" ? last.reasonCode : 0;
  assert.deepEqual(
    [client.state, why],
    ["offline", 0x8e],
    "the higher epoch wins, the other gets 0x8E",
  );
  assert.equal(younger.state, "online", "the higher epoch wins");
  assert.deepEqual(younger.payloads(), ["x"]);
}

export const successionScenes = {
  ownerDown,
  cutOff,
  givenAgain,
  givenAgainAtStart,
  firstOfThree,
  secondOfThree,
  cleanWinner,
  tombstone,
  twoHalves,
};
