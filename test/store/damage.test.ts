/** A damaged file of the lmdb store: the node starts with what can be read, and is never served what was not written. */
import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { type Log, silentLog } from "../../src/lib/log.js";
import { type Random, seededRandom } from "../../src/lib/random.js";
import { LmdbStore } from "../../src/store/lmdb.js";
import { openLmdb } from "../../src/store/open-lmdb.js";
import { decodeRecord, encodeRecord } from "../../src/store/record.js";
import type { Operation } from "../../src/store/store.js";

const root = mkdtempSync(join(tmpdir(), "trellis-damage-"));
after(() => rmSync(root, { recursive: true, force: true }));
const page = 4096;
const settings = { maxBytes: 1024 ** 3, durability: "process" } as const;
const partitions = ["session/a", "session/b", "node"];
const rowsEach = 800;

/** What is under a key, from the key alone: so a row tells whether it is one that was written. */
function content(partition: string, index: number): string {
  const length = index % 50 === 0 ? 9000 : 20 + ((index * 37) % 300);
  return `${partition} ${index} `.padEnd(length, "payload ");
}

function key(index: number): string {
  return String(index).padStart(6, "0");
}

/** A store in which there is everything: small and big values, deleted rows, free pages. */
async function fill(store: LmdbStore): Promise<void> {
  for (let base = 0; base < rowsEach * 2; base += 100) {
    const writes = partitions.map((partition) => {
      const operations: Operation[] = [];
      for (let index = base; index < base + 100; index++) {
        const value = encodeRecord(1, content(partition, index));
        operations.push({ kind: "put", key: key(index), value });
      }
      return { partition, operations, fence: 3 };
    });
    for (const outcome of await store.write(writes)) assert.equal(outcome, null);
  }
  for (const partition of partitions) {
    const range = { kind: "deleteRange", from: key(rowsEach), to: "9" } as const;
    await store.write([{ partition, operations: [range] }]);
  }
}

const original = join(root, "original");
before(async () => {
  const store = await openLmdb({ directory: original, log: silentLog, ...settings });
  await fill(store);
  await store.close();
});

let copies = 0;

/** Another directory with a copy of the file, after `damage`. */
function damaged(damage: (path: string, pages: number) => void): string {
  const directory = join(root, `copy-${copies++}`);
  mkdirSync(directory);
  const path = join(directory, "data.mdb");
  copyFileSync(join(original, "data.mdb"), path);
  damage(path, statSync(path).size / page);
  return directory;
}

function overwrite(path: string, position: number, bytes: Buffer): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, position);
  closeSync(fd);
}

interface Opened {
  readonly store: LmdbStore;
  readonly errors: { readonly fields: Record<string, unknown>; readonly text: string }[];
}

async function open(directory: string): Promise<Opened> {
  const errors: Opened["errors"] = [];
  const log: Log = {
    ...silentLog,
    error: (fields, text) => errors.push({ fields: { ...fields }, text }),
  };
  return { store: await openLmdb({ directory, log, ...settings }), errors };
}

/** Reads all; every row must be one that was written there. Returns how many of the rows that are due are there. */
async function count(store: LmdbStore): Promise<number> {
  let found = 0;
  for (const partition of await store.partitions("")) {
    for (const [name, value] of await store.read(partition)) {
      const record = decodeRecord(1, value);
      if (record === null) continue;
      const index = Number(name);
      assert.equal(record.value, content(partition, index));
      if (index < rowsEach) found++;
    }
  }
  return found;
}

const all = rowsEach * partitions.length;

/** Opens, looks, writes, and opens again. Returns how many rows are still there. */
async function survive(directory: string): Promise<{ rows: number; errors: Opened["errors"] }> {
  const first = await open(directory);
  const rows = await count(first.store);
  const value = encodeRecord(1, "new");
  const operations = Array.from({ length: 500 }, (_, index): Operation => {
    return { kind: "put", key: key(index), value };
  });
  assert.deepEqual(await first.store.write([{ partition: "fresh", operations }]), [null]);
  const range = { kind: "deleteRange", from: "", to: "~" } as const;
  assert.deepEqual(await first.store.write([{ partition: "fresh", operations: [range] }]), [null]);
  assert.equal(await count(first.store), rows);
  await first.store.close();
  // As after a crash: the note of an orderly end is gone.
  rmSync(join(directory, "closed"));
  const second = await open(directory);
  assert.equal(await count(second.store), rows);
  // A damaged file is found once.
  const again = second.errors.filter(({ fields }) => "movedTo" in fields);
  assert.deepEqual(again, []);
  await second.store.close();
  return { rows, errors: first.errors };
}

