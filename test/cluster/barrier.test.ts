/** Barriers over a real cluster: what an origin sent before it held a row, and what it sends afterwards. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { BarrierOutcome } from "../../src/cluster/barrier.js";
import { type ClusterNode, startCluster } from "../sim/cluster-node.js";
import { World } from "../sim/world/world.js";

async function three(seed: number) {
  const world = new World(seed);
  const [a, b, c] = await startCluster(world, 3);
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return { world, a, b, c };
}

function reach(world: World, asker: ClusterNode, node: ClusterNode): Promise<BarrierOutcome> {
  const deadlineMs = asker.process.life.clock.monotonicMs() + 3_000;
  const reached = asker.cluster.barriers.reach(node.name, deadlineMs);
  return world.settled(reached, 10_000, "the barrier");
}

const takenAt = (node: ClusterNode, origin: ClusterNode): number =>
  node.cluster.positions().find((one) => one.origin === origin.name)?.counter ?? -1;

test("whatever the new owner of a row was not sent is below the barrier of its origin", async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const { world, a, b, c } = await three(seed);
    const old = await a.subscribe("s", "t", 1, true);
    const sent: { payload: string; counter: number }[] = [];
    let isOver = false;
    const publish = (): void => {
      if (isOver) return;
      const payload = `${sent.length}`;
      sent.push({ payload, counter: c.publish("t", payload).counter });
      c.process.life.clock.setTimer(world.dice.between(0, 3), publish);
    };
    publish();
    await world.run(world.dice.between(0, 30));
    const { subscriber: fresh } = b.subscribeSoon("s", "t", 1, true);
    const outcome = await reach(world, b, a);
    assert.ok("positions" in outcome && outcome.holds());
    const position = outcome.positions.find(({ origin }) => origin === c.name);
    assert.ok(position !== undefined);
    await world.run(20);
    isOver = true;
    await world.run(1_000);
    assert.equal(old.received.length, sent.length);
    const got = new Set(fresh.received.map(({ payload }) => payload));
    const missing = sent.filter(({ payload }) => !got.has(payload));
    for (const { counter } of missing) {
      const isBelow = position.counter === 0 || counter <= position.counter;
      assert.ok(isBelow, `seed ${seed}: ${counter} is not below ${position.counter}`);
    }
  }
});

test("a position is reached when what was under way has come", async () => {
  const { world, a, b, c } = await three(20);
  await a.subscribe("s", "t", 1, true);
  await world.run(200);
  world.cutLink(a.place, c.place);
  const { counter } = c.publish("t", "late");
  const outcome = await reach(world, b, a);
  assert.ok("positions" in outcome);
  const position = outcome.positions.find(({ origin }) => origin === c.name);
  assert.deepEqual(position?.counter, counter);
  assert.ok(takenAt(a, c) < counter);
  world.mendLink(a.place, c.place);
  await world.until(() => takenAt(a, c) === counter, 10_000, "it has come");
});

test("no barrier while a member is down: it may hold messages; the sentence can name it", async () => {
  const { world, a, b, c } = await three(30);
  c.crash();
  await world.until(() => b.state(c) === "down", 10_000, "it is down");
  assert.deepEqual(await reach(world, b, a), { missing: c.name });
  await c.start();
  await world.until(() => b.state(c) === "up" && a.state(c) === "up", 10_000, "it is up");
  const outcome = await reach(world, b, a);
  assert.ok("positions" in outcome && outcome.holds());
  c.crash();
  await world.until(() => b.state(c) === "down", 10_000, "it is down");
  assert.equal(outcome.holds(), false);
});

test("a question of the layers above is answered by whoever offers the service", async () => {
  const { world, a, b } = await three(40);
  b.cluster.services.offer("echo", (peer, body, reply) => {
    reply(Buffer.concat([Buffer.from(`${peer} `), body]));
  });
  const ask = (service: string): Promise<Uint8Array | null> =>
    world.settled(a.cluster.ask(b.name, service, Buffer.from("hi")), 1_000, "the answer");
  assert.equal(Buffer.from((await ask("echo")) ?? []).toString(), `${a.name} hi`);
  assert.equal(await ask("other"), null);
});
