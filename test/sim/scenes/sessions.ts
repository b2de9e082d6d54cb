/** Scenes of a client and its session over several nodes: it is found, and there is one. */
import assert from "node:assert/strict";
import { SharedMemory } from "../../../src/store/shared-memory.js";
import { leaseTimes } from "../sessions/shared.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, Stage } from "./stage.js";

interface Cast {
  readonly stage: Stage;
  readonly a: SessionNode;
  readonly b: SessionNode;
  readonly c: SessionNode;
  /** Its session is at c, and it is away. */
  readonly client: Actor;
}

/** Three nodes; `chooseId` says where the client's home is. */
async function cast(
  world: World,
  chooseId: (stage: Stage, a: SessionNode, b: SessionNode, c: SessionNode) => string,
): Promise<Cast> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor(chooseId(stage, a, b, c), c);
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  return { stage, a, b, c, client };
}

/** A home that starts knows of nothing: it asks all before it grants, until all have told it what they have. */
async function unannounced(world: World): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first) => all.idAt(first));
  await stage.kill(a);
  void a.boot();
  await world.until(() => a.namesUp().length === 3, 5_000, "it sees all up");
  world.cutLink(a.place, c.place);
  client.connectSoon({}, b);
  await world.run(500);
  world.heal();
  const { sessionPresent } = await client.gets("connack", 8_000);
  assert.equal(sessionPresent, true, "a session that is up is found");
}

/** Who does not see the session's node yet asks one who is not the home any more. */
async function staleList(world: World): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first, _, last) =>
    all.idAt(last, first),
  );
  await stage.kill(c);
  world.cutLink(b.place, c.place);
  await stage.startAll();
  await world.until(() => a.namesUp().length === 3, 10_000, "a sees all up");
  client.connectSoon({}, b);
  await world.run(500);
  world.heal();
  const { sessionPresent } = await client.gets("connack", 8_000);
  assert.equal(sessionPresent, true, "a session that is up is found");
}

/** What an older claim has to say comes after what a newer one said. */
async function late(world: World, clean: boolean): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first) => all.idAt(first));
  world.cutLink(b.place, c.place);
  client.connectSoon({ clean }, b);
  await world.run(200);
  const newer = stage.actor(client.clientId, a);
  assert.equal(await newer.connect(), true);
  world.heal();
  await world.run(1_000);
  const states = [newer.state, client.state];
  assert.deepEqual(states, ["online", "offline"], "a session refuses the verbs of older epochs");
  assert.deepEqual(
    stage.owners(client.clientId),
    [c.name],
    "a session refuses the verbs of older epochs",
  );
}

/** A client that gives up a CONNECT, and connects elsewhere before that one's home can be reached. `early`: it had sent more. */
async function gaveUp(world: World, early: readonly string[]): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first) => all.idAt(first));
  world.cutLink(a.place, b.place);
  client.connectSoon({ clean: true }, b);
  await world.run(100);
  for (const payload of early) client.publish("t", payload, 0);
  await world.run(100);
  client.drop();
  // Its node has heard that.
  await world.run(200);
  const newer = stage.actor(client.clientId, a);
  assert.equal(await newer.connect(), true);
  world.heal();
  await world.run(1_000);
  assert.equal(newer.state, "online", "a CONNECT that was given up displaces nobody");
  assert.deepEqual(
    stage.owners(client.clientId),
    [c.name],
    "a CONNECT that was given up ends nothing",
  );
}

const givenUp = (world: World): Promise<void> => gaveUp(world, []);
const givenUpEarly = (world: World): Promise<void> => gaveUp(world, ["x", "y"]);

/** A connection waits for its session, whose node dies then; a newer one comes elsewhere before it has claimed anew. */
async function outrun(world: World): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first) => all.idAt(first));
  c.place.stall(1_000);
  client.connectSoon({}, b);
  await world.run(300);
  await stage.kill(c);
  const newer = stage.actor(client.clientId, a);
  assert.equal(await newer.connect(), false);
  await world.run(2_000);
  assert.deepEqual(
    [newer.state, client.state],
    ["online", "offline"],
    "a connection that was granted less does not claim more than a newer one",
  );
}

/** A client that says all that it has to say, and goes before its home has granted anything. */
async function heardOut(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const subscriber = stage.actor("subscriber", c);
  await subscriber.connect();
  await subscriber.subscribe("t", 0);
  for (const politely of [true, false]) {
    const client = stage.actor(stage.idAt(a), b);
    a.place.stall(500);
    client.connectSoon({ clean: true, expirySeconds: 0 }, b);
    await world.run(100);
    client.publish("t", `${politely}`, 0);
    if (politely) client.send({ cmd: "disconnect" });
    await world.run(100);
    client.drop();
    await world.run(1_500);
    assert.deepEqual(stage.owners(client.clientId), [], "a client that has gone is not connected");
  }
  assert.deepEqual(subscriber.payloads(), ["true", "false"], "a client that goes early is heard");
}

const lateAttach = (world: World): Promise<void> => late(world, false);
const lateDiscard = (world: World): Promise<void> => late(world, true);

