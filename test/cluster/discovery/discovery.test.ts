/** The discovery loop in virtual time, with strategies that answer, fail and hang; and the static list. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Discovery, openStrategies } from "../../../src/cluster/discovery/index.js";
import type { FoundNode, Strategy } from "../../../src/cluster/discovery/index.js";
import { staticList } from "../../../src/cluster/discovery/static.js";
import { Refusal } from "../../../src/lib/refusal.js";
import { World } from "../../sim/world/world.js";

interface Run {
  readonly world: World;
  readonly discovery: Discovery;
  /** `time strategy host` of each node handed on. */
  readonly found: string[];
}

function start(strategies: Record<string, Strategy>, self: FoundNode = { host: "self" }): Run {
  const world = new World(1);
  const { clock, random, log } = world.node("a@self").boot();
  const found: string[] = [];
  const discovery = new Discovery({
    ...{ clock, random, log },
    strategies: new Map(Object.entries(strategies)),
    self: () => self,
    intervalMs: 1000,
    onFound: ({ name, host, port }, strategy) => {
      found.push(`${clock.monotonicMs()} ${strategy} ${name ?? host}${port ? `:${port}` : ""}`);
    },
  });
  discovery.start();
  return { world, discovery, found };
}

const hosts = (...names: string[]): Strategy => ({
  find: async () => names.map((host) => ({ host })),
});

test("what is found is handed on at the start, and again at every interval", async () => {
  const { world, discovery, found } = start({ static: hosts("b", "c") });
  await world.run(0);
  assert.deepEqual(found, ["0 static b", "0 static c"]);
  // Each interval is spread to 750-1,250 ms.
  await world.run(2600);
  const times = [...new Set(found.map((line) => Number.parseFloat(line)))];
  assert(times.length >= 3 && times.length <= 4, `asked at ${times.join(", ")}`);
  for (const [i, time] of times.slice(1).entries()) {
    const wait = time - (times[i] ?? 0);
    assert(wait >= 750 && wait <= 1250, `waited ${wait} ms`);
  }
  assert.deepEqual(
    found.map((line) => line.split(" ").slice(1).join(" ")),
    times.flatMap(() => ["static b", "static c"]),
  );
  discovery.stop();
  const before = found.length;
  await world.run(10_000);
  assert.equal(found.length, before);
});

test("several strategies are asked side by side", async () => {
  const never: Strategy = { find: () => new Promise(() => undefined) };
  const { world, found } = start({ one: hosts("b"), hanging: never, two: hosts("b", "c") });
  await world.run(0);
  assert.deepEqual(found, ["0 one b", "0 two b", "0 two c"]);
});

test("this node is dropped, by name or by host and port; others on its host are not", async () => {
  const strategy: Strategy = {
    find: async () => [
      { name: "a@self", host: "self" },
      { name: "a@self", host: "10.0.0.1", port: 1 },
      { name: "b@self", host: "self", port: 4370 },
      { host: "self", port: 4370 },
      { host: "self", port: 4371 },
      { host: "self" },
    ],
  };
  const { world, found } = start({ x: strategy }, { name: "a@self", host: "self", port: 4370 });
  await world.run(0);
  assert.deepEqual(found, ["0 x b@self:4370", "0 x self:4371", "0 x self"]);
});

test("a node that stands there twice is handed on once", async () => {
  const { world, found } = start({ x: hosts("b", "b", "c", "b") });
  await world.run(0);
  assert.deepEqual(found, ["0 x b", "0 x c"]);
});

test("a strategy that fails is asked again, later and later, until it works", async () => {
  const askedMs: number[] = [];
  let broken = true;
  // The first question comes while the world is being made.
  let nowMs = (): number => 0;
  const strategy: Strategy = {
    find: () => {
      askedMs.push(nowMs());
      if (!broken) return Promise.resolve([{ host: "b" }]);
      // Both ways to fail.
      if (askedMs.length % 2 === 0) throw new Error("no name server");
      return Promise.reject(new Error("no name server"));
    },
  };
  const { world, discovery, found } = start({ dns: strategy });
  nowMs = () => world.nowMs;
  await world.run(300_000);
  assert.ok(askedMs.length >= 8 && askedMs.length <= 14, `${askedMs.length} times`);
  const waits = askedMs.slice(1).map((ms, index) => ms - (askedMs[index] ?? 0));
  assert.ok(Math.min(...waits) >= 375, "not at once");
  assert.ok(Math.max(...waits) <= 75_000, "never longer than this");
  assert.equal(discovery.failures.get("dns"), askedMs.length);
  broken = false;
  await world.run(80_000);
  assert.ok(found.length > 0);
  const before = found.length;
  await world.run(3000);
  assert.equal(found.length, before + 3);
  const trace = world.trace.latest();
  assert.equal(trace.match(/discovery failed; trying again/g)?.length, 1);
  assert.equal(trace.match(/discovery works again/g)?.length, 1);
});

test("a question without an answer fails after 10 s, and its late answer is ignored", async () => {
  let answer = (_: readonly FoundNode[]): void => undefined;
  let asked = 0;
  const strategy: Strategy = {
    find: () => {
      asked++;
      return new Promise((resolve) => {
        if (asked === 1) answer = resolve;
      });
    },
  };
  const { world, discovery, found } = start({ slow: strategy });
  await world.run(9_999);
  assert.equal(asked, 1);
  await world.run(1_000);
  assert.equal(asked, 2);
  assert.equal(discovery.failures.get("slow"), 1);
  answer([{ host: "b" }]);
  await world.run(100);
  assert.deepEqual(found, []);
});

test("an answer that comes after the stop is not handed on", async () => {
  let answer = (_: readonly FoundNode[]): void => undefined;
  const strategy: Strategy = {
    find: () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  };
  const { world, discovery, found } = start({ slow: strategy });
  await world.run(10);
  discovery.stop();
  answer([{ host: "b" }]);
  await world.run(60_000);
  assert.deepEqual(found, []);
  assert.equal(discovery.failures.get("slow"), 0);
});

test("a static list is what it says, this node included", async () => {
  const list = staticList({ nodes: ["a@h1", "b@H2:4371", "c@[::1]:4372"] });
  assert.deepEqual(await list?.find(), [
    { name: "a@h1", host: "h1" },
    { name: "b@h2", host: "h2", port: 4371 },
    { name: "c@[::1]", host: "::1", port: 4372 },
  ]);
});

test("only what is configured is asked, and a wrong name is refused", () => {
  assert.deepEqual([...openStrategies({ static: { nodes: [] } }).keys()], []);
  assert.deepEqual([...openStrategies({ static: { nodes: ["a@h"] } }).keys()], ["static"]);
  assert.throws(() => openStrategies({ static: { nodes: ["a@h", "b"] } }), Refusal);
});
