/**
 * Scenes of a client that is given its older session again, as the node of its younger one died while the older one was being
 * handed over to that.
 */
import assert from "node:assert/strict";
import { Joiner } from "../../../src/cluster/joiner.js";
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

/** The older session has two messages, the younger one is connected or away, and the older one's node is about to be back. */
async function cast(world: World, staysOnline: boolean): Promise<Cast> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor(stage.idAt(a), c);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  await publish(publisher, "first", 1);
  await publish(publisher, "second", 2);
  await stage.kill(c);
  assert.equal(await client.connect({}, b), false);
  await client.subscribe("t", 2);
  if (!staysOnline) await client.leave();
  return { stage, a, b, c, client, publisher };
}

async function publish(publisher: Actor, payload: string, id: number): Promise<void> {
  publisher.publish("t", payload, 2, id);
  await publisher.gets("pubcomp");
}

const takenOver = ({ b }: Cast): number => b.process?.sessions.superseded?.counters.takenOver ?? 0;

/**
 * The younger one has taken what there is, and durably; the older one does not hear of it before that one's node is dead. The client
 * is given the older one. False: that one's node has heard of it just before the cut.
 */
async function dieAfterTaking(world: World, all: Cast): Promise<boolean> {
  const { stage, b, c, client } = all;
  void c.boot();
  await world.until(() => takenOver(all) === 2, 10_000, "it is handed over");
  world.cutLink(b.place, c.place);
  // What has begun to come may come once more.
  const released = (): number => client.got.filter(({ cmd }) => cmd === "pubrel").length;
  const isDone = (): boolean => client.state === "offline" || released() === 2;
  await world.until(isDone, 3_000, "the younger session has delivered it");
  await world.run(100);
  await stage.kill(b);
  world.heal();
  if (!stage.owners(client.clientId).includes(c.name)) return false;
  assert.equal(await client.connect({}, c), true, "the client is given the older session");
  return true;
}

/** What is new does not wait. */
async function goOn(world: World, { client, publisher }: Cast): Promise<void> {
  await publish(publisher, "meanwhile", 3);
  await world.run(300);
  assert.equal(client.payloads().filter((one) => one === "meanwhile").length, 1, "it goes on");
}

/** All are back, and the last session is left. */
async function settle(world: World, { stage, client }: Cast, last: SessionNode): Promise<void> {
  await stage.startAll();
  await stage.allUp();
  const isOne = (): boolean => stage.owners(client.clientId).join() === last.name;
  await world.until(isOne, 30_000, "there is one session, the last one");
  await world.run(3_000);
}

/** What both sessions took while they did not know of each other is not looked at. */
function check({ client }: Cast, ...due: string[]): void {
  const got = client.payloads().filter((payload) => payload !== "meanwhile");
  assert.deepEqual(got.sort(), due, "what was being handed over comes once");
}

/** The client has had it from the younger session. */
async function deliveredBefore(world: World): Promise<void> {
  const all = await cast(world, true);
  if (!(await dieAfterTaking(world, all))) return;
  await goOn(world, all);
  check(all, "first", "second");
  await settle(world, all, all.c);
  check(all, "first", "second");
}

/** The younger session has it still. */
async function waitsThere(world: World): Promise<void> {
  const all = await cast(world, false);
  if (!(await dieAfterTaking(world, all))) return;
  await goOn(world, all);
  assert.deepEqual(all.client.payloads(), ["meanwhile"], "what is in doubt waits");
  await settle(world, all, all.c);
  check(all, "first", "second");
}

/** So it is when the node of the older session has died once more meanwhile; and the session stays where it is. */
async function waitsThereAfterStart(world: World): Promise<void> {
  const all = await cast(world, false);
  const { stage, a, b, c, client } = all;
  if (!(await dieAfterTaking(world, all))) return;
  await goOn(world, all);
  await stage.kill(c);
  void c.boot();
  await world.until(() => c.isListening, 15_000, "c listens");
  const pulled = a.process?.sessions.pull(client.clientId, c.name, null);
  const outcome = pulled && (await world.settled(pulled, 30_000, "a move"));
  assert.ok(outcome && "refused" in outcome, "it does not move while something is in doubt");
  assert.equal(outcome.refused, `a session at ${b.name} may have what waits in it`);
  assert.equal(await client.connect({}, c), true);
  await world.run(2_000);
  assert.deepEqual(client.payloads(), ["meanwhile"], "what is in doubt waits");
  await settle(world, all, c);
  check(all, "first", "second");
}

