/** Scenes of clients that publish: what they are answered, when, and what becomes of those who publish too much. */
import assert from "node:assert/strict";
import type { Settings } from "../../support/front-end.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, Stage } from "./stage.js";

interface Cast {
  readonly stage: Stage;
  /** Of the publisher, and of the subscriber. */
  readonly a: SessionNode;
  readonly b: SessionNode;
  readonly subscriber: Actor;
}

/** Two nodes, and at the second a subscriber with a session that outlives its connection. */
async function cast(world: World, limits: Settings["limits"] = {}): Promise<Cast> {
  const stage = await Stage.open(world, 2, { limits });
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  const subscriber = stage.actor("subscriber", b);
  await subscriber.connect();
  await subscriber.subscribe("t", 2);
  return { stage, a, b, subscriber };
}

/** Nothing is accepted for a while: the subscriber's node does not answer, and is not down yet. */
function holdUp({ stage, a, b }: Cast): void {
  stage.world.cutLink(a.place, b.place);
}

const count = ({ got }: Actor, cmd: string): number => got.filter((one) => one.cmd === cmd).length;

/** No matching subscribers: only when nobody anywhere has a row, a node that is down included, and no group. */
async function nobodyMatches(world: World): Promise<void> {
  const { stage, a, b } = await cast(world);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  publisher.publish("nobody", "x", 1, 1);
  assert.equal((await publisher.gets("puback")).reasonCode, 0x10, "nobody matches");
  const member = stage.actor("member", b);
  await member.connect();
  await member.subscribe("$share/g/grouped", 1);
  publisher.publish("grouped", "x", 1, 2);
  assert.equal((await publisher.gets("puback")).reasonCode ?? 0, 0, "a group matches");
  await stage.kill(b);
  publisher.publish("t", "x", 1, 3);
  const { reasonCode } = await publisher.gets("puback", 10_000);
  assert.equal(reasonCode ?? 0, 0, "a row of a node that is down matches");
}

/** Without room in the outbox a publish is refused: MQTT 5 hears so, MQTT 3 hears nothing. */
async function refusals(world: World): Promise<void> {
  const { stage, a, b } = await cast(world, { outbox_messages: 1 });
  const [five, three] = [stage.actor("five", a), stage.actor("three", a, 4)];
  await five.connect();
  await three.connect();
  await stage.kill(b);
  five.publish("t", "1", 1, 1);
  assert.equal((await five.gets("puback")).reasonCode ?? 0, 0, "there is room for one");
  five.publish("t", "2", 1, 2);
  assert.equal((await five.gets("puback")).reasonCode, 0x97, "no room: 0x97");
  five.publish("t", "3", 2, 3);
  assert.equal((await five.gets("pubrec")).reasonCode, 0x97, "no room: 0x97");
  three.publish("t", "4", 1, 1);
  three.publish("t", "5", 2, 2);
  await world.run(1_000);
  const answers = count(three, "puback") + count(three, "pubrec");
  assert.equal(answers, 0, "no room: MQTT 3 gets no acknowledgement");
}

/** An MQTT 5 client was told how much it may have under way. */
async function tooMuch(world: World): Promise<void> {
  const all = await cast(world, { receive_maximum: 4 });
  const publisher = all.stage.actor("publisher", all.a);
  await publisher.connect();
  holdUp(all);
  for (let id = 1; id <= 5; id++) publisher.publish("t", `${id}`, id % 2 === 0 ? 2 : 1, id);
  const { reasonCode } = await publisher.gets("disconnect", 1_000);
  assert.equal(reasonCode, 0x93, "beyond its limit: 0x93");
}

