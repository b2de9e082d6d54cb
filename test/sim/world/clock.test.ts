/** Virtual time: the order of events, the end of a turn, and processes that are stalled or dead. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep } from "../../../src/lib/clock.js";
import { TimerWheel } from "../../../src/lib/timer-wheel.js";
import { worldStartMs } from "./clock.js";
import { World, WorldFailure } from "./world.js";

test("timers fire in the order of their times, then of their setting", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const seen: string[] = [];
  const due = [30, 10, 20, 10, 0, 30];
  for (const [index, delayMs] of due.entries()) {
    clock.setTimer(delayMs, () => seen.push(`${clock.monotonicMs()}:${index}`));
  }
  await world.run(25);
  assert.deepEqual(seen, ["0:4", "10:1", "10:3", "20:2"]);
  assert.equal(clock.monotonicMs(), 25);
  await world.run(100);
  assert.deepEqual(seen.slice(4), ["30:0", "30:5"]);
});

test("many timers fire in order, whatever the order of setting", async () => {
  const world = new World(2);
  const { clock } = world.node("a@h").boot();
  const seen: number[] = [];
  const delays = Array.from({ length: 3000 }, () => world.dice.integer(1000));
  for (const delayMs of delays) clock.setTimer(delayMs, () => seen.push(delayMs));
  await world.run(1000);
  assert.deepEqual(
    seen,
    delays.toSorted((a, b) => a - b),
  );
});

test("a timer that was cleared never fires, and clearing twice is ignored", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const timer = clock.setTimer(5, () => assert.fail("it fired"));
  clock.clearTimer(timer);
  clock.clearTimer(timer);
  clock.clearTimer(undefined);
  await world.run(10);
});

test("a turn ends with its promises, then what it deferred, before time moves on", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const seen: string[] = [];
  clock.setTimer(1, () => {
    clock.defer(() => {
      seen.push("deferred");
      clock.defer(() => seen.push("deferred by deferred"));
      Promise.resolve().then(() => seen.push("promise of deferred"));
    });
    clock.setTimer(0, () => seen.push("next turn"));
    (async () => {
      for (let i = 0; i < 20; i++) await null;
      seen.push("promise");
    })();
    seen.push("turn");
  });
  await world.run(1);
  assert.deepEqual(seen, [
    ...["turn", "promise", "deferred", "promise of deferred", "deferred by deferred"],
    "next turn",
  ]);
});

test("what was deferred before the world runs comes first", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const seen: string[] = [];
  clock.setTimer(0, () => seen.push("timer"));
  clock.defer(() => seen.push("deferred"));
  await world.run(0);
  assert.deepEqual(seen, ["deferred", "timer"]);
});

test("waiting in code runs in virtual time", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const slept = (async () => {
    await sleep(clock, 3_600_000);
    await sleep(clock, 3_600_000);
    return clock.monotonicMs();
  })();
  assert.equal(await world.settled(slept, 10_000_000, "two hours"), 7_200_000);
});

test("the timer wheel of src/lib runs on it", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const wheel = new TimerWheel(clock);
  let firedMs = 0;
  const entry = {
    wheelDue: 0,
    wheelNext: null,
    wheelPrevious: null,
    onDeadline: () => {
      firedMs = clock.monotonicMs();
    },
  };
  wheel.set(entry, 60_000);
  await world.run(70_000);
  assert.ok(firedMs >= 60_000 && firedMs <= 60_300, `${firedMs}`);
});

test("wall clocks may be off, and may jump", async () => {
  const world = new World(1);
  const a = world.node("a@h").boot();
  const b = world.node("b@h", { wallOffsetMs: -5000 });
  const life = b.boot();
  await world.run(10);
  assert.equal(a.clock.wallMs(), worldStartMs + 10);
  assert.equal(life.clock.wallMs(), worldStartMs + 10 - 5000);
  b.wallOffsetMs = 86_400_000;
  assert.equal(life.clock.wallMs(), worldStartMs + 10 + 86_400_000);
  assert.equal(life.clock.monotonicMs(), 10);
});

test("a crashed process does nothing more; its next life starts afresh", async () => {
  const world = new World(1);
  const node = world.node("a@h");
  const first = node.boot();
  assert.throws(() => node.boot(), /runs already/);
  first.clock.setTimer(5, () => assert.fail("a timer of the dead"));
  first.clock.setTimer(1, () => {
    first.clock.defer(() => assert.fail("the dead deferred"));
    node.crash();
  });
  await world.run(2);
  assert.equal(node.life, null);
  node.crash();
  const second = node.boot();
  let fired = 0;
  second.clock.setTimer(5, () => fired++);
  await world.run(10);
  assert.equal(fired, 1);
});

test("a stalled process catches up when it wakes; others go on", async () => {
  const world = new World(1);
  const node = world.node("a@h");
  const a = node.boot();
  const b = world.node("b@h").boot();
  const seen: string[] = [];
  for (const delayMs of [40, 20, 60, 100]) {
    a.clock.setTimer(delayMs, () => seen.push(`a${delayMs} at ${a.clock.monotonicMs()}`));
  }
  b.clock.setTimer(30, () => seen.push("b"));
  await world.run(10);
  node.stall(70);
  await world.run(200);
  assert.deepEqual(seen, ["b", "a20 at 80", "a40 at 80", "a60 at 80", "a100 at 100"]);
});

test("what is thrown comes out with the seed and the last events", async () => {
  const world = new World(4711, "type this");
  const { clock } = world.node("a@h").boot();
  clock.setTimer(5, () => {
    throw new Error("broken");
  });
  await assert.rejects(world.run(10), (error) => {
    assert.ok(error instanceof WorldFailure);
    for (const part of ["seed 4711", "broken", "a@h boots", "again: type this"]) {
      assert.ok(error.message.includes(part), part);
    }
    return true;
  });
});

test("code that keeps time from moving is found out", async () => {
  const world = new World(1);
  const { clock } = world.node("a@h").boot();
  const again = (): void => void clock.setTimer(0, again);
  again();
  await assert.rejects(world.run(1), /time stands still/);
});

test("a condition that never holds is reported with what was seen", async () => {
  const world = new World(7);
  let count = 0;
  const { clock } = world.node("a@h").boot();
  clock.setTimer(5, () => count++);
  await world.until(() => count === 1, 100, "one");
  assert.equal(world.nowMs, 5);
  const failure = world.until(
    () => count === 2,
    100,
    () => `count is ${count}`,
  );
  await assert.rejects(failure, /not within 100 ms of virtual time: count is 1/);
  assert.equal(world.nowMs, 105);
  assert.throws(() => world.check(false, () => "wrong"), /seed 7.*wrong/s);
});
