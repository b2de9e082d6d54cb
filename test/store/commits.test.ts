/** Group commits: what is one write, what waits, what is tried again, and what is never acknowledged. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../../src/lib/backoff.js";
import { seededRandom } from "../../src/lib/random.js";
import { Commits } from "../../src/store/commits.js";
import type { StoreFailure } from "../../src/store/store.js";
import { HandClock, Notebook, ToldStore } from "./support.js";

const full: StoreFailure = { kind: "full", why: "no space" };
const gone: StoreFailure = { kind: "unavailable", why: "no answer" };
const torn: StoreFailure = { kind: "broken", why: "EIO" };
const slowMs = 10_000;
/** Longer than any wait between tries. */
const retryMs = 2000;

function build({ atomic = true, intervalMs = 0 } = {}) {
  const clock = new HandClock();
  const store = new ToldStore(atomic);
  const alarms: (string | null)[] = [];
  const backoff = new Backoff(seededRandom(1), 100, 1000);
  const commits = new Commits({
    ...{ store, clock, backoff, intervalMs, slowMs },
    onStalled: (failure) => alarms.push(failure?.kind ?? null),
    onBroken: (failure) => alarms.push(failure.kind),
  });
  const note = (book: Notebook, what: string): void => {
    book.note(what);
    commits.touch(book);
  };
  const keys = async (partition: string): Promise<string[]> =>
    (await store.read(partition)).map(([key]) => key);
  return { clock, store, commits, alarms, note, keys };
}

test("what changes in one turn, in any number of partitions, is one write at its end", async () => {
  const { clock, store, commits, note, keys } = build();
  const [a, b] = [new Notebook("a"), new Notebook("b")];
  note(a, "1");
  note(b, "2");
  note(a, "3");
  assert.equal(store.calls.length, 0);
  assert.deepEqual(a.heard, []);
  await clock.turn();
  assert.equal(store.calls.length, 1);
  assert.deepEqual(await keys("a"), ["0000-1", "0001-3"]);
  assert.deepEqual(a.heard, ["committed 1,3"]);
  assert.deepEqual(b.heard, ["committed 2"]);
  assert.deepEqual(commits.counters, {
    ...{ commits: 1, writes: 2, operations: 3, fenced: 0, retries: 0, stalls: 0 },
  });
  await clock.advance(50);
  await clock.advance(50);
  assert.equal(clock.timerCount, 0, "nothing ticks while nothing happens");
});

test("one commit is under way at a time; what comes meanwhile is the next", async () => {
  const { clock, store, note } = build();
  const a = new Notebook("a");
  store.closeGate();
  note(a, "1");
  await clock.turn();
  note(a, "2");
  await clock.turn();
  note(a, "3");
  await clock.turn();
  assert.equal(store.calls.length, 1);
  assert.deepEqual(a.heard, []);
  store.openGate();
  await clock.turn();
  await clock.turn();
  assert.equal(store.calls.length, 2);
  assert.deepEqual(a.heard, ["committed 1", "committed 2,3"]);
});

test("whoever is touched from committed() is in the next commit", async () => {
  const { clock, commits, store } = build();
  let rounds = 0;
  const again = (): void => {
    if (++rounds < 3) note();
  };
  const a = new Notebook("a", undefined, again);
  const note = (): void => {
    a.note("x");
    commits.touch(a);
  };
  note();
  for (let i = 0; i < 3; i++) await clock.turn();
  assert.equal(store.calls.length, 3);
  assert.equal(rounds, 3);
});

test("two members of one partition are one write, in the order of their touches", async () => {
  const { clock, store, note, keys } = build();
  const [a, b] = [new Notebook("same", 3), new Notebook("same", 5)];
  note(a, "x");
  note(b, "y");
  await clock.turn();
  assert.equal(store.calls[0]?.length, 1);
  assert.equal(store.calls[0]?.[0]?.fence, 5);
  assert.deepEqual(await keys("same"), ["0000-x", "0000-y"]);
});

test("with an interval a commit begins no earlier", async () => {
  const { clock, store, note } = build({ intervalMs: 5 });
  const a = new Notebook("a");
  note(a, "1");
  await clock.turn();
  note(a, "2");
  await clock.advance(4);
  assert.equal(store.calls.length, 0);
  await clock.advance(1);
  assert.equal(store.calls.length, 1);
  assert.deepEqual(a.heard, ["committed 1,2"]);
});

test("a member with nothing to write hears of it all the same, without a write", async () => {
  const { clock, store, commits } = build();
  const a = new Notebook("a");
  commits.touch(a);
  await clock.turn();
  assert.equal(store.calls.length, 0);
  assert.deepEqual(a.heard, ["committed "]);
});

test("a full store: the same write is tried until it succeeds, then all that came after", async () => {
  const { clock, store, commits, alarms, note, keys } = build();
  const [a, b, idle] = [new Notebook("a"), new Notebook("b"), new Notebook("idle")];
  store.failures.set("*", full);
  note(a, "1");
  commits.touch(idle);
  await clock.turn();
  assert.deepEqual(commits.stalled, full);
  assert.equal(commits.stalledSinceMs, clock.wallMs());
  note(a, "2");
  note(b, "3");
  await clock.advance(retryMs);
  await clock.advance(retryMs);
  assert.ok(store.calls.length >= 3);
  for (const call of store.calls) assert.deepEqual(call, store.calls[0]);
  assert.deepEqual([...a.heard, ...b.heard, ...idle.heard], []);
  store.failures.clear();
  await clock.advance(retryMs);
  assert.equal(commits.stalled, null);
  assert.deepEqual(a.heard, ["committed 1", "committed 2"]);
  assert.deepEqual(b.heard, ["committed 3"]);
  assert.deepEqual(idle.heard, ["committed "]);
  assert.deepEqual(await keys("a"), ["0000-1", "0001-2"]);
  assert.deepEqual(alarms, ["full", null]);
  assert.equal(commits.counters.stalls, 1);
});