/** An MQTT 3 client was told nothing: it is not read while too much is unanswered, and its silence then is ours. */
async function notRead(world: World): Promise<void> {
  const all = await cast(world, { receive_maximum: 4 });
  const { a, subscriber } = all;
  const publisher = all.stage.actor("publisher", a, 4);
  await publisher.connect({ keepAliveSeconds: 1 });
  holdUp(all);
  const before = a.process?.router.counters.published ?? 0;
  for (let id = 1; id <= 12; id++) publisher.publish("t", `${id}`, 1, id);
  await world.run(2_400);
  const taken = (a.process?.router.counters.published ?? 0) - before;
  assert.equal(taken, 4, "read up to the limit");
  assert.equal(publisher.state, "online", "keep-alive counts while it is not read");
  world.heal();
  await world.until(() => count(publisher, "puback") === 12, 5_000, "read on when it is answered");
  await world.until(() => subscriber.payloads().length === 12, 1_000, "all of it comes");
}

/** QoS 2 counts until PUBREC only, or PUBREL could not get through; the ids that are open then have their own limit. */
async function openIds(world: World): Promise<void> {
  const { stage, a } = await cast(world, { receive_maximum: 4, open_qos2: 6 });
  const publisher = stage.actor("publisher", a, 4);
  await publisher.connect();
  publisher.answers = false;
  for (let id = 1; id <= 6; id++) publisher.publish("t", `${id}`, 2, id);
  await world.until(
    () => count(publisher, "pubrec") === 6,
    1_000,
    "PUBREC of all that may be open",
  );
  publisher.send({ cmd: "pingreq" });
  publisher.send({ cmd: "pubrel", messageId: 1 });
  const isRead = (): boolean => count(publisher, "pingresp") + count(publisher, "pubcomp") === 2;
  await world.until(isRead, 1_000, "PINGREQ and PUBREL get through");
  for (let id = 7; id <= 8; id++) publisher.publish("t", `${id}`, 2, id);
  await world.until(() => publisher.state === "offline", 1_000, "open ids have a limit");
}

/** A subscriber that is slow but alive slows its publishers down; of what is due to it nothing is lost. */
async function slowQueue(world: World): Promise<void> {
  const stage = await Stage.open(world, 1, { limits: { session_queue_messages: 2 } });
  const [a] = stage.nodes as [SessionNode]; // one
  const [subscriber, publisher] = [stage.actor("subscriber", a), stage.actor("publisher", a)];
  await subscriber.connect({ receiveMaximum: 1 });
  await subscriber.subscribe("t", 1);
  await publisher.connect();
  subscriber.answers = false;
  for (let id = 1; id <= 8; id++) publisher.publish("t", `${id}`, 1, id);
  for (let id = 1; id <= 8; id++) {
    const { messageId = 0 } = await subscriber.gets("publish");
    await world.run(300);
    subscriber.send({ cmd: "puback", messageId });
  }
  const expected = [1, 2, 3, 4, 5, 6, 7, 8].map(String);
  assert.deepEqual(subscriber.payloads(), expected, "a full queue delays acceptance");
  assert.equal(count(publisher, "puback"), 8);
}

/** One that acknowledges nothing at all delays nobody for long: the oldest goes. */
async function fullQueue(world: World): Promise<void> {
  const stage = await Stage.open(world, 1, { limits: { session_queue_messages: 2 } });
  const [a] = stage.nodes as [SessionNode]; // one
  const [subscriber, publisher] = [stage.actor("subscriber", a), stage.actor("publisher", a)];
  await subscriber.connect({ receiveMaximum: 1 });
  await subscriber.subscribe("t", 1);
  await publisher.connect();
  subscriber.answers = false;
  for (let id = 1; id <= 8; id++) publisher.publish("t", `${id}`, 1, id);
  await world.run(3_000);
  assert.equal(count(publisher, "puback"), 8, "the drop policy applies");
  subscriber.answers = true;
  subscriber.send({ cmd: "puback", messageId: 1 });
  await world.run(500);
  assert.deepEqual(
    subscriber.payloads(),
    ["1", "7", "8"],
    "the drop policy applies: the oldest go",
  );
}