/** A member that is down has something for the session where it is. */
async function memberDown(world: World): Promise<void> {
  const { stage, a, b, c, client } = await cast(world, (all, first) => all.idAt(first));
  const publisher = stage.actor("publisher", b);
  await publisher.connect();
  world.cutLink(b.place, c.place);
  publisher.publish("t", "x", 2, 1);
  await publisher.gets("pubcomp", 8_000);
  await stage.kill(b);
  world.heal();
  const moved = c.process?.sessions.moves?.push(client.clientId, a.name).catch(() => -1);
  await world.settled(moved ?? Promise.resolve(-1), 15_000, "an answer");
  await stage.startAll();
  await stage.allUp();
  await world.run(1_000);
  const [owner = ""] = stage.owners(client.clientId);
  await client.connect({}, stage.nodes.find(({ name }) => name === owner) ?? c);
  await world.run(500);
  assert.deepEqual(client.payloads(), ["x"], "what members that are down hold comes after a move");
}

/** What its old node had still to give to members of its groups comes once, although that dies before it has done with it. */
async function lateOnce(world: World): Promise<void> {
  const stage = await Stage.open(world, 2);
  const [a, b] = stage.nodes as [SessionNode, SessionNode]; // two
  const member = stage.actor("member", b);
  await member.connect();
  await member.subscribe("$share/g/t", 2);
  await member.leave();
  const publishers = [stage.actor("p", a), stage.actor("q", b)];
  for (const one of publishers) await one.connect({ expirySeconds: 0 });
  const old = b.process?.sessions;
  const queued = ({ process }: SessionNode): number => process?.sessions.get("member")?.queued ?? 0;
  assert.ok(old?.moves);
  old.letGo = () => undefined;
  await stage.moveUntold("member", b, a);
  const sent: string[] = [];
  for (const one of publishers) {
    for (let i = 1; i <= 8; i++) {
      sent.push(`${one.clientId}${i}`);
      one.publish("t", `${one.clientId}${i}`, 2, i);
    }
  }
  await world.until(() => queued(a) + queued(b) === sent.length, 500, "all are taken");
  assert.ok(queued(b) > 0, "some came late");
  await world.until(() => queued(a) === sent.length, 5_000, "it has them at its new node");
  await stage.kill(b);
  await stage.startAll();
  await stage.allUp();
  await world.until(
    () => stage.owners("member").length === 1,
    5_000,
    "the old node has done with it",
  );
  await member.connect({}, a);
  await world.run(1_000);
  assert.deepEqual(member.payloads().sort(), sent, "what came late is given once");
}

/** What waited for a dead node's share groups goes to other members once, also when who has it dies before that is done. */
async function groupsOnce(world: World): Promise<void> {
  const shared = new SharedMemory({ monotonicMs: () => world.nowMs }, leaseTimes.leaseMs);
  const stage = await Stage.open(world, 3, {}, shared);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const publisher = stage.actor("publisher", a);
  await publisher.connect({ expirySeconds: 0 });
  const first = stage.actor("first", c);
  await first.connect();
  await first.subscribe("$share/g/t", 2);
  world.cutLink(a.place, c.place);
  for (let i = 1; i <= 5; i++) publisher.publish("t", `${i}`, 2, i);
  const second = stage.actor("second", b);
  await second.connect();
  await second.subscribe("$share/g/t", 2);
  first.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["$share/g/t"] });
  await world.run(100);
  const sender = a.process?.cluster.peer(c.name)?.sender;
  assert.ok(sender);
  sender.giveUp = () => 0;
  await stage.kill(c);
  await world.until(() => second.payloads().length === 5, 10_000, "they go to another member");
  await stage.kill(a);
  void a.boot();
  await world.run(12_000);
  assert.deepEqual(second.payloads().sort(), ["1", "2", "3", "4", "5"], "groups have it once");
}

/** What was sent to a node that died just then waits with the publisher's node, until its sessions are adopted. */
async function waitedForDead(world: World): Promise<void> {
  const shared = new SharedMemory({ monotonicMs: () => world.nowMs }, leaseTimes.leaseMs);
  const stage = await Stage.open(world, 3, {}, shared);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor(stage.idAt(b), c);
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  c.crash();
  publisher.publish("t", "x", 2, 1);
  await publisher.gets("pubcomp");
  const isThere = await client.connect({}, b);
  assert.equal(isThere, true, "a session is adopted");
  await world.run(500);
  assert.deepEqual(client.payloads(), ["x"], "what waited for a session comes to its adopter");
}

/** One node is dead, and nothing is left to adopt of it; then another one dies. */
async function secondDeath(world: World): Promise<void> {
  const shared = new SharedMemory({ monotonicMs: () => world.nowMs }, leaseTimes.leaseMs);
  const stage = await Stage.open(world, 3, {}, shared);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const client = stage.actor("client", a);
  await client.connect();
  await client.subscribe("t", 2);
  await client.leave();
  await stage.kill(c);
  await world.run(10_000);
  await stage.kill(a);
  await world.run(10_000);
  const isThere = await client.connect({}, b);
  assert.equal(isThere, true, "a session outlives its node, although another one is dead");
}

export const sessionScenes = {
  waitedForDead,
  secondDeath,
  groupsOnce,
  memberDown,
  unannounced,
  staleList,
  givenUp,
  givenUpEarly,
  outrun,
  heardOut,
  lateAttach,
  lateDiscard,
  lateOnce,
};
