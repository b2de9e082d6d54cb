/** Scenes of nodes that share a store: what a dead one has of share groups, and does not come with a session, is not lost. */
import assert from "node:assert/strict";
import type { SessionNode } from "../sessions/node.js";
import type { World } from "../world/world.js";
import { type Actor, Stage } from "./stage.js";

const filter = "$share/g/t";

async function nodes(world: World): Promise<[Stage, SessionNode, SessionNode, SessionNode]> {
  const stage = await Stage.openShared(world, 3);
  const [a, b, c] = stage.nodes as [SessionNode, SessionNode, SessionNode]; // three
  return [stage, a, b, c];
}

async function leavesMember(member: Actor, expirySeconds: number): Promise<void> {
  await member.connect({ expirySeconds });
  await member.subscribe(filter, 2);
  await member.leave();
}

/** The session has expired before it could be adopted. */
async function endedMember(world: World): Promise<void> {
  const [stage, a, b, c] = await nodes(world);
  const member = stage.actor(stage.idAt(c, b), c);
  await leavesMember(member, 3);
  const publisher = stage.actor("publisher", a);
  await publisher.connect();
  const sent = ["1", "2", "3", "4"];
  for (const [i, payload] of sent.entries()) {
    publisher.publish("t", payload, i % 2 === 0 ? 1 : 2, i + 1);
    await publisher.gets(i % 2 === 0 ? "puback" : "pubcomp");
  }
  const other = stage.actor("other", a);
  await other.connect();
  await other.subscribe(filter, 2);
  for (const node of stage.nodes) node.crash();
  await world.run(5_000);
  for (const node of [a, b]) void node.boot();
  await world.until(() => a.isListening, 30_000, "its clients may come");
  await other.connect({}, a);
  const isCome = (): boolean => other.payloads().length >= sent.length;
  await world.until(isCome, 15_000, "another member has them");
  await world.run(1_000);
  assert.deepEqual(other.payloads().sort(), sent, "each once");
  assert.deepEqual(stage.owners(member.clientId), [], "it has ended");
}

/** Its old node took some when the state had left, and dies before it has given them to others. */
async function movedMember(world: World): Promise<void> {
  const [stage, a, b] = await nodes(world);
  const member = stage.actor("member", b);
  await leavesMember(member, 1_000);
  const publisher = stage.actor("publisher", b);
  await publisher.connect({ expirySeconds: 0 });
  await stage.moveUntold("member", b, a);
  const sent = Array.from({ length: 8 }, (_, i) => `${i}`);
  for (const [i, payload] of sent.entries()) publisher.publish("t", payload, 2, i + 1);
  const queued = ({ process }: SessionNode): number => process?.sessions.get("member")?.queued ?? 0;
  await world.until(() => queued(a) + queued(b) === sent.length, 500, "all are taken");
  assert.ok(queued(b) > 0, "some came late");
  for (let i = 0; i < sent.length; i++) await publisher.gets("pubrec");
  await stage.kill(b);
  await world.until(() => queued(a) === sent.length, 10_000, "it has them at its new node");
  assert.equal(await member.connect({}, a), true);
  await world.run(1_500);
  assert.deepEqual(member.payloads().sort(), sent, "each once");
}

export const leftToGroupsScenes = { endedMember, movedMember };
