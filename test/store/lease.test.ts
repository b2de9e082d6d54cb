/** A node's own lease: taken, renewed, not renewed in time, taken for lapsed by others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../src/lib/log.js";
import { Refusal } from "../../src/lib/refusal.js";
import { Lease } from "../../src/store/lease.js";
import { type MemoryAccess, SharedMemory } from "../../src/store/shared-memory.js";
import { HandClock } from "./support.js";

const times = { intervalMs: 1000, leaseMs: 4000 };
const holder = { node: "a@h", dataId: "d", incarnation: 5 };

class Scene {
  readonly clock = new HandClock();
  readonly memory = new SharedMemory(this.clock, times.leaseMs);
  readonly access: MemoryAccess = this.memory.open("a@h");
  readonly lease: Lease;
  readonly suspensions: (string | null)[] = [];
  readonly ends: string[] = [];
  isAlone = false;
  /** How long ago peers renewed; those that do not answer are left out. */
  ages: readonly number[] = [];

  constructor() {
    this.lease = new Lease({
      ...{ book: this.access, times, clock: this.clock, log: silentLog, startTimeoutMs: 2000 },
      holder: () => holder,
      isAlone: () => this.isAlone,
      askPeers: (onAnswer) => {
        for (const [index, ageMs] of this.ages.entries()) onAnswer(`p${index}`, ageMs);
      },
      onSuspended: (why) => this.suspensions.push(why),
      onEnded: (why) => this.ends.push(why),
    });
  }

  async seconds(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.clock.advance(1000);
  }
}

async function held(): Promise<Scene> {
  const scene = new Scene();
  await scene.lease.take();
  return scene;
}

test("a lease is renewed for as long as the node lives, and given up when it stops", async () => {
  const { lease, memory, clock, ...scene } = await held();
  for (let i = 0; i < 30; i++) {
    await clock.advance(1000);
    assert.equal(lease.look(), true);
    assert.equal(await memory.open("b@h").takePlace(holder, "b@h", false), 0);
  }
  assert.deepEqual(lease.gauges, { held: 1, suspended: 0 });
  assert.equal(lease.counters.renewals, 30);
  await lease.release();
  assert.equal(clock.timerCount, 0);
  assert.notEqual(await memory.open("b@h").takePlace(holder, "b@h", false), 0);
  assert.deepEqual(scene.suspensions, []);
});

test("while others reach the store and this node does not, it serves no persistent session", async () => {
  const scene = await held();
  scene.access.isReachable = false;
  scene.ages = [300, 2500];
  await scene.seconds(2);
  assert.equal(scene.lease.look(), true);
  await scene.seconds(1);
  assert.equal(scene.lease.look(), false);
  assert.match(scene.suspensions[0] ?? "", /could not renew its lease for 3000 ms/);
  await scene.seconds(5);
  assert.equal(scene.suspensions.length, 1);
  assert.deepEqual(scene.lease.gauges, { held: 0, suspended: 1 });
  scene.access.isReachable = true;
  await scene.seconds(1);
  assert.equal(scene.lease.look(), true);
  assert.deepEqual(scene.suspensions.slice(1), [null]);
  assert.equal(scene.lease.counters.suspensions, 1);
  assert.deepEqual(scene.ends, []);
});

test("whoever hears nobody cannot know that nobody adopts", async () => {
  const scene = await held();
  scene.access.isReachable = false;
  await scene.seconds(3);
  assert.equal(scene.lease.look(), false);
});

test("the store is away for all: serving goes on, until somebody reaches it again", async () => {
  const scene = await held();
  scene.access.isReachable = false;
  for (let i = 0; i < 10; i++) {
    // They renewed last a little later than this node, or earlier.
    scene.ages = [i * 1000, i * 1000 + 1900];
    await scene.seconds(1);
    assert.equal(scene.lease.look(), true);
  }
  assert.deepEqual(scene.lease.gauges, { held: 0, suspended: 0 });
  scene.ages = [11_000, 200];
  await scene.seconds(1);
  assert.equal(scene.lease.look(), false);
  // Nobody is heard any more.
  scene.ages = [];
  await scene.seconds(3);
  assert.equal(scene.suspensions.length, 1);
});

test("a cluster of one goes on without the store as it did", async () => {
  const scene = await held();
  scene.isAlone = true;
  scene.access.isReachable = false;
  await scene.seconds(20);
  assert.equal(scene.lease.look(), true);
  scene.isAlone = false;
  await scene.seconds(1);
  assert.equal(scene.lease.look(), false);
});

test("a process that was stopped finds out before its timers do", async () => {
  const scene = await held();
  scene.clock.nowMs += 3500;
  assert.equal(scene.lease.look(), false);
  assert.equal(scene.suspensions.length, 1);
  await scene.seconds(1);
  assert.equal(scene.lease.look(), true);
});

test("a node whose sessions others adopted ends and serves nobody", async () => {
  const scene = await held();
  assert.notEqual(await scene.memory.open("b@h").takePlace(holder, "b@h", true), 0);
  await scene.seconds(1);
  assert.match(scene.ends.join(), /took this one for dead and have adopted its sessions/);
  assert.equal(scene.lease.look(), false);
  assert.equal(scene.suspensions.length, 1);
  await scene.seconds(5);
  assert.equal(scene.ends.length, 1);
  assert.equal(scene.clock.timerCount, 0);
});

test("a later process under the same name ends this one", async () => {
  const scene = await held();
  await scene.memory.open("a@h").take({ ...holder, dataId: "other", incarnation: 6 }, false);
  await scene.seconds(1);
  assert.match(scene.ends.join(), /another process runs under this node's name/);
});

test("a start waits for those who adopt, and at last does not", async () => {
  const scene = new Scene();
  await scene.access.take({ ...holder, incarnation: 1 }, false);
  const b = scene.memory.open("b@h");
  const before = { ...holder, incarnation: 1 };
  await b.takePlace(before, "b@h", true);
  let isTaken = false;
  void scene.lease.take().then(() => {
    isTaken = true;
  });
  let waitedMs = 0;
  for (; !isTaken && waitedMs < 60_000; waitedMs += 100) {
    await scene.clock.advance(100);
    await b.renewPlace(before, "b@h");
  }
  // 30 s until it insists, and no more than a lease until the last place has lapsed.
  assert.ok(waitedMs > 30_000 && waitedMs < 35_000, String(waitedMs));
  assert.equal(scene.lease.counters.adoptersAwaited, 1);
  scene.lease.close();
});

test("a start that does not reach the store is refused after a while", async () => {
  const scene = new Scene();
  scene.access.isReachable = false;
  const taking = assert.rejects(scene.lease.take(), (error: Error) => {
    return error instanceof Refusal && /gets no lease in the store/.test(error.message);
  });
  for (let i = 0; i < 30; i++) await scene.clock.advance(100);
  await taking;
});