test("a store that is not atomic: other partitions go on, the failed one keeps its order", async () => {
  const { clock, store, commits, alarms, note, keys } = build({ atomic: false });
  const [a, b] = [new Notebook("a"), new Notebook("b")];
  store.failures.set("a", gone);
  note(a, "1");
  note(b, "1");
  await clock.turn();
  assert.deepEqual(b.heard, ["committed 1"]);
  assert.deepEqual(commits.stalled, gone);
  note(a, "2");
  note(b, "2");
  await clock.turn();
  assert.deepEqual(b.heard, ["committed 1", "committed 2"]);
  assert.deepEqual(a.heard, []);
  let all = false;
  commits.whenCommitted(() => {
    all = true;
  });
  await clock.advance(retryMs);
  store.failures.clear();
  assert.equal(all, false);
  await clock.advance(retryMs);
  assert.deepEqual(a.heard, ["committed 1", "committed 2"]);
  assert.equal(all, true);
  assert.deepEqual(await keys("a"), ["0000-1", "0001-2"]);
  assert.deepEqual(alarms, ["unavailable", null]);
});

test("who is fenced hears so, once, and the others are committed", async () => {
  const { clock, store, commits, note } = build();
  await store.write([{ partition: "a", operations: [], fence: 9 }]);
  const [a, b] = [new Notebook("a", 8), new Notebook("b", 8)];
  note(a, "1");
  note(b, "1");
  await clock.turn();
  assert.deepEqual(a.heard, ["fenced"]);
  assert.deepEqual(b.heard, ["committed 1"]);
  assert.equal(commits.counters.fenced, 1);
  assert.equal(commits.stalled, null);
});

test("a broken store: nothing is ever acknowledged or begun again", async () => {
  const { clock, store, commits, alarms, note } = build();
  const a = new Notebook("a");
  store.failures.set("*", torn);
  note(a, "1");
  let all = false;
  commits.whenCommitted(() => {
    all = true;
  });
  await clock.turn();
  store.failures.clear();
  note(a, "2");
  await clock.advance(slowMs);
  assert.equal(store.calls.length, 1);
  assert.deepEqual(a.heard, []);
  assert.equal(all, false);
  assert.deepEqual(alarms, ["broken"]);
  assert.deepEqual(commits.stalled, torn);
});

test("a commit that does not come back is a stall, and ends it when it does", async () => {
  const { clock, store, commits, alarms, note } = build();
  const a = new Notebook("a");
  store.closeGate();
  note(a, "1");
  await clock.turn();
  await clock.advance(slowMs - 1);
  assert.deepEqual(alarms, []);
  await clock.advance(1);
  assert.deepEqual(alarms, ["unavailable"]);
  assert.notEqual(commits.stalled, null);
  store.openGate();
  await clock.turn();
  assert.equal(commits.stalled, null);
  assert.deepEqual(alarms, ["unavailable", null]);
  assert.deepEqual(a.heard, ["committed 1"]);
});

test("when space runs out nothing new is to be taken, and commits go on, until there is some", async () => {
  const { clock, store, commits, alarms, note } = build();
  const a = new Notebook("a");
  note(a, "1");
  await clock.turn();
  store.tight = full;
  await clock.advance(50);
  assert.deepEqual(commits.stalled, full);
  assert.equal(commits.stalledSinceMs, clock.wallMs());
  note(a, "2");
  await clock.turn();
  assert.deepEqual(a.heard, ["committed 1", "committed 2"]);
  await clock.advance(1000);
  assert.deepEqual(alarms, ["full"]);
  store.tight = null;
  await clock.advance(50);
  assert.equal(commits.stalled, null);
  assert.equal(commits.stalledSinceMs, null);
  assert.deepEqual(alarms, ["full", null]);
});

test("idle: at once when nothing waits, else when all that was touched so far is durable", async () => {
  const { clock, store, commits, note } = build();
  let resolved = 0;
  const ask = (): void => void commits.idle().then(() => resolved++);
  ask();
  await clock.turn();
  assert.equal(resolved, 1);
  const a = new Notebook("a");
  store.closeGate();
  note(a, "1");
  await clock.turn();
  ask();
  note(a, "2");
  ask();
  await clock.turn();
  assert.equal(resolved, 1);
  store.openGate();
  store.closeGate();
  await clock.turn();
  await clock.turn();
  assert.equal(resolved, 2, "the second waits for what was touched before it");
  store.openGate();
  await clock.turn();
  assert.equal(resolved, 3);
});

test("idle waits through a stall", async () => {
  const { clock, store, commits, note } = build();
  const a = new Notebook("a");
  store.failures.set("*", full);
  note(a, "1");
  await clock.turn();
  note(a, "2");
  let resolved = false;
  void commits.idle().then(() => {
    resolved = true;
  });
  await clock.advance(retryMs);
  assert.equal(resolved, false);
  store.failures.clear();
  await clock.advance(retryMs);
  assert.equal(resolved, true);
  assert.deepEqual(a.heard, ["committed 1", "committed 2"]);
});

test("nothing begins after close", async () => {
  const { clock, store, commits, note } = build();
  const a = new Notebook("a");
  note(a, "1");
  commits.close();
  await clock.turn();
  note(a, "2");
  await clock.turn();
  assert.equal(store.calls.length, 0);
  assert.equal(clock.timerCount, 0);
});
