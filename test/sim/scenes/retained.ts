/** Retained messages over nodes: that all hold the same, and that who subscribes misses nothing of what there is. */
import assert from "node:assert/strict";
import { payloadOf } from "../fakes.js";
import { ClusterNode, nodeName } from "../cluster-node.js";
import type { Packet } from "../sessions/connection.js";
import { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { accepted, numbers, publishAll, three, two } from "./cast.js";
import { Stage } from "./stage.js";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** It goes to nodes without a subscriber too, and none of them waits for another link. */
async function everywhere(world: World): Promise<void> {
  const { a, b, c } = await three(world);
  await b.subscribe("s", "other", 1);
  await accepted(world, [a.publish("t", "x", 1, true)]);
  await world.run(50);
  for (const node of [a, b, c]) {
    const held = [...node.retained().values()].map((text) => text.split(" ")[1]);
    assert.deepEqual(held, ["x"], "a retained message is at every node");
  }
}

/** One frame: a subscriber gets it once. */
async function oneFrame(world: World): Promise<void> {
  const { a, b } = await two(world);
  const subscriber = await b.subscribe("s", "t", 1);
  const before = a.forwardsTo(b);
  await accepted(world, [a.publish("t", "x", 1, true)]);
  assert.deepEqual(subscriber.payloads, ["x"], "a retained message comes in one frame");
  assert.equal(a.forwardsTo(b) - before, 1, "a retained message comes in one frame");
}

/** Whoever subscribes reads what there is, and gets what comes: nothing falls between the two. */
async function oneTurn(world: World): Promise<void> {
  const { a, b } = await two(world);
  const began: { readonly read: number; readonly got: () => readonly string[] }[] = [];
  const count = 60;
  for (let i = 0; i < count; i++) {
    a.publish("t", `${i}`, 1, true);
    const { subscriber } = b.subscribeSoon(`s${i}`, "t");
    const held = b.router.retained.get("t")?.message;
    const read = held === undefined || held === null ? -1 : Number(held.bytes.toString());
    began.push({ read, got: () => subscriber.payloads });
    await world.run(world.dice.between(0, 4));
  }
  await world.run(500);
  for (const { read, got } of began) {
    const missing = numbers(count)
      .slice(read + 1)
      .filter((number) => !got().includes(number));
    assert.deepEqual(missing, [], "what is stored is delivered at once");
  }
}

/** A client's SUBSCRIBE: the newest of a topic comes, as what there was or as what is published. */
async function newest(world: World): Promise<void> {
  const stage = await Stage.open(world, 1);
  const node = stage.nodes[0] as SessionNode; // there is one
  const publisher = stage.actor("publisher", node);
  await publisher.connect();
  const subscribers = numbers(30).map((number) => stage.actor(`s${number}`, node));
  for (const subscriber of subscribers) await subscriber.connect();
  const subscriptions = [{ topic: "t", qos: 1 as const }];
  for (const [i, subscriber] of subscribers.entries()) {
    publisher.publish("t", `${i}`, 1, i + 1, true);
    subscriber.send({ cmd: "subscribe", messageId: 1, subscriptions });
    await world.run(world.dice.between(0, 3));
  }
  await world.run(200);
  for (const subscriber of subscribers) {
    const values = [...new Set(subscriber.payloads().map(Number))];
    const first = values[0] ?? -1;
    assert.ok(first >= 0, "who subscribes gets what there is");
    const all = numbers(subscribers.length).map(Number);
    assert.deepEqual(values, all.slice(first), "who subscribes misses nothing after the first");
  }
}

/** What is replayed slowly is what there is when it is sent, never what there was before. */
async function asItIs(world: World): Promise<void> {
  const stage = await Stage.open(world, 1);
  const node = stage.nodes[0] as SessionNode; // there is one
  const [publisher, slow] = [stage.actor("publisher", node), stage.actor("slow", node)];
  await publisher.connect();
  await slow.connect({ receiveMaximum: 2 });
  const topics = numbers(8).map((number) => `t/${number}`);
  const old = topics.map((topic) => [topic, "old"] as const);
  await publishAll(world, publisher, old, 1, true);
  slow.answers = false;
  await slow.subscribe("t/#", 1);
  await world.until(() => slow.payloads().length === 2, 1_000, "the first of what is retained");
  for (const topic of topics) publisher.publish(topic, "new", 0, 0, true);
  publisher.publish("t/7", "", 0, 0, true);
  const isDeleted = (): boolean => node.process?.router.retained.get("t/7")?.message === null;
  await world.until(isDeleted, 1_000, "all are replaced, and the last is deleted");
  slow.answers = true;
  for (const { messageId = 0 } of slow.got.filter(isQos1)) slow.send({ cmd: "puback", messageId });
  await world.run(200);
  assert.equal(
    slow.payloads().filter((payload) => payload === "old").length,
    2,
    "a replay sends what there is then",
  );
  assert.ok(slow.payloads().length >= 2 + 8 + 5, `${slow.payloads().length}`);
}

const isQos1 = (packet: Packet): boolean => packet.cmd === "publish" && packet.qos === 1;

/** However much is retained, no more of it is under way than the client takes: with QoS 0 that would be lost. */
async function paced(world: World): Promise<void> {
  const stage = await Stage.open(world, 1, { limits: { connection_output_bytes: 65_536 } });
  const node = stage.nodes[0] as SessionNode; // there is one
  const [publisher, reader] = [stage.actor("publisher", node), stage.actor("reader", node)];
  for (const actor of [publisher, reader]) await actor.connect();
  const count = 120;
  const large = "x".repeat(8_000);
  const messages = numbers(count).map((number) => [`t/${number}`, large] as const);
  await publishAll(world, publisher, messages, 1, true);
  await reader.subscribe("#", 0);
  await world.run(3_000);
  assert.equal(reader.payloads().length, count, "a replay goes at the pace of its client");
}

/** The clock of a machine is set back between two starts of a node: what it publishes then is newer all the same. */
async function clockSetBack(world: World): Promise<void> {
  const node = new ClusterNode(world, nodeName(0));
  await node.start();
  await accepted(world, [node.publish("t", "before", 1, true)]);
  const before = node.router.retained.get("t")?.stamp ?? 0;
  await world.run(1_000);
  node.crash();
  node.place.wallOffsetMs = -20 * minuteMs;
  await node.start();
  await accepted(world, [node.publish("t", "after", 1, true)]);
  const after = node.router.retained.get("t")?.stamp ?? 0;
  assert.ok(after > before, "a clock starts above what it has given");
}

/** Nodes whose clocks are too far apart are told so. */
async function clocksApart(world: World): Promise<void> {
  const [a, b] = [0, 1].map((i) => new ClusterNode(world, nodeName(i)));
  assert.ok(a !== undefined && b !== undefined);
  b.place.wallOffsetMs = minuteMs + 1_000;
  for (const node of [a, b]) await node.start();
  await assert.rejects(b.join(a), /ms apart .*set them right/, "clocks that are apart are refused");
}

/** So often a node notes that it is at work. */
const noteMs = (7 * dayMs) / 1000;

/** All clocks go on, and what is forgotten by then (deletions after seven days) goes. */
function daysLater(stage: Stage, days: number): void {
  for (const { place, process } of stage.nodes) {
    place.wallOffsetMs += days * dayMs;
    process?.router.retained.sweep(process.life.clock.wallMs());
  }
}

function heldAt({ process }: SessionNode): string[] {
  return [...(process?.router.retained.matching("#") ?? [])]
    .map((message) => `${message.topic.name} ${payloadOf(message)}`)
    .sort();
}

/** A deletion is remembered for as long as a node may be away. */
async function sixDaysAway(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await publishAll(world, publisher, [["t", "x"]], 1, true);
  await world.run(100);
  b.crash();
  await publishAll(world, publisher, [["t", ""]], 1, true);
  daysLater(stage, 6);
  await stage.startAll();
  await stage.allUp();
  await world.run(500);
  for (const node of stage.nodes) assert.deepEqual(heldAt(node), [], "deleted is deleted");
}

/** A node that was away for longer takes what the others have, and keeps what it took alone before it went. */
async function longAway(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const [publisher, lonely] = [stage.actor("publisher", a), stage.actor("lonely", b)];
  for (const actor of [publisher, lonely]) await actor.connect();
  const topics = ["t/deleted", "t/kept", "t/replaced"];
  await publishAll(
    world,
    publisher,
    topics.map((topic) => [topic, "old"] as const),
    1,
    true,
  );
  await world.run(noteMs);
  world.partition([a.place], [b.place]);
  await world.run(10_000);
  await publishAll(world, lonely, [["t/alone", "own"]], 1, true);
  await world.run(noteMs);
  b.crash();
  world.heal();
  await publishAll(
    world,
    publisher,
    [
      ["t/deleted", ""],
      ["t/replaced", "new"],
    ],
    1,
    true,
  );
  daysLater(stage, 8);
  assert.equal(a.process?.router.retained.tombstoneCount, 0);
  await stage.startAll();
  await stage.allUp();
  await world.run(500);
  for (const node of stage.nodes) {
    const held = ["t/alone own", "t/kept old", "t/replaced new"];
    assert.deepEqual(heldAt(node), held, "who was away for too long takes the others' set");
  }
}

/** When all were away nobody's set counts more. */
async function allAway(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await publishAll(world, publisher, [["t/both", "x"]], 1, true);
  await world.run(noteMs);
  b.crash();
  await publishAll(world, publisher, [["t/one", "y"]], 1, true);
  a.crash();
  daysLater(stage, 8);
  await stage.startAll();
  await stage.allUp();
  await world.run(500);
  for (const node of stage.nodes) {
    assert.deepEqual(heldAt(node), ["t/both x", "t/one y"], "those who were all away lose nothing");
  }
}

/** Nor does that of a node which was not there before. */
async function newcomer(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // there are two
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  await publishAll(world, publisher, [["t/own", "x"]], 1, true);
  await world.run(noteMs);
  for (const node of [a, b]) node.crash();
  daysLater(stage, 8);
  void a.boot();
  await world.until(() => a.isListening, 10_000, "a listens");
  const other = new SessionNode(world, nodeName(2), {});
  other.place.wallOffsetMs = a.place.wallOffsetMs;
  void other.boot();
  await world.until(() => other.isListening, 10_000, "the newcomer listens");
  await other.join(a);
  await world.run(500);
  for (const node of [a, other])
    assert.deepEqual(heldAt(node), ["t/own x"], "joining loses nothing");
}

export const retainedScenes = {
  ...{ everywhere, oneFrame, oneTurn, newest, asItIs, paced },
  ...{ clockSetBack, clocksApart, sixDaysAway, longAway, allAway, newcomer },
};
