/** Whoever adopts raises the bound above which the dead node starts, before it raises a fence. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StampKeeper } from "../../../src/cluster/stamp-keeper.js";
import { silentLog } from "../../../src/lib/log.js";
import { HybridClock } from "../../../src/lib/hlc.js";
import { CoveredPlace } from "../../../src/session/adoption/covered-place.js";
import { Adopter } from "../../../src/store/adoption.js";
import { SharedMemory } from "../../../src/store/shared-memory.js";
import { HandClock } from "../../store/support.js";

const times = { intervalMs: 1000, leaseMs: 4000 };
const dead = { node: "a@h", dataId: "d", incarnation: 1 };
/** The clock of the adopters is ahead. */
const fence = 5_000_000_000_000;

async function scene() {
  const clock = new HandClock();
  const memory = new SharedMemory(clock, times.leaseMs);
  await memory.open("a@h").take(dead, false);
  const placeOf = async (self: string): Promise<CoveredPlace> => {
    const adopter = new Adopter({ self, book: memory.open(self), times, clock, log: silentLog });
    const take = () => adopter.adopt("a@h", "d", 1, true);
    const adoption = await take();
    assert.ok(adoption);
    return new CoveredPlace(adoption, take);
  };
  /** The first stamp of the node when it starts again. */
  const startAgain = async (): Promise<number> => {
    const access = memory.open("a@h");
    const later = { ...dead, incarnation: 2 };
    assert.equal((await access.take(later, false)).kind, "held");
    const stamps = new HybridClock(clock);
    await new StampKeeper(stamps, { touch: () => undefined }).load(access.store);
    return stamps.next();
  };
  return { clock, placeOf, startAgain };
}

const written = (partition: string, epoch: number) => [
  { partition, fence: epoch, operations: [{ kind: "deleteRange", from: "", to: "z" }] as const },
];

test("a node whose sessions were adopted starts above every fence that is left behind", async () => {
  const { clock, placeOf, startAgain } = await scene();
  const place = await placeOf("b@h");
  assert.deepEqual(await place.store.write(written("session/x", fence)), [null]);
  await place.done();
  assert.ok((await startAgain()) > fence);
  assert.equal(clock.timerCount, 0);
});

test("of two that adopt the one with the higher epoch counts", async () => {
  const { placeOf, startAgain } = await scene();
  const [one, other] = [await placeOf("b@h"), await placeOf("c@h")];
  const both = [
    one.store.write(written("session/x", fence)),
    other.store.write(written("session/y", fence + 1e9)),
  ];
  assert.deepEqual(await Promise.all(both), [[null], [null]]);
  assert.deepEqual(await one.store.write(written("session/z", fence + 10)), [null]);
  await one.done();
  await other.done();
  assert.ok((await startAgain()) > fence + 1e9);
});

test("what the node could not be told of is not fenced", async () => {
  const { placeOf, startAgain, clock } = await scene();
  const place = await placeOf("b@h");
  await clock.advance(10);
  await place.done();
  await startAgain();
  const [failure] = await place.store.write(written("session/x", fence));
  assert.equal(failure?.kind, "fenced");
});

test("a place that was given back can be written through until the node lives again, and holds nobody up", async () => {
  const { clock, placeOf, startAgain } = await scene();
  const place = await placeOf("b@h");
  await place.done();
  const two = [
    place.store.write(written("outbox/b", 0)),
    place.store.write(written("session/x", fence)),
  ];
  assert.deepEqual(await Promise.all(two), [[null], [null]]);
  assert.ok((await startAgain()) > fence);
  const [failure] = await place.store.write(written("outbox/b", 0));
  assert.equal(failure?.kind, "fenced");
  assert.equal(clock.timerCount, 0);
});
