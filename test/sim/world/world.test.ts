/** The same seed gives the same history; disks keep what was saved. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pipe } from "../../../src/cluster/transport.js";
import type { Life, WorldNode } from "./node.js";
import { World } from "./world.js";

/** A process that talks to all others, at random, and keeps a count on its disk. */
async function chatter(life: Life, hosts: readonly string[]): Promise<void> {
  const counts = life.file<number>("count");
  let { value: count = 0 } = await counts.load();
  const talk = (pipe: Pipe): void => {
    const speak = (): void => {
      pipe.write(life.random.bytes(1 + life.random.integer(40)));
      if (life.random.chance(0.05)) pipe.destroy();
      else life.clock.setTimer(life.random.between(1, 50), speak);
    };
    pipe.onData = () => life.clock.defer(() => void counts.save(++count));
    speak();
  };
  await life.transport.listen(life.host, [4370, 4370], talk);
  const call = (): void => {
    life.transport.dial(life.random.pick(hosts), 4370, (result) => {
      if (typeof result === "object") talk(result);
    });
    life.clock.setTimer(life.random.between(10, 200), call);
  };
  call();
}

async function history(seed: number): Promise<{ fingerprint: number; lines: string }> {
  const world = new World(seed);
  const nodes = ["a", "b", "c", "d"].map((name) => world.node(`${name}@h${name}`));
  const hosts = nodes.map((node) => node.host);
  const start = (node: WorldNode): void => void chatter(node.boot(), hosts);
  nodes.forEach(start);
  for (let i = 0; i < 30; i++) {
    const node = world.dice.pick(nodes);
    const other = world.dice.pick(nodes);
    const step = world.dice.integer(6);
    if (step === 0) node.crash();
    else if (step === 1 && node.life === null) start(node);
    else if (step === 2) world.partition([node], [other]);
    else if (step === 3) world.heal();
    else if (step === 4) world.breakPipes(node, other);
    else node.stall(100);
    await world.run(world.dice.between(0, 200));
  }
  return { fingerprint: world.trace.fingerprint, lines: world.trace.latest() };
}

test("the same seed gives the same history, event by event; another seed another one", async () => {
  const fingerprints = new Set<number>();
  for (let seed = 1; seed <= 5; seed++) {
    const first = await history(seed);
    const second = await history(seed);
    assert.ok(first.lines.length > 1000);
    assert.equal(second.lines, first.lines);
    assert.equal(second.fingerprint, first.fingerprint);
    fingerprints.add(first.fingerprint);
  }
  assert.equal(fingerprints.size, 5);
});

test("a disk keeps what was saved across a crash, and some of what was under way", async () => {
  const seen = new Set<number | undefined>();
  for (let seed = 1; seed <= 30; seed++) {
    const world = new World(seed);
    const node = world.node("a@h");
    const file = node.boot().file<number>("n");
    await world.settled(file.save(1), 100, "saved");
    for (const value of [2, 3]) {
      file.save(value).then(() => assert.fail("told after the crash"), assert.fail);
    }
    node.crash();
    await world.run(1000);
    seen.add((await node.boot().file<number>("n").load()).value);
  }
  assert.deepEqual([...seen].sort(), [1, 2, 3]);
});

test("a file holds the value of the moment of saving, and is the node's own", async () => {
  const world = new World(1);
  const [a, b] = [world.node("a@h"), world.node("b@h")];
  const value = { list: [1] };
  const saved = a.boot().file<typeof value>("x").save(value);
  value.list.push(2);
  await world.settled(saved, 100, "saved");
  const life = a.life;
  assert.ok(life !== null);
  assert.deepEqual((await life.file("x").load()).value, { list: [1] });
  assert.deepEqual((await b.boot().file("x").load()).value, undefined);
  a.disk.wipe();
  assert.deepEqual(await life.file("x").load(), { value: undefined, damaged: null });
});

test("nodes draw different randomness, and a new life draws other numbers", () => {
  const world = new World(1);
  const [a, b] = [world.node("a@h"), world.node("b@h")];
  const drawn = new Set([a.boot().random.fraction(), b.boot().random.fraction()]);
  a.crash();
  drawn.add(a.boot().random.fraction());
  assert.equal(drawn.size, 3);
});

test("a name that is none is refused", () => {
  assert.throws(() => new World(1).node("a"), /is no node name/);
});