/** The damaged file is still there, under the name that was printed. */
function movedAside(directory: string, errors: Opened["errors"]): void {
  const [path] = errors.flatMap(({ fields }) => fields.movedTo ?? []);
  assert.equal(path, join(directory, "data.mdb.damaged-1"));
  assert.ok(existsSync(String(path)));
}

test("a whole file is taken as it is, with or without the note of an orderly end", async () => {
  const directory = damaged(() => undefined);
  assert.deepEqual(await survive(directory), { rows: all, errors: [] });
  assert.deepEqual(
    readdirSync(directory).filter((name) => name.includes("damaged")),
    [],
  );
});

test("a file in use by a process that was killed is whole", async (t) => {
  const directory = join(root, "killed");
  mkdirSync(directory);
  const store = new LmdbStore({ directory, ...settings });
  t.after(() => store.close());
  await fill(store);
  const copy = damaged((path) => copyFileSync(join(directory, "data.mdb"), path));
  assert.deepEqual(await survive(copy), { rows: all, errors: [] });
});

test("a wrong byte in a value is a record that is left out", async () => {
  const directory = damaged((path) => {
    const at = readFileSync(path).indexOf(content("session/b", 3).slice(0, 30));
    overwrite(path, at, Buffer.from("S"));
  });
  const { rows, errors } = await survive(directory);
  // Older copies of its page may have been hit in its place.
  assert.ok(rows >= all - 1);
  if (rows < all) assert.match(errors[0]?.text ?? "", /wrong checksum/);
});

for (const share of [0, 1, 2]) {
  test(`a header with damaged page${share < 2 ? ` ${share}` : "s 0 and 1"}`, async () => {
    const directory = damaged((path) => {
      if (share !== 1) overwrite(path, 0, Buffer.alloc(page, 0xa5));
      if (share !== 0) overwrite(path, page, Buffer.alloc(page));
    });
    const { rows, errors } = await survive(directory);
    movedAside(directory, errors);
    assert.ok(rows === all, `${rows} of ${all}`);
  });
}

test("a truncated file", async () => {
  for (const keep of [0.9, 0.5, 0.1, 0.002]) {
    const directory = damaged((path, pages) => truncateSync(path, Math.ceil(pages * keep) * page));
    const { rows, errors } = await survive(directory);
    if (rows < all) movedAside(directory, errors);
  }
  const odd = damaged((path, pages) => truncateSync(path, pages * page - 100));
  await survive(odd);
  const empty = damaged((path) => truncateSync(path, 0));
  assert.equal((await survive(empty)).rows, 0);
});

function spoil(random: Random, path: string, pages: number): void {
  const places = 1 + Math.floor(random.fraction() * 20);
  for (let i = 0; i < places; i++) {
    const length = 1 + Math.floor(random.fraction() ** 3 * 2 * page);
    const position = Math.floor(random.fraction() * (pages * page - length));
    overwrite(path, position, random.bytes(length));
  }
}

test("random bytes anywhere", async () => {
  const rounds = Number(process.env.DAMAGE_ROUNDS ?? 25);
  for (let seed = 1; seed <= rounds; seed++) {
    const random = seededRandom(seed);
    await survive(damaged((path, pages) => spoil(random, path, pages)));
  }
});

test("zeroed pages: what the others hold is still there", async () => {
  for (let seed = 1; seed <= 15; seed++) {
    const random = seededRandom(1000 + seed);
    const directory = damaged((path, pages) => {
      for (let i = 0; i < 3; i++) {
        const at = 2 + Math.floor(random.fraction() * (pages - 2));
        overwrite(path, at * page, Buffer.alloc(page));
      }
    });
    const { rows } = await survive(directory);
    assert.ok(rows > all * 0.85, `seed ${seed}: ${rows} of ${all}`);
  }
});

test("a file that is none of ours at all", async () => {
  const directory = damaged((path, pages) => {
    overwrite(path, 0, seededRandom(7).bytes(pages * page));
  });
  const { rows, errors } = await survive(directory);
  assert.equal(rows, 0);
  movedAside(directory, errors);
});

test("nine damaged files are kept, the first ones", async () => {
  const directory = damaged(() => undefined);
  for (let round = 1; round <= 11; round++) {
    overwrite(join(directory, "data.mdb"), 0, Buffer.alloc(page));
    const { store, errors } = await open(directory);
    await store.close();
    const name = `data.mdb.damaged-${Math.min(round, 9)}`;
    assert.ok(errors.some(({ fields }) => fields.movedTo === join(directory, name)));
  }
});
