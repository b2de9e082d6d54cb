/** The network of a world keeps what src/cluster/transport.ts promises, and fails as a real one does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { DialFailure, Pipe } from "../../../src/cluster/transport.js";
import { Refusal } from "../../../src/lib/refusal.js";
import type { Life, WorldNode } from "./node.js";
import { World } from "./world.js";

const seeds = Array.from({ length: 20 }, (_, index) => index + 1);

/** Everything that happens at one end of a pipe. */
class Ear {
  received = Buffer.alloc(0);
  chunks = 0;
  closes = 0;

  constructor(readonly pipe: Pipe) {
    pipe.onData = (bytes) => {
      assert.equal(this.closes, 0, "data after the close");
      assert.ok(bytes.length > 0);
      this.received = Buffer.concat([this.received, bytes]);
      this.chunks++;
    };
    pipe.onClose = () => this.closes++;
  }
}

interface Two {
  readonly world: World;
  readonly a: WorldNode;
  readonly b: WorldNode;
  readonly near: Ear;
  readonly far: Ear;
}

async function listen(world: World, life: Life, onPipe: (pipe: Pipe) => void): Promise<void> {
  await world.settled(life.transport.listen(life.host, [4370, 4379], onPipe), 0, "listening");
}

function dial(world: World, life: Life, host: string): Promise<Pipe | DialFailure> {
  const result = new Promise<Pipe | DialFailure>((resolve) => {
    life.transport.dial(host, 4370, resolve);
  });
  return world.settled(result, 2_001, `dialled ${host}`);
}

/** Two nodes with a pipe from a to b. */
async function two(seed: number): Promise<Two> {
  const world = new World(seed);
  const [a, b] = [world.node("a@ha"), world.node("b@hb")];
  const accepted: Ear[] = [];
  await listen(world, b.boot(), (pipe) => accepted.push(new Ear(pipe)));
  const pipe = await dial(world, a.boot(), "hb");
  assert.ok(typeof pipe === "object");
  await world.until(() => accepted.length > 0, 100, "accepted");
  const far = accepted[0];
  assert.ok(far !== undefined);
  return { world, a, b, near: new Ear(pipe), far };
}

test("bytes arrive whole and in order, cut at places that change with the seed", async () => {
  let chunks = 0;
  for (const seed of seeds) {
    const { world, near, far } = await two(seed);
    const sent: Buffer[] = [];
    for (let i = 0; i < 50; i++) {
      const bytes = Buffer.alloc(1 + world.dice.integer(200), i);
      sent.push(bytes);
      near.pipe.write(bytes);
      await world.run(world.dice.between(0, 2));
    }
    far.pipe.write(Buffer.from("back"));
    await world.run(1000);
    assert.ok(far.received.equals(Buffer.concat(sent)));
    assert.equal(near.received.toString(), "back");
    assert.equal(near.pipe.bufferedBytes, 0);
    chunks += far.chunks;
  }
  assert.ok(chunks > 20 * seeds.length);
});

test("close lets go what was written; each end hears of it once, later", async () => {
  for (const seed of seeds) {
    const { world, near, far } = await two(seed);
    near.pipe.write(Buffer.alloc(100_000));
    near.pipe.close();
    near.pipe.write(Buffer.from("too late"));
    assert.equal(near.closes, 0);
    far.pipe.write(Buffer.from("not read any more"));
    await world.run(3000);
    assert.equal(far.received.length, 100_000);
    near.pipe.destroy();
    far.pipe.close();
    far.pipe.destroy();
    await world.run(3000);
    assert.deepEqual([near.closes, far.closes], [1, 1]);
    assert.equal(near.received.length, 0);
  }
});

test("destroy is heard once at both ends; what was on the way may be lost", async () => {
  const lengths = new Set<number>();
  for (const seed of seeds) {
    const { world, near, far } = await two(seed);
    for (let i = 0; i < 10; i++) near.pipe.write(Buffer.alloc(10));
    near.pipe.destroy();
    near.pipe.destroy();
    assert.equal(near.closes, 0);
    await world.run(3000);
    assert.deepEqual([near.closes, far.closes], [1, 1]);
    lengths.add(far.received.length);
  }
  assert.ok(lengths.size > 3, "the same was lost every time");
});

test("a closed port refuses, an unknown or cut-off host is unreachable after 2 s", async () => {
  const world = new World(1);
  const [a, b, c] = [world.node("a@ha"), world.node("b@hb"), world.node("c@hc")];
  const life = a.boot();
  assert.equal(await dial(world, life, "hb"), "refused");
  assert.ok(world.nowMs < 150);
  const startMs = world.nowMs;
  assert.equal(await dial(world, life, "nowhere"), "unreachable");
  assert.equal(world.nowMs - startMs, 2000);
  await listen(world, b.boot(), () => assert.fail("it was accepted"));
  world.partition([a], [b, c]);
  assert.equal(await dial(world, life, "hb"), "unreachable");
  assert.equal(await dial(world, life, "hc"), "unreachable");
});

