/** The shared store in memory, and places in it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../../src/lib/log.js";
import { Adopter } from "../../src/store/adoption.js";
import type { Adoption } from "../../src/store/shared.js";
import { type MemoryAccess, SharedMemory } from "../../src/store/shared-memory.js";
import { leaseBookContract } from "../contract/lease-book.js";
import { HandClock } from "./support.js";

const times = { intervalMs: 1000, leaseMs: 4000 };
const dead = { node: "a@h", dataId: "d", incarnation: 1 };

leaseBookContract("SharedMemory", async () => {
  const clock = new HandClock();
  const memory = new SharedMemory(clock, times.leaseMs);
  return {
    open: async (node) => {
      const book = memory.open(node);
      return { book, store: book.store };
    },
    tenth: () => clock.advance(times.leaseMs / 10),
  };
});

interface Scene {
  readonly clock: HandClock;
  readonly memory: SharedMemory;
  readonly access: MemoryAccess;
  readonly adopter: Adopter;
  readonly adoption: Adoption;
}

/** `b@h` adopts what `a@h` left. */
async function scene(): Promise<Scene> {
  const clock = new HandClock();
  const memory = new SharedMemory(clock, times.leaseMs);
  await memory.open("a@h").take(dead, false);
  const access = memory.open("b@h");
  const adopter = new Adopter({ self: "b@h", book: access, times, clock, log: silentLog });
  assert.equal(await adopter.adopt("a@h", "d", 1, false), null);
  const adoption = await adopter.adopt("a@h", "d", 1, true);
  assert.ok(adoption);
  return { clock, memory, access, adopter, adoption };
}

const write = { partition: "p", operations: [] };

test("a place is renewed until it is given back", async () => {
  const { clock, memory, adoption, adopter } = await scene();
  for (let i = 0; i < 20; i++) await clock.advance(1000);
  assert.equal(adoption.isLost, false);
  assert.deepEqual(await adoption.store.write([write]), [null]);
  const next = memory.open("a@h");
  const later = { ...dead, incarnation: 2 };
  assert.equal((await next.take(later, false)).kind, "adopting");
  await adoption.done();
  await adoption.done();
  assert.equal((await next.take(later, false)).kind, "held");
  assert.equal(clock.timerCount, 0);
  assert.equal((await adoption.store.write([write]))[0]?.kind, "fenced");
  assert.deepEqual(adopter.counters, { placesTaken: 1, placesRefused: 1, placesLost: 0 });
});

test("a node that comes back takes the places: what is not adopted then is not", async () => {
  const { clock, memory, adoption, adopter } = await scene();
  let lost = 0;
  adoption.onLost = () => lost++;
  assert.equal((await memory.open("a@h").take({ ...dead, incarnation: 2 }, true)).kind, "adopting");
  await clock.advance(1000);
  assert.equal(lost, 1);
  assert.equal(adoption.isLost, true);
  assert.equal((await adoption.store.write([write]))[0]?.kind, "fenced");
  assert.equal(adopter.counters.placesLost, 1);
  await clock.advance(9000);
  assert.equal(lost, 1);
  adoption.onLost = () => lost++;
  assert.equal(lost, 2);
});

test("a place that could not be renewed in time is lost before others believe so", async () => {
  const { clock, access, adoption } = await scene();
  access.isReachable = false;
  for (let i = 0; i < 2; i++) await clock.advance(1000);
  assert.equal(adoption.isLost, false);
  assert.equal((await adoption.store.write([write]))[0]?.kind, "unavailable");
  await clock.advance(1000);
  assert.equal(adoption.isLost, true);
});

test("a process that was stopped finds its place lost at its first write", async () => {
  const { clock, adoption } = await scene();
  clock.nowMs += 3000;
  assert.equal((await adoption.store.write([write]))[0]?.kind, "fenced");
  assert.equal(adoption.isLost, true);
});
