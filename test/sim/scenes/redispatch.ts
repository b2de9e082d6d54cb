/** What becomes of a share group's message that its member's client did not acknowledge [MQTT-4.8.2-4..6]. */
import assert from "node:assert/strict";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { numbers, publishAll } from "./cast.js";
import { type Actor, type Greets, Stage } from "./stage.js";

const key = "$share/g/t/+";
const fleeting: Greets = { expirySeconds: 0 };

interface Members {
  /** The member that gets everything at first, and another, which is not connected yet; each at a node of its own. */
  readonly first: Actor;
  readonly other: Actor;
  readonly publisher: Actor;
}

async function members(world: World, greets: Greets): Promise<Members> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes;
  assert.ok(a !== undefined && b !== undefined);
  const [first, other] = [stage.actor("first", a), stage.actor("other", b)];
  const publisher = stage.actor("publisher", b);
  await first.connect(greets);
  await publisher.connect();
  await first.subscribe(key, 2);
  return { first, other, publisher };
}

function publish(world: World, { publisher }: Members, qos: 1 | 2, count: number): Promise<void> {
  const messages = numbers(count).map((number) => ["t/1", number] as const);
  return publishAll(world, publisher, messages, qos);
}

async function join({ other }: Members): Promise<void> {
  await other.connect();
  await other.subscribe(key, 2);
}

/** The first member gets all of it, and does not acknowledge it. Then there is another one. */
async function take(world: World, cast: Members, qos: 1 | 2, count: number): Promise<void> {
  cast.first.answers = false;
  await publish(world, cast, qos, count);
  await world.run(100);
  await join(cast);
}

/** Its client's connection is lost: a member who is connected gets what it had not acknowledged. */
async function connectionLost(world: World): Promise<void> {
  const cast = await members(world, {});
  const { first, other } = cast;
  await take(world, cast, 1, 5);
  first.drop();
  await world.run(500);
  assert.deepEqual(other.payloads(), numbers(5), "another gets it when the connection is lost");
  await first.connect();
  await world.run(200);
  assert.equal(first.payloads().length, 5, "what another one has does not come again");
}

/** Its session ends with its connection. */
async function sessionLost(world: World): Promise<void> {
  const cast = await members(world, fleeting);
  const { first, other } = cast;
  await take(world, cast, 1, 5);
  first.drop();
  await world.run(500);
  assert.deepEqual(other.payloads(), numbers(5), "another gets it when the session ends");
}

/** Its session ends when its node is back: its client had made a Clean Start elsewhere. */
async function startedClean(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  const first = stage.actor(stage.idAt(b), a);
  const [other, publisher] = [stage.actor("other", b), stage.actor("publisher", b)];
  await first.connect();
  await first.subscribe(key, 2);
  await first.leave();
  await publisher.connect();
  const messages = numbers(3).map((number) => ["t/1", number] as const);
  for (const qos of [1, 2] as const) await publishAll(world, publisher, messages, qos);
  await stage.kill(a);
  await first.connect({ clean: true }, b);
  await other.connect();
  await other.subscribe(key, 2);
  await stage.startAll();
  await stage.allUp();
  await world.run(1_000);
  assert.deepEqual(first.payloads(), []);
  const both = ["0", "1", "2", "0", "1", "2"];
  assert.deepEqual(other.payloads(), both, "what a Clean Start ends goes to another");
}

/** Its session, which is stored, ends with a DISCONNECT. */
async function sessionEnded(world: World): Promise<void> {
  const cast = await members(world, {});
  const { first, other } = cast;
  await take(world, cast, 1, 5);
  const properties = { sessionExpiryInterval: 0 };
  first.send({ cmd: "disconnect", reasonCode: 0, properties });
  first.drop(true);
  await world.run(500);
  assert.deepEqual(other.payloads(), numbers(5), "another gets it when the session ends");
}

/** Of three messages with QoS 2 one was sent and two wait: those go to another, that one never. */
async function sentWithQos2(world: World): Promise<void> {
  const cast = await members(world, { ...fleeting, receiveMaximum: 1 });
  const { first, other } = cast;
  await take(world, cast, 2, 3);
  first.drop();
  await world.run(500);
  assert.deepEqual(first.payloads(), ["0"]);
  assert.deepEqual(other.payloads(), ["1", "2"], "QoS 2 goes to another while it was not sent");
}

/** The same of a session that goes on: what was sent is completed with its client. */
async function completedWithQos2(world: World): Promise<void> {
  const cast = await members(world, { receiveMaximum: 1 });
  const { first, other } = cast;
  await take(world, cast, 2, 3);
  first.drop();
  await world.run(500);
  assert.deepEqual(other.payloads(), ["1", "2"], "QoS 2 goes to another while it was not sent");
  first.answers = true;
  await first.connect();
  await world.run(500);
  assert.deepEqual(first.payloads(), ["0", "0"], "what was sent with QoS 2 is completed");
}

/** A client that refuses a message ends it: nobody else gets it, and it does not come again. */
async function refused(world: World, qos: 1 | 2): Promise<void> {
  const cast = await members(world, {});
  const { first, other } = cast;
  first.reason = 0x97;
  await publish(world, cast, qos, 3);
  await join(cast);
  await world.run(100);
  first.drop();
  await world.run(200);
  await first.connect();
  await world.run(500);
  const got = [...first.payloads(), ...other.payloads()];
  assert.deepEqual(got, numbers(3), "one that was refused is discarded");
  const releases = first.got.filter(({ cmd }) => cmd === "pubrel");
  assert.deepEqual(releases, [], "one that was refused needs no PUBREL");
}

/**
 * A node dies when a member that is away has taken a QoS 2 message, before the publisher's node has heard of it, and gets the message again:
 * another member is connected by then. When the first one's session ends, what it had taken is the other one's, too.
 */
async function twoWays(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const first = stage.actor("first", c);
  const other = stage.actor("other", b);
  const publisher = stage.actor("publisher", a);
  await first.connect();
  await first.subscribe(key, 2);
  await first.leave();
  // What is committed before it is published has a number of its own.
  await publisher.connect(fleeting);
  c.store.writeMsMax = 150;
  publisher.publish("t/1", "x", 2, 1);
  const session = c.process?.sessions.get("first");
  await world.until(() => session?.queued === 1, 1_000, "it has come");
  world.cutLink(a.place, c.place);
  await world.run(300);
  await stage.kill(c);
  await other.connect();
  await other.subscribe(key, 2);
  void c.boot();
  await world.until(() => b.namesUp().includes(c.name), 5_000, "one sees it up");
  await world.run(500);
  world.heal();
  await stage.allUp();
  await publisher.gets("pubcomp", 8_000);
  await world.run(1_000);
  assert.deepEqual(other.payloads(), ["x"]);
  assert.equal(c.process?.sessions.get("first")?.queued, 1);
  await first.connect({ clean: true }, c);
  await world.run(1_000);
  assert.deepEqual(other.payloads(), ["x"], "what comes to a member by two ways comes once");
}

export const redispatchScenes = {
  ...{
    connectionLost,
    sessionLost,
    startedClean,
    sessionEnded,
    sentWithQos2,
    completedWithQos2,
    twoWays,
  },
  refusedWithQos1: (world: World) => refused(world, 1),
  refusedWithQos2: (world: World) => refused(world, 2),
};