test("several nodes share a host: each has ports of its own, loopback is the host itself", async () => {
  const world = new World(1);
  const lives = [world.node("a@127.0.0.1").boot(), world.node("b@127.0.0.1").boot()];
  const ports: number[] = [];
  for (const life of lives) {
    const listener = life.transport.listen("0.0.0.0", [4370, 4371], (pipe) => pipe.destroy());
    ports.push((await world.settled(listener, 0, "listening")).port);
  }
  assert.deepEqual(ports, [4370, 4371]);
  const [first] = lives;
  assert.ok(first !== undefined);
  const third = first.transport.listen("0.0.0.0", [4370, 4371], () => undefined);
  await assert.rejects(world.settled(third, 0, "listening"), Refusal);
  const any = await world.settled(
    first.transport.listen("", [0, 0], () => undefined),
    0,
    "any",
  );
  assert.ok(any.port > 4399);
  assert.ok(typeof (await dial(world, first, "localhost")) === "object");
});

test("a closed listener refuses; its pipes live on", async () => {
  const world = new World(1);
  const accepted: Ear[] = [];
  const b = world.node("b@hb").boot();
  const listening = b.transport.listen("hb", [4370, 4370], (pipe) => accepted.push(new Ear(pipe)));
  const listener = await world.settled(listening, 0, "listening");
  const a = world.node("a@ha").boot();
  const pipe = await dial(world, a, "hb");
  assert.ok(typeof pipe === "object");
  await world.run(200);
  listener.close();
  assert.equal(await dial(world, a, "hb"), "refused");
  pipe.write(Buffer.from("still here"));
  await world.run(200);
  assert.equal(accepted[0]?.received.toString(), "still here");
});

test("across a partition nothing passes and nothing closes; after healing all of it arrives", async () => {
  for (const seed of seeds) {
    const { world, a, b, near, far } = await two(seed);
    near.pipe.write(Buffer.from("before "));
    await world.run(500);
    world.partition([a], [b]);
    near.pipe.write(Buffer.from("during "));
    await world.run(60_000);
    near.pipe.write(Buffer.from("later"));
    assert.equal(far.received.toString(), "before ");
    assert.deepEqual([near.closes, far.closes], [0, 0]);
    world.heal();
    await world.run(1000);
    assert.equal(far.received.toString(), "before during later");
  }
});

test("a pipe that was given up during a partition ends at the other side after it", async () => {
  const { world, a, b, near, far } = await two(3);
  world.cutLink(a, b);
  near.pipe.destroy();
  await world.run(10_000);
  assert.deepEqual([near.closes, far.closes], [1, 0]);
  world.mendLink(a, b);
  await world.run(1000);
  assert.deepEqual([near.closes, far.closes], [1, 1]);
});

test("close during a partition is given up after 2 s", async () => {
  const { world, a, b, near } = await two(3);
  world.partition([a], [b]);
  near.pipe.close();
  await world.run(1999);
  assert.equal(near.closes, 0);
  await world.run(2);
  assert.equal(near.closes, 1);
});

test("broken pipes are heard of at both ends, and new ones can be made", async () => {
  for (const seed of seeds) {
    const { world, a, b, near, far } = await two(seed);
    for (let i = 0; i < 10; i++) near.pipe.write(Buffer.alloc(1000));
    world.breakPipes(b, a);
    await world.run(100);
    assert.deepEqual([near.closes, far.closes], [1, 1]);
    assert.ok(a.life !== null && typeof (await dial(world, a.life, "hb")) === "object");
  }
});

test("a crash ends the peer's pipe, frees the port, and calls nobody at the dead end", async () => {
  const { world, b, a, near, far } = await two(5);
  b.crash();
  far.pipe.write(Buffer.from("from the dead"));
  far.pipe.destroy();
  await world.run(200);
  assert.deepEqual([near.closes, far.closes], [1, 0]);
  assert.equal(near.received.length, 0);
  assert.ok(a.life !== null);
  assert.equal(await dial(world, a.life, "hb"), "refused");
  await listen(world, b.boot(), () => undefined);
  assert.ok(typeof (await dial(world, a.life, "hb")) === "object");
});

test("a crash behind a partition is heard of when it heals", async () => {
  const { world, a, b, near } = await two(5);
  world.partition([a], [b]);
  b.crash();
  await world.run(30_000);
  assert.equal(near.closes, 0);
  world.heal();
  await world.run(1000);
  assert.equal(near.closes, 1);
});

test("a stalled node takes connections and bytes, and reads them when it wakes", async () => {
  const { world, a, b, near, far } = await two(6);
  b.stall(5000);
  assert.ok(a.life !== null && typeof (await dial(world, a.life, "hb")) === "object");
  near.pipe.write(Buffer.alloc(1 << 20));
  await world.run(4000);
  assert.equal(far.received.length, 0);
  assert.ok(near.pipe.bufferedBytes > 0 && near.pipe.bufferedBytes < 1 << 20);
  await world.run(2000);
  assert.equal(far.received.length, 1 << 20);
  assert.equal(near.pipe.bufferedBytes, 0);
});

test("a dial whose answer is cut off on the way fails, and the other end closes", async () => {
  for (const seed of seeds) {
    const world = new World(seed);
    const [a, b] = [world.node("a@ha"), world.node("b@hb")];
    const accepted: Ear[] = [];
    await listen(world, b.boot(), (pipe) => accepted.push(new Ear(pipe)));
    const results: unknown[] = [];
    a.boot().transport.dial("hb", 4370, (result) => results.push(result));
    await world.run(world.dice.between(0, 6));
    world.partition([a], [b]);
    await world.run(5000);
    world.heal();
    await world.run(1000);
    assert.equal(results.length, 1);
    if (results[0] !== "unreachable") continue;
    assert.ok(accepted.every((ear) => ear.closes === 1));
  }
});