/** The younger session's node dies before it is durable that it has taken it. */
async function dieBeforeTaking(world: World): Promise<Cast> {
  const all = await cast(world, false);
  const { stage, b, c, client } = all;
  void c.boot();
  const giving = (): boolean =>
    (c.process?.sessions.get(client.clientId)?.succession?.giving ?? null) !== null;
  await world.until(giving, 10_000, "it is about to be given");
  b.store.writeMsMax = 1e9;
  await world.until(() => takenOver(all) === 2, 10_000, "it is handed over");
  await stage.kill(b);
  b.store.writeMsMax = 5;
  assert.equal(await client.connect({}, c), true, "the client is given the older session");
  await goOn(world, all);
  assert.deepEqual(client.payloads(), ["meanwhile"], "what is in doubt waits");
  return all;
}

async function notTaken(world: World): Promise<void> {
  const all = await dieBeforeTaking(world);
  await settle(world, all, all.c);
  check(all, "first", "second");
}

/** The younger session's node is not waited for when it is no member any more. */
async function takerRemoved(world: World): Promise<void> {
  const all = await dieBeforeTaking(world);
  const { a, b } = all;
  assert.ok(a.process !== null);
  const removed = new Joiner(a.process.cluster).remove(b.name);
  await world.settled(removed, 30_000, `removal of ${b.name}`);
  await world.run(3_000);
  check(all, "first", "second");
}

/** The younger session's node dies at any moment, and maybe the older one's too, and is back before or after the client. */
async function anyMoment(world: World): Promise<void> {
  const all = await cast(world, false);
  const { stage, b, c, client } = all;
  const { dice } = world;
  b.store.writeMsMax = dice.pick([1, 5, 50]);
  void c.boot();
  const isSuperseded = (): boolean =>
    (c.process?.sessions.superseded?.youngerAt(client.clientId) ?? null) !== null;
  await world.until(isSuperseded, 10_000, "there is a younger session");
  await world.run(dice.between(0, 30) + dice.pick([0, 1_000]));
  await stage.kill(b);
  if (dice.chance(0.3)) {
    await stage.kill(c);
    void c.boot();
  }
  await world.until(() => c.isListening, 15_000, "c listens");
  await client.connect({}, c);
  if (dice.chance(0.3)) await client.leave();
  await world.run(dice.pick([0, 300, 3_000]));
  void b.boot();
  await world.run(dice.between(0, 2_000));
  if (client.state === "offline") await client.connect({}, c);
  await settle(world, all, c);
  check(all, "first", "second");
}

/** What the younger session alone is subscribed to is not lost while the client has the older one. */
async function moreThere(world: World): Promise<void> {
  const all = await cast(world, true);
  const { stage, b, c, client, publisher } = all;
  await client.subscribe("more", 2);
  await client.leave();
  await stage.kill(b);
  void c.boot();
  await world.until(() => c.isListening, 15_000, "c listens");
  assert.equal(await client.connect({}, c), true);
  publisher.publish("more", "more", 2, 3);
  await publisher.gets("pubcomp");
  await settle(world, all, c);
  check(all, "first", "more", "second");
}

/** The client begins a third session, while it is in doubt which of the other two has what was being handed over. */
async function thirdInDoubt(world: World): Promise<void> {
  const all = await cast(world, false);
  const { stage, a, c, client, publisher } = all;
  if (!(await dieAfterTaking(world, all))) return;
  await stage.kill(c);
  assert.equal(await client.connect({}, a), false);
  await client.subscribe("t", 2);
  await publish(publisher, "at last", 3);
  await settle(world, all, a);
  check(all, "at last", "first", "second");
}

export const givenBackScenes = {
  deliveredBefore,
  waitsThere,
  waitsThereAfterStart,
  notTaken,
  takerRemoved,
  anyMoment,
  moreThere,
  thirdInDoubt,
};
