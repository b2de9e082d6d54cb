/**
 * A session has just taken over what an older one had, and moves on before the older one's node has heard that: the queue is
 * handed over once more, to the new place, and taken once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeQuestion } from "../../src/session/superseded/wire.js";
import { nodeName } from "./cluster-node.js";
import { SimClient } from "./sessions/client.js";
import { Ledger } from "./sessions/ledger.js";
import { SessionNode } from "./sessions/node.js";
import { World } from "./world/world.js";

const keeperId = "keeper";
const count = 12;

const up = (of: readonly SessionNode[]) => (): boolean =>
  of.every((node) => node.namesUp().length === of.length);

const clientsOf =
  (world: World, ledger: Ledger) =>
  (clientId: string, node: SessionNode): SimClient => {
    const life = world.node(`${clientId}@clients-${clientId}`).boot();
    const options = { clientId, version: 5, persistent: true } as const;
    return new SimClient(life, node, { ...options, receiveMaximum: 100, window: 4 }, ledger);
  };

/** Joined, up and listening. */
async function threeNodes(world: World): Promise<[SessionNode, SessionNode, SessionNode]> {
  const make = (i: number): SessionNode =>
    new SessionNode(world, nodeName(i), { session: { placement: "stay" } });
  const nodes: [SessionNode, SessionNode, SessionNode] = [make(0), make(1), make(2)];
  for (const node of nodes) void node.boot();
  await world.until(() => nodes.every(({ isListening }) => isListening), 30_000, "listening");
  for (const node of nodes.slice(1)) await node.join(nodes[0]);
  await world.until(up(nodes), 30_000, "all are up");
  return nodes;
}

test("a session that moves right after it superseded another has nothing twice", async () => {
  const world = new World(11, "a session that superseded another moves");
  const nodes = await threeNodes(world);
  const [older, younger, newest] = nodes;
  const ledger = new Ledger();
  const client = clientsOf(world, ledger);
  const settled = (one: SimClient): Promise<void> =>
    world.until(
      () => one.isSettled,
      5_000,
      () => one.waiting,
    );
  const keeper = client(keeperId, older);
  keeper.staysOnline = false;
  keeper.mayBeWithoutOwner = () => true;
  const beginSession = async (node: SessionNode): Promise<void> => {
    keeper.node = node;
    keeper.connect();
    await settled(keeper);
    keeper.subscribe("k/#", 2);
    await settled(keeper);
    keeper.disconnect(false);
    await world.run(50);
  };
  await beginSession(older);
  const publisher = client("publisher", newest);
  publisher.connect();
  await settled(publisher);
  for (let i = 0; i < count; i++) publisher.publish("k/a", i % 2 === 0 ? 1 : 2);
  await settled(publisher);
  older.crash();
  await world.until(up([younger, newest]), 30_000, "the older session's node is down");
  await beginSession(younger);

  // The older session's node does not hear that all was taken, and asks nothing more until the younger one has moved.
  void older.boot();
  const cluster = older.process?.cluster;
  assert.ok(cluster !== undefined);
  const ask = cluster.ask.bind(cluster);
  let isTaken = false;
  let hasMoved = false;
  let again = 0;
  cluster.ask = async (node, service, body) => {
    const question = service === "superseded" ? decodeQuestion(body) : null;
    if (question?.kind !== "give")
      return isTaken && !hasMoved && question ? null : ask(node, service, body);
    if (hasMoved) again++;
    const answer = await ask(node, service, body);
    if (hasMoved || !question.last) return answer;
    isTaken = true;
    return null;
  };
  await world.until(() => isTaken && up(nodes)(), 30_000, "the queue was handed over");
  const moving = younger.process?.sessions.moves?.push(keeperId, newest.name);
  assert.ok(moving !== undefined);
  assert.equal(await world.settled(moving, 30_000, "the younger session moves"), count);
  hasMoved = true;
  const has = (node: SessionNode): boolean => node.process?.sessions.get(keeperId) !== undefined;
  await world.until(() => !has(older), 30_000, "the older session has ended");
  assert.ok(again > 0, "it was handed over once more");
  assert.deepEqual(nodes.map(has), [false, false, true]);

  keeper.node = newest;
  keeper.connect();
  await world.run(2_000);
  assert.deepEqual([...keeper.taken.values()], Array(count).fill(1));
});
