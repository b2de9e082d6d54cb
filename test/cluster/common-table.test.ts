/** The table that all members hold alike: it comes together in whatever order they hear, and outlives the process. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Backoff } from "../../src/lib/backoff.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { realRandom } from "../../src/lib/random.js";
import { CommonTable, commonEntriesMax } from "../../src/cluster/common-table.js";
import type { TableEntry } from "../../src/cluster/wire/messages.js";
import { Commits } from "../../src/store/commits.js";
import { MemoryStore } from "../../src/store/memory.js";
import { HandClock } from "../store/support.js";

const forgetAfterMs = 60_000;

interface World {
  readonly clock: HandClock;
  readonly tables: readonly CommonTable[];
  /** Pairs that hear each other: `${a}${b}`. */
  readonly linked: Set<string>;
  link(a: number, b: number): void;
  unlink(a: number, b: number): void;
}

/** Some tables; what one tells goes to those that are linked with it, at once. */
function world(count: number): World {
  const clock = new HandClock();
  const linked = new Set<string>();
  const tables: CommonTable[] = [];
  const pair = (a: number, b: number): string => [a, b].sort().join();
  const peer = (from: number, to: number) => ({
    name: String(to),
    link: linked.has(pair(from, to)) ? { send: sender(from, to) } : null,
  });
  const sender = (from: number, to: number) => (kind: string, body: unknown) => {
    assert.equal(kind, "tableEntries");
    // What the kind says.
    const { entries } = body as { entries: TableEntry[] };
    assert.ok(entries.length <= 1000);
    tables[to]?.merge(entries, String(from));
  };
  for (let own = 0; own < count; own++) {
    const others = Array.from({ length: count }, (_, i) => i).filter((i) => i !== own);
    tables.push(
      new CommonTable({
        ...{ clock, stamps: new HybridClock(clock), forgetAfterMs, commits: null },
        peers: () => others.map((other) => peer(own, other)),
      }),
    );
  }
  const link = (a: number, b: number): void => {
    linked.add(pair(a, b));
    const [one, other] = [tables[a], tables[b]];
    assert.ok(one !== undefined && other !== undefined);
    const digests = [one.digest(), other.digest()] as const;
    one.answer(peer(a, b), digests[1]);
    other.answer(peer(b, a), digests[0]);
  };
  return { clock, tables, linked, link, unlink: (a, b) => void linked.delete(pair(a, b)) };
}

const shown = (table: CommonTable | undefined): string =>
  (table?.all() ?? [])
    .map(({ key, value, endsMs }) => `${key}=${value} ${endsMs}`)
    .sort()
    .join();

test("a change reaches all, also those that only another one is linked with", () => {
  const { tables, link } = world(3);
  link(0, 1);
  link(1, 2);
  tables[0]?.set("k", "v", 0);
  for (const table of tables) assert.equal(shown(table), "k=v 0");
  tables[2]?.delete("k");
  for (const table of tables) assert.equal(shown(table), "");
});

test("one that was away gets what it missed, deletions too, and does not bring back what was deleted", () => {
  const { clock, tables, link, unlink } = world(2);
  link(0, 1);
  tables[0]?.set("gone", "1", 0);
  tables[0]?.set("stays", "1", 0);
  unlink(0, 1);
  clock.nowMs += 1000;
  tables[1]?.delete("gone");
  tables[0]?.set("new", "1", 0);
  link(0, 1);
  for (const table of tables) assert.equal(shown(table), "new=1 0,stays=1 0");
});

test("whatever happens in whatever order, tables that are linked in the end are the same", () => {
  const node = fc.integer({ min: 0, max: 3 });
  const step = fc.oneof(
    fc.tuple(fc.constant("set"), node, node),
    fc.tuple(fc.constant("ends"), node, node),
    fc.tuple(fc.constant("delete"), node, node),
    fc.tuple(fc.constant("link"), node, node),
    fc.tuple(fc.constant("unlink"), node, node),
    fc.tuple(fc.constant("wait"), node, node),
  );
  const property = fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const { clock, tables, link, unlink } = world(4);
    for (const [what, a, b] of steps) {
      if (what === "set") tables[a]?.set(`k${b}`, String(clock.nowMs), 0);
      else if (what === "ends") tables[a]?.set(`k${b}`, "e", clock.wallMs() + 100 * b);
      else if (what === "delete") tables[a]?.delete(`k${b}`);
      else if (what === "link" && a !== b) link(a, b);
      else if (what === "unlink") unlink(a, b);
      else clock.nowMs += 50 * b;
    }
    for (let a = 0; a < 4; a++) for (let b = a + 1; b < 4; b++) link(a, b);
    const [first] = tables;
    for (const table of tables) {
      assert.equal(shown(table), shown(first));
      assert.deepEqual(table.digest(), first?.digest());
    }
  });
  fc.assert(property, { numRuns: 200 });
});

test("tombstones go after a while, and the oldest when there are too many", () => {
  const { clock, tables, link } = world(2);
  const [one, other] = tables;
  assert.ok(one !== undefined && other !== undefined);
  one.set("a", "1", clock.wallMs() + 1000);
  one.set("b", "1", 0);
  one.delete("b");
  assert.deepEqual([one.size, one.tombstones], [1, 1]);
  clock.nowMs += 1000;
  assert.deepEqual([one.size, one.tombstones], [0, 2]);
  clock.nowMs += forgetAfterMs;
  link(0, 1);
  assert.deepEqual([one.tombstones, other.tombstones], [0, 0]);
  const stamp = (clock.wallMs() - 10) * 1024;
  const dead = Array.from({ length: commonEntriesMax + 5 }, (_, i) => {
    return { key: `d${i}`, value: null, endsMs: 0, stamp: stamp + i };
  });
  while (dead.length > 0) other.merge(dead.splice(0, 500), "x");
  assert.equal(other.tombstones, commonEntriesMax);
  assert.equal(one.tombstones, commonEntriesMax);
});

test("what is stored is there for the next process; records that are damaged are left out", async () => {
  const clock = new HandClock();
  const store = new MemoryStore();
  const commits = new Commits({
    ...{ store, clock, intervalMs: 0, slowMs: 10_000 },
    backoff: new Backoff(realRandom, 10, 20),
    onStalled: () => undefined,
    onBroken: ({ why }) => assert.fail(why),
  });
  const open = async (): Promise<CommonTable> => {
    const stamps = new HybridClock(clock);
    const table = new CommonTable({
      ...{ clock, stamps, forgetAfterMs, commits },
      peers: () => [],
    });
    await table.load(store);
    return table;
  };
  const long = "k".repeat(2000);
  const before = await open();
  before.set("a", "1", 0);
  before.set(long, "2", clock.wallMs() + 5000);
  before.set("gone", "3", 0);
  before.delete("gone");
  await clock.turn();
  await clock.turn();
  const damage = [{ kind: "put", key: "=x", value: Buffer.from("nonsense") }] as const;
  await store.write([{ partition: "common", operations: damage }]);
  const after = await open();
  assert.equal(shown(after), shown(before));
  assert.equal(after.tombstones, 1);
  assert.deepEqual(after.digest(), before.digest());
  after.clear();
  await clock.turn();
  await clock.turn();
  assert.equal(shown(await open()), "");
  commits.close();
});
