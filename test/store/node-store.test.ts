/** The store of a node: what is said when nothing can be stored for now, or ever again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { configSchema } from "../../src/config/schema.js";
import type { Log } from "../../src/lib/log.js";
import { seededRandom } from "../../src/lib/random.js";
import { NodeStore } from "../../src/store/node-store.js";
import { HandClock, Notebook, ToldStore } from "./support.js";

interface Opened {
  readonly kept: NodeStore;
  readonly store: ToldStore;
  readonly clock: HandClock;
  /** Lines at level error. */
  readonly errors: string[];
  readonly broken: string[];
  readonly stalls: boolean[];
}

function open(): Opened {
  const store = new ToldStore();
  const clock = new HandClock();
  const errors: string[] = [];
  const broken: string[] = [];
  const stalls: boolean[] = [];
  const quiet = (): void => undefined;
  const log: Log = {
    ...{ level: "error", debug: quiet, info: quiet, warn: quiet, child: () => log },
    error: (_fields: object, message: string) => void errors.push(message),
  };
  const kept = new NodeStore(store, {
    ...{ config: configSchema.parse({}), clock, log, random: seededRandom(1) },
    onBroken: ({ why }) => void broken.push(why),
  });
  kept.onStall = (stalled) => void stalls.push(stalled);
  return { kept, store, clock, errors, broken, stalls };
}

function change(kept: NodeStore): Notebook {
  const book = new Notebook("p");
  book.note("x");
  kept.commits.touch(book);
  return book;
}

test("a store that takes nothing is an alarm until it takes everything again", async () => {
  const { kept, store, clock, errors, stalls } = open();
  assert.equal(kept.alarm, null);
  store.failures.set("*", { kind: "full", why: "no space" });
  const book = change(kept);
  await clock.turn();
  await clock.turn();
  assert.match(kept.alarm ?? "", /takes nothing since .* \(full\): no space/);
  assert.equal(kept.counters.stalled, 1);
  assert.deepEqual([errors.length, stalls], [1, [true]]);
  assert.deepEqual(book.heard, []);
  store.failures.clear();
  await clock.advance(10_000);
  assert.equal(kept.alarm, null);
  assert.deepEqual(stalls, [true, false]);
  assert.deepEqual(book.heard, ["committed x"]);
});

test("a broken store: said once, and nothing is committed or acknowledged afterwards", async () => {
  const { kept, store, clock, errors, broken } = open();
  store.failures.set("*", { kind: "broken", why: "input/output error" });
  const book = change(kept);
  await clock.turn();
  assert.deepEqual(broken, ["input/output error"]);
  assert.equal(errors.length, 1);
  assert.match(kept.alarm ?? "", /broken/);
  store.failures.clear();
  const later = change(kept);
  await clock.advance(60_000);
  assert.deepEqual([book.heard, later.heard], [[], []]);
  assert.deepEqual(broken.length, 1);
});

test("closing waits for what was touched, but not for a store that takes nothing", async () => {
  const first = open();
  const book = change(first.kept);
  let closed = false;
  void first.kept.close().then(() => {
    closed = true;
  });
  for (let turns = 0; turns < 10; turns++) await first.clock.turn();
  assert.ok(closed);
  assert.deepEqual(book.heard, ["committed x"]);
  const second = open();
  second.store.failures.set("*", { kind: "unavailable", why: "no server" });
  const lost = change(second.kept);
  let given = false;
  void second.kept.close().then(() => {
    given = true;
  });
  for (let seconds = 0; seconds < 10; seconds++) await second.clock.advance(1000);
  assert.ok(given);
  assert.deepEqual(lost.heard, []);
  assert.ok(second.errors.some((line) => line.includes("none of that was acknowledged")));
});
