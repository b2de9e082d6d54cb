/** Scenes of wills. */
import assert from "node:assert/strict";
import { ReasonCode } from "../../../src/protocol/reason-codes.js";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { Stage } from "./stage.js";

/** A node dies and stays dead: the others publish the will of a client that was connected there. */
async function heirs(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", a);
  await watcher.connect();
  await watcher.subscribe("last", 1);
  await stage.actor("mortal", b).connect({ will: "last" });
  await stage.kill(b);
  await world.until(
    () => watcher.payloads().includes("last"),
    8_000,
    "the will of a dead node's client",
  );
}

/**
 * A node that was dead starts again on the other side of a cut that nobody has noticed yet: the side which saw it die does not
 * take itself for the larger one.
 */
async function otherSide(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", b);
  await watcher.connect();
  await watcher.subscribe("last", 1);
  await stage.kill(c);
  const mortal = stage.actor("mortal", a);
  await mortal.connect({ will: "last" });
  world.partition([a.place], [b.place, c.place]);
  void c.boot();
  const areApart = (): boolean =>
    a.process?.cluster.state(b.name) === "down" && b.process?.cluster.state(a.name) === "down";
  await world.until(areApart, 10_000, "both sides know of the cut");
  mortal.drop();
  await world.run(3_000);
  world.heal();
  await stage.allUp();
  await world.run(5_000);
  assert.deepEqual(watcher.payloads(), ["last"], "one side of a cut publishes a will");
}

/** Clean Start while an older session is at a node that is dead: the will of the session that ends comes before what the new one publishes. */
async function cleanStart(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", b);
  await watcher.connect();
  await watcher.subscribe("last", 1);
  const mortal = stage.actor(stage.idAt(b), c);
  await mortal.connect();
  await mortal.leave();
  await stage.kill(c);
  await mortal.connect({ will: "last", willDelaySeconds: 60 }, a);
  mortal.drop();
  await world.run(500);
  a.store.writeMsMax = 100;
  await mortal.connect({ clean: true }, b);
  mortal.publish("last", "here", 1, 1);
  await world.until(() => watcher.payloads().length > 1, 5_000, "will and message");
  assert.deepEqual(
    watcher.payloads(),
    ["last", "here"],
    "the will of a session that ends comes first",
  );
}

/** A node publishes a will of QoS 0 for one that is dead, and dies before anybody hears that it was published. */
async function halfTold(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", b);
  await watcher.connect();
  await watcher.subscribe("last", 0);
  b.store.writeMsMax = 200;
  await stage.actor(stage.idAt(b), c).connect({ will: "last", willQos: 0 });
  c.crash();
  const hasBegun = (): boolean => b.process?.sessions.wills.holders?.counters.inherited === 1;
  await world.until(hasBegun, 10_000, "the will is about to be published");
  stage.isolate(b);
  await world.until(() => watcher.payloads().length > 0, 1_000, "the will of QoS 0");
  b.crash();
  world.heal();
  await stage.startAll();
  await stage.allUp();
  await world.run(8_000);
  const published = [a, c].map(({ process }) => process?.sessions.counters.willsPublished);
  assert.deepEqual(published, [0, 0], "a will of QoS 0 comes once at most");
}

/** A node dies; those who know that its client's will was published die one after the other, and are back before it is: they still know. */
async function newToAll(world: World): Promise<void> {
  const stage = await Stage.open(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", a);
  await watcher.connect();
  await watcher.subscribe("last", 2);
  const willQos = world.dice.pick([0, 1, 2] as const);
  await stage.actor(stage.idAt(b), c).connect({ will: "last", willQos });
  await stage.kill(c);
  await world.until(() => watcher.payloads().length > 0, 8_000, "the will");
  await world.run(500);
  for (const [node, other] of [
    [b, a],
    [a, b],
  ] as const) {
    await stage.kill(node);
    void node.boot();
    await world.until(() => other.namesUp().length === 2, 30_000, `${node.name} is up`);
  }
  await stage.startAll();
  await watcher.connect();
  await stage.allUp();
  await world.run(8_000);
  assert.deepEqual(watcher.payloads(), ["last"], `a will of QoS ${willQos} comes once`);
}

/** A node dies, then the one that publishes its client's will, and the other holder: a third knows of it when the first is back. */
async function twoAway(world: World): Promise<void> {
  const stage = await Stage.open(world, 4);
  const [a, b, c, d] = stage.nodes as [SessionNode, SessionNode, SessionNode, SessionNode]; // four
  const watcher = stage.actor("watcher", a);
  await watcher.connect();
  await watcher.subscribe("last", 1);
  await stage.actor(stage.idAt(b, c), d).connect({ will: "last" });
  await stage.kill(d);
  await world.until(() => watcher.payloads().length > 0, 8_000, "the will");
  await world.run(500);
  await stage.kill(b);
  await stage.kill(c);
  void d.boot();
  await world.until(() => a.namesUp().length === 2, 30_000, "its node is up");
  await world.run(2_000);
  assert.deepEqual(watcher.payloads(), ["last"], "a will comes once");
}

/** A node closes a client for its own sake and gives its will to another one, which dies before that is due: it comes when that is back. */
async function entrusted(world: World): Promise<void> {
  const stage = await Stage.open(world, 3, { drain: { will_grace: 30_000 } });
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  const watcher = stage.actor("watcher", a);
  await watcher.connect();
  await watcher.subscribe("last", 2);
  const mortal = stage.actor(stage.idAt(b), c);
  const willQos = world.dice.pick([0, 1, 2] as const);
  await mortal.connect({ will: "last", willQos, expirySeconds: 0 });
  const { sessions } = c.process ?? {};
  const session = sessions?.get(mortal.clientId);
  assert.ok(sessions !== undefined && session !== undefined);
  sessions.closeForServer(session, ReasonCode.UseAnotherServer);
  await world.run(500);
  const comesBack = world.dice.chance(0.5);
  await stage.kill(b);
  if (comesBack) {
    await mortal.connect({}, a);
    await mortal.leave();
  }
  await world.run(world.dice.chance(0.5) ? 1_000 : 40_000);
  await stage.startAll();
  await stage.allUp();
  await world.run(40_000);
  assert.deepEqual(watcher.payloads(), comesBack ? [] : ["last"], "a will is due, or is void");
}

export const willScenes = { heirs, otherSide, cleanStart, halfTold, newToAll, twoAway, entrusted };
