/** Scenes of a client whose session is at another node, and of where a session is. */
import assert from "node:assert/strict";
import { silentLog } from "../../../src/lib/log.js";
import { Relocation } from "../../../src/session/move/relocation.js";
import type { Settings } from "../../support/front-end.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, type Greets, Stage } from "./stage.js";

interface Cast {
  readonly stage: Stage;
  /** Of the connection. */
  readonly a: SessionNode;
  /** Of the session, and of the publisher. */
  readonly b: SessionNode;
  readonly client: Actor;
  readonly publisher: Actor;
}

/** The client has subscribed at b, and is connected to a. */
async function cast(world: World, greets: Greets, settings: Settings = {}): Promise<Cast> {
  const stage = await Stage.open(world, 2, settings);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  const client = stage.actor("client", b);
  const publisher = stage.actor("publisher", b);
  await publisher.connect();
  await client.connect();
  await client.subscribe("t", 1);
  await client.leave();
  assert.equal(await client.connect(greets, a), true);
  return { stage, a, b, client, publisher };
}

/** What DISCONNECT says of the session is heard where that is. */
async function expiryFar(world: World): Promise<void> {
  const { stage, client } = await cast(world, {});
  await client.leave(true);
  await world.run(200);
  assert.deepEqual(stage.owners("client"), [], "its session ends where it is");
}

/** What a connection cannot send does not stand in the way of what comes after it. */
async function tooLarge(world: World): Promise<void> {
  const { client, publisher } = await cast(world, {
    ...{ packetMax: 100, topicAliasMax: 1, receiveMaximum: 1 },
  });
  publisher.publish("t", "x".repeat(200), 1, 1);
  publisher.publish("t", "small", 1, 2);
  await world.run(500);
  assert.deepEqual(client.payloads(), ["small"], "what is too large for its client is skipped");
}

/** A client that reads nothing holds up no more than may be under way; the rest waits with its session. */
async function credit(world: World): Promise<void> {
  const limits = { channel_bytes: 65_536, connection_output_bytes: 65_536 } as const;
  const { stage, a, b, client, publisher } = await cast(world, {}, { limits });
  // What leaves for it stays in the socket.
  world.cutLink(a.place, stage.actors);
  const count = 80;
  for (let id = 1; id <= count; id++) publisher.publish("t", "x".repeat(10_000), 1, id);
  await world.run(1_000);
  const waiting = b.process?.sessions.get("client")?.queued ?? 0;
  // The kernels take 256 KiB, the connection and the channel 64 KiB each, which are 39, and what comes in the turn in which one
  // of them is full: 45 at most in 1,500 histories.
  assert.ok(waiting >= count - 45, `credit bounds what is under way: ${waiting} wait`);
  world.heal();
  await world.until(() => client.payloads().length === count, 5_000, "all of it comes");
}

/** A session that ends some time after its connection. */
async function expiry(world: World): Promise<void> {
  const stage = await Stage.open(world, 1);
  const [a] = stage.nodes as [SessionNode]; // one
  const client = stage.actor("client", a);
  await client.connect({ expirySeconds: 2 });
  await client.subscribe("t", 1);
  await client.leave();
  await world.run(1_000);
  assert.deepEqual(stage.owners("client"), [a.name], "it outlives its connection");
  await world.run(1_500);
  assert.deepEqual(stage.owners("client"), [], "and ends when its time is over");
  assert.equal(await client.connect({ expirySeconds: 2 }), false);
}

/** A small session comes with its client, a larger one later, and none does where sessions stay. */
async function placement(world: World): Promise<void> {
  const follows = { placement: "follow", move_messages: 2 } as const;
  const stage = await Stage.open(world, 2, { session: follows });
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  const publisher = stage.actor("publisher", b);
  await publisher.connect();
  for (const [clientId, messages] of [
    ["small", 1],
    ["large", 5],
  ] as const) {
    const client = stage.actor(clientId, b);
    await client.connect();
    await client.subscribe(clientId, 1);
    await client.leave();
    for (let id = 1; id <= messages; id++) publisher.publish(clientId, `${id}`, 1, id);
    await world.run(200);
    await client.connect({}, a);
    await world.run(300);
    const first = clientId === "small" ? a : b;
    assert.deepEqual(stage.owners(clientId), [first.name], "a small session moves at CONNECT");
    await client.leave();
    await world.run(1_000);
    assert.deepEqual(stage.owners(clientId), [a.name], "a larger one moves at its next detach");
    assert.equal(client.payloads().length, messages);
  }
}

