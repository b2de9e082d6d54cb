/** The lmdb store keeps the contract of every store, and what only it does. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { LmdbStore } from "../../src/store/lmdb.js";
import { databaseFile } from "../../src/store/lmdb-files.js";
import type { Store } from "../../src/store/store.js";
import { put, removeRange, storeContract, write } from "../contract/store.js";

const root = mkdtempSync(join(tmpdir(), "trellis-lmdb-"));
after(() => rmSync(root, { recursive: true, force: true }));
const maxBytes = 1024 ** 3;

async function open(
  place: string,
  options: { durability?: "process" | "power"; maxBytes?: number } = {},
): Promise<LmdbStore> {
  const directory = join(root, place);
  await mkdir(directory, { recursive: true });
  return new LmdbStore({ directory, maxBytes, durability: "process", ...options });
}

storeContract("lmdb", { open, lasts: true });
storeContract("lmdb, durable to power cuts", {
  open: (place) => open(`power-${place}`, { durability: "power" }),
  lasts: true,
});

async function fill(store: Store, count: number): Promise<void> {
  for (let base = 0; base < count; base += 1000) {
    const operations = Array.from({ length: Math.min(1000, count - base) }, (_, index) =>
      put(String(base + index).padStart(8, "0"), "x".repeat(200)),
    );
    assert.deepEqual(await store.write([write("p", operations)]), [null]);
  }
}

test("a backup holds one state of everything, also while writes go on", async (t) => {
  const store = await open("backup");
  t.after(() => store.close());
  await fill(store, 5000);
  let going = true;
  let round = 0;
  const writer = (async () => {
    while (going) {
      const value = String(++round);
      await store.write([write("a", [put("k", value)]), write("b", [put("k", value)])]);
    }
  })();
  await store.backup(join(root, "backup-copy"));
  going = false;
  await writer;
  const copy = await open("backup-copy");
  t.after(() => copy.close());
  assert.equal((await copy.read("p")).length, 5000);
  assert.deepEqual(await copy.read("a"), await copy.read("b"));
  assert.equal(Number((await store.read("a"))[0]?.[1].toString()), round);
  await assert.rejects(store.backup(join(root, "backup-copy")), /is not empty/);
});

test("compaction gives freed space back and changes nothing else", async (t) => {
  const store = await open("compact");
  t.after(() => store.close());
  await fill(store, 20_000);
  await store.write([write("p", [removeRange("", "00019000")]), write("q", [put("a")], 7)]);
  const before = store.use();
  const file = databaseFile(join(root, "compact"));
  const bytes = statSync(file).size;
  const rows = await store.read("p");
  assert.equal(rows.length, 1000);
  const compacted = store.compact();
  const written = store.write([write("p", [put("z")])]);
  await compacted;
  assert.deepEqual(await written, [null]);
  assert.ok(statSync(file).size < bytes / 3, `${statSync(file).size} of ${bytes}`);
  assert.ok(store.use().fileBytes < before.fileBytes / 3);
  assert.deepEqual((await store.read("p")).slice(0, -1), rows);
  const [outcome] = await store.write([write("q", [put("b")], 6)]);
  assert.equal(outcome?.kind, "fenced");
  await store.close();
  const again = await open("compact");
  t.after(() => again.close());
  assert.equal((await again.read("p")).length, 1001);
});

test("resting gives back the memory that reading took, and nothing else happens", async (t) => {
  const store = await open("rest");
  t.after(() => store.close());
  await fill(store, 20_000);
  const mapped = (): number => {
    const status = readFileSync("/proc/self/status", "utf8");
    return Number(/^RssFile:\s+(\d+)/m.exec(status)?.[1]);
  };
  const rows = await store.read("p");
  const before = mapped();
  const resting = store.rest();
  const written = store.write([write("p", [put("z")])]);
  await resting;
  assert.ok(before - mapped() > 3000, `${before} ${mapped()}`);
  assert.deepEqual(await written, [null]);
  assert.deepEqual((await store.read("p")).slice(0, -1), rows);
});

test("whoever asks for figures while the file is opened anew gets those of before", async (t) => {
  const store = await open("asked");
  t.after(() => store.close());
  await store.write([write("p", [put("k", "v")])]);
  const before = store.use();
  const nextTurn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));
  const resting = store.rest();
  let isOver = false;
  void resting.then(() => {
    isOver = true;
  });
  // Between the close and the opening there may be a few promises only.
  for (let asked = 0; !isOver; asked++) {
    assert.deepEqual(store.use(), before);
    await (asked % 100 === 99 ? nextTurn() : undefined);
  }
  // Whatever lmdb left to a timer has happened by then.
  for (let turns = 0; turns < 20; turns++) await nextTurn();
  assert.equal((await store.read("p")).length, 1);
});

test("a store that is being closed refuses reads and still knows its figures", async () => {
  const store = await open("closing");
  // Big enough that it is still being flushed: lmdb closes the file afterwards.
  await store.write([write("p", [put("k", "x".repeat(200_000))])]);
  const before = store.use();
  const closing = store.close();
  await assert.rejects(async () => {
    for (;;) await store.read("p");
  }, /the store is closed/);
  await assert.rejects(store.partitions(""), /the store is closed/);
  assert.deepEqual(store.use(), before);
  await closing;
});

test("at its limit it asks for no more, and takes what makes room", async (t) => {
  const store = await open("limit", { maxBytes: 2 * 1024 * 1024 });
  t.after(() => store.close());
  assert.equal(await store.pressure(), null);
  await fill(store, 12_000);
  const pressure = await store.pressure();
  assert.equal(pressure?.kind, "full");
  assert.match(pressure?.why ?? "", /store\.max_size/);
  assert.deepEqual(await store.write([write("p", [removeRange("", "00011000")])]), [null]);
  assert.equal(await store.pressure(), null);
});

test("the file grows past the address space that it was opened with", async (t) => {
  const store = await open("grow", { maxBytes: 1024 * 1024 });
  t.after(() => store.close());
  const value = Buffer.alloc(16 * 1024 * 1024, 1);
  for (let index = 0; index < 70; index++) {
    const outcomes = await store.write([write("p", [put(`k${index % 3}`, value)])]);
    assert.deepEqual(outcomes, [null]);
  }
  assert.equal((await store.read("p")).length, 3);
});