/** PUBREC says that all have accepted it, not that it is stored here. */
async function pubrecLast(world: World): Promise<void> {
  const all = await cast(world);
  const publisher = all.stage.actor("publisher", all.a);
  await publisher.connect();
  holdUp(all);
  publisher.publish("t", "x", 2, 1);
  await world.run(1_000);
  assert.equal(count(publisher, "pubrec"), 0, "PUBREC after all have accepted it");
}

/** A QoS 2 message is committed before anybody gets it: its node may die then. */
async function committedFirst(world: World): Promise<void> {
  const { stage, a, subscriber } = await cast(world);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  a.store.writeMsMax = 300;
  publisher.publish("t", "x", 2, 1);
  await world.until(() => subscriber.payloads().length > 0, 2_000, "it comes");
  a.crash();
  a.store.writeMsMax = 5;
  await stage.startAll();
  await publisher.connect();
  publisher.publish("t", "x", 2, 1);
  await publisher.gets("pubrec");
  await world.run(500);
  assert.deepEqual(subscriber.payloads(), ["x"], "committed before it is forwarded, and once");
}

/**
 * A QoS 2 message is committed, and its node dies before anybody has it. Another client of that node, which is connected elsewhere,
 * publishes while the node starts: that comes later.
 */
async function leftFirst(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, , c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const subscriber = stage.actor("subscriber", a);
  await subscriber.connect();
  await subscriber.subscribe("t", 2);
  const quick = stage.actor(stage.idAt(a), c);
  await quick.connect();
  await quick.leave();
  const publisher = stage.actor("publisher", c);
  await publisher.connect();
  stage.isolate(c);
  publisher.publish("t", "left", 2, 1);
  await world.run(100);
  await stage.kill(c);
  // It waits for one of the two when it starts, and lets nobody in who is not connected elsewhere.
  world.mendLink(a.place, c.place);
  void c.boot();
  await world.until(() => a.namesUp().includes(c.name), 3_000, "one sees it up");
  assert.equal(await quick.connect({}, a), true);
  quick.publish("t", "new", 2, 1);
  await world.run(500);
  assert.equal(c.isListening, false);
  world.heal();
  await stage.allUp();
  await quick.gets("pubcomp", 8_000);
  await world.run(1_000);
  const expected = ["left", "new"];
  assert.deepEqual(subscriber.payloads(), expected, "what is left comes before anything new");
}

/** A QoS 2 exchange is the session's: begun at one node, it goes on at another. */
async function throughSession(world: World): Promise<void> {
  const { stage, a, b, subscriber } = await cast(world);
  const publisher = stage.actor("publisher", b);
  await publisher.connect();
  await publisher.leave();
  assert.equal(await publisher.connect({}, a), true);
  publisher.answers = false;
  publisher.publish("t", "x", 2, 1);
  await publisher.gets("pubrec");
  publisher.drop();
  assert.equal(await publisher.connect({}, b), true);
  publisher.publish("t", "x", 2, 1);
  await publisher.gets("pubrec");
  await world.run(500);
  assert.deepEqual(
    subscriber.payloads(),
    ["x"],
    "a QoS 2 publish passes through its session's node",
  );
}

/** What is accepted first is not answered before what came first. */
async function inOrder(world: World): Promise<void> {
  const both = await cast(world);
  const { stage, a } = both;
  const near = stage.actor("near", a);
  await near.connect();
  await near.subscribe("near", 1);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  holdUp(both);
  publisher.publish("t", "x", 1, 1);
  publisher.publish("near", "y", 1, 2);
  await world.run(500);
  assert.deepEqual(near.payloads(), ["y"]);
  world.heal();
  const ids: (number | undefined)[] = [];
  for (let i = 0; i < 2; i++) ids.push((await publisher.gets("puback", 8_000)).messageId);
  assert.deepEqual(ids, [1, 2], "answers leave in the order of the publishes");
}

export const publisherScenes = {
  inOrder,
  nobodyMatches,
  refusals,
  tooMuch,
  notRead,
  openIds,
  slowQueue,
  fullQueue,
  pubrecLast,
  committedFirst,
  leftFirst,
  throughSession,
};