/** Where it is said that sessions stay, they do. */
async function stays(world: World): Promise<void> {
  const { stage, b, client } = await cast(world, {});
  assert.deepEqual(stage.owners("client"), [b.name], "it stays where it is");
  await client.leave();
  await world.run(1_000);
  assert.deepEqual(stage.owners("client"), [b.name], "it stays where it is");
}

/** A session moves under its client, who has not acknowledged what it got: it gets nothing of that again. */
async function movesAlong(world: World): Promise<void> {
  const { stage, a, b, client, publisher } = await cast(world, {});
  client.answers = false;
  for (let id = 1; id <= 3; id++) publisher.publish("t", `${id}`, 1, id);
  await world.run(500);
  const pushed = b.process?.sessions.moves?.push("client", a.name) ?? Promise.resolve(0);
  await world.settled(pushed, 10_000, "it moves");
  await world.run(500);
  assert.deepEqual(stage.owners("client"), [a.name]);
  assert.deepEqual(client.payloads(), ["1", "2", "3"], "a move sends nothing again");
  for (let messageId = 1; messageId <= 3; messageId++) client.send({ cmd: "puback", messageId });
  client.answers = true;
  publisher.publish("t", "4", 1, 4);
  await world.run(500);
  assert.deepEqual(client.payloads(), ["1", "2", "3", "4"], "a move sends nothing again");
  assert.equal(client.connections, 2, "its connection stays");
}

/** A node that gives its sessions away does not do so all at once. */
async function relocated(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  for (let i = 0; i < 8; i++) {
    const client = stage.actor(`c${i}`, b);
    await client.connect();
    client.drop();
  }
  const { life, sessions } = b.process ?? assert.fail("it runs");
  const { moves } = sessions;
  assert.ok(moves !== null);
  const relocation = new Relocation({
    ...{ moves, sessions, clock: life.clock, log: silentLog, rate: 2 },
    targets: () => [{ name: a.name, sessions: 0 }],
  });
  void relocation.give(8);
  await world.run(2_000);
  const { moved } = relocation.progress;
  assert.ok(moved > 1 && moved <= 4, `${moved} sessions moved in 2 s, 2 a second are allowed`);
}

/** Packet ids count on; one that is in flight is not given again, however many come after it. */
async function idsInFlight(world: World): Promise<void> {
  const stage = await Stage.open(world, 1);
  const [a] = stage.nodes as [SessionNode]; // one
  const [client, publisher] = [stage.actor("client", a), stage.actor("publisher", a)];
  await publisher.connect({ expirySeconds: 0 });
  await client.connect({ expirySeconds: 0 });
  await client.subscribe("t", 1);
  client.answers = false;
  publisher.publish("t", "0", 1, 1);
  const { messageId: open } = await client.gets("publish");
  client.answers = true;
  // As if so many had come and been acknowledged since.
  a.process?.sessions.get("client")?.window.restoreNext(64_900);
  for (let id = 1; id <= 700; id++) publisher.publish("t", `${id}`, 1, id);
  await world.run(1_000);
  const ids = client.got.flatMap((one) => (one.cmd === "publish" ? [one.messageId ?? 0] : []));
  assert.equal(ids.filter((id) => id === open).length, 1, "no id is given again while in flight");
  client.send({ cmd: "puback", messageId: open ?? 0 });
  await world.until(() => client.payloads().length === 701, 2_000, "all of it comes");
}

/** After a crash ids go on where they were. */
async function idsGoOn(world: World): Promise<void> {
  const stage = await Stage.open(world, 1);
  const [a] = stage.nodes as [SessionNode]; // one
  const [client, publisher] = [stage.actor("client", a), stage.actor("publisher", a)];
  await publisher.connect();
  await client.connect();
  await client.subscribe("t", 2);
  const ids: (number | undefined)[] = [];
  for (let id = 1; id <= 4; id++) {
    if (id === 3) {
      await world.run(100);
      a.crash();
      await stage.startAll();
      await publisher.connect();
      await client.connect();
    }
    publisher.publish("t", `${id}`, 2, id);
    ids.push((await client.gets("publish")).messageId);
  }
  assert.deepEqual(ids, [1, 2, 3, 4], "the id counter is durable");
}

export const channelScenes = {
  expiryFar,
  tooLarge,
  credit,
  expiry,
  placement,
  stays,
  movesAlong,
  relocated,
  idsInFlight,
  idsGoOn,
};
