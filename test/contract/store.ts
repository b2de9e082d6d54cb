/**
 * What every store must do, whatever is behind it. An implementation's test calls `storeContract` once:
 * `open(place)` opens the store that is at `place` (a name of the test's own), empty at first; a place that is opened
 * again after a close still holds everything, unless the implementation says that it forgets.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { compareKeys } from "../../src/store/keys.js";
import type { Operation, PartitionWrite, Row, Store } from "../../src/store/store.js";
import { keyBytesMax, partitionBytesMax } from "../../src/store/store.js";

export interface StoreUnderTest {
  open(place: string): Promise<Store>;
  /** What a place holds outlives `close`. */
  readonly lasts: boolean;
}

const text = (value: string): Buffer => Buffer.from(value);
export const put = (key: string, value: string | Buffer = key): Operation => ({
  kind: "put",
  key,
  value: typeof value === "string" ? text(value) : value,
});
export const remove = (key: string): Operation => ({ kind: "delete", key });
export const removeRange = (from: string, to: string): Operation => ({
  kind: "deleteRange",
  from,
  to,
});

let places = 0;

class Fixture {
  readonly place = `contract-${process.pid}-${places++}`;
  store!: Store;

  constructor(
    private readonly context: TestContext,
    private readonly under: StoreUnderTest,
  ) {}

  async open(): Promise<this> {
    this.store = await this.under.open(this.place);
    const { store } = this;
    let closed = false;
    const close = store.close.bind(store);
    store.close = async () => {
      if (!closed) await close();
      closed = true;
    };
    this.context.after(() => store.close());
    return this;
  }

  /** Writes that must succeed. */
  async write(partition: string, operations: readonly Operation[], fence?: number): Promise<void> {
    const outcomes = await this.writeAll([write(partition, operations, fence)]);
    assert.deepEqual(outcomes, [null]);
  }

  async writeAll(writes: readonly PartitionWrite[]): Promise<readonly (string | null)[]> {
    return (await this.store.write(writes)).map((outcome) => outcome?.kind ?? null);
  }

  async keys(partition: string, from?: string, limit?: number): Promise<string[]> {
    return (await this.store.read(partition, from, limit)).map(([key]) => key);
  }

  async values(partition: string): Promise<string[]> {
    return (await this.store.read(partition)).map(([, value]) => value.toString());
  }
}

export function write(
  partition: string,
  operations: readonly Operation[],
  fence?: number,
): PartitionWrite {
  return fence === undefined ? { partition, operations } : { partition, operations, fence };
}

/** Declares all tests of the contract for the implementation `name`. */
export function storeContract(name: string, under: StoreUnderTest): void {
  const check = (what: string, body: (at: Fixture) => Promise<void>): void => {
    test(`${name}: ${what}`, async (context) => {
      await body(await new Fixture(context, under).open());
    });
  };
  rows(check);
  values(check);
  deletions(check);
  names(check);
  limits(check);
  writing(check);
  calls(check);
  fences(check);
  if (under.lasts) lasting(check);
}

type Check = (what: string, body: (at: Fixture) => Promise<void>) => void;

function rows(check: Check): void {
  check("a partition that was never written to is empty", async (at) => {
    assert.deepEqual(await at.store.read("nobody"), []);
  });

  check("rows come in the order of their keys' UTF-8 bytes, the last value of each", async (at) => {
    const keys = [
      "b",
      "a",
      "",
      "aa",
      "a\u0001",
      "a\0b",
      "ü",
      "\uffff",
      "\u{10000}",
      "Z",
      "10",
      "9",
    ];
    await at.write(
      "p",
      keys.map((key) => put(key, "old")),
    );
    await at.write(
      "p",
      keys.map((key) => put(key, `new ${key}`)),
    );
    const sorted = [...keys].sort(compareKeys);
    const expected: Row[] = sorted.map((key) => [key, text(`new ${key}`)]);
    assert.deepEqual(await at.store.read("p"), expected);
  });

  check("a read begins at a key, included, and ends at a limit", async (at) => {
    await at.write(
      "p",
      ["a", "c", "e", "g"].map((key) => put(key)),
    );
    assert.deepEqual(await at.keys("p", "c"), ["c", "e", "g"]);
    assert.deepEqual(await at.keys("p", "d"), ["e", "g"]);
    assert.deepEqual(await at.keys("p", "d", 1), ["e"]);
    assert.deepEqual(await at.keys("p", "", 2), ["a", "c"]);
    assert.deepEqual(await at.keys("p", "h"), []);
    assert.deepEqual(await at.keys("p", "", 0), []);
  });
}

function values(check: Check): void {
  check("many rows are read a page at a time", async (at) => {
    const all = Array.from({ length: 2500 }, (_, index) => `k${String(index).padStart(6, "0")}`);
    await at.write(
      "p",
      all.map((key) => put(key)),
    );
    const seen: string[] = [];
    for (let from = ""; ; from = `${seen.at(-1)}\0`) {
      const page = await at.keys("p", from, 400);
      if (page.length === 0) break;
      seen.push(...page);
    }
    assert.deepEqual(seen, all);
  });

  check("values are bytes of any kind and size", async (at) => {
    const every = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const big = Buffer.alloc(3 * 1024 * 1024, every);
    const view = new Uint8Array(every.buffer, every.byteOffset + 10, 20);
    const operations: Operation[] = [
      put("big", big),
      put("empty", Buffer.alloc(0)),
      put("every", every),
      { kind: "put", key: "view", value: view },
    ];
    await at.write("p", operations);
    const read = await at.store.read("p");
    assert.deepEqual(
      read.map(([key]) => key),
      ["big", "empty", "every", "view"],
    );
    for (const [index, [key, value]] of read.entries()) {
      const operation = operations[index];
      assert.ok(Buffer.isBuffer(value));
      assert.ok(operation?.kind === "put" && value.equals(operation.value), key);
    }
  });

  check("what was read stays as it is when it is written again", async (at) => {
    await at.write("p", [put("k", "before")]);
    const [[, value] = ["", text("")]] = await at.store.read("p");
    await at.write("p", [put("k", "after!")]);
    assert.equal(value.toString(), "before");
  });
}

function deletions(check: Check): void {
  check("operations happen in their order", async (at) => {
    await at.write("p", [
      put("a"),
      remove("a"),
      put("b"),
      remove("c"),
      put("c", "1"),
      put("c", "2"),
    ]);
    assert.deepEqual(await at.values("p"), ["b", "2"]);
    await at.write("p", [removeRange("a", "z"), put("d"), put("m"), removeRange("k", "n")]);
    assert.deepEqual(await at.keys("p"), ["d"]);
  });

  check("a range is deleted without its end, and only in its partition", async (at) => {
    const keys = ["a", "b", "ba", "c", "ü"];
    for (const partition of ["p", "q"])
      await at.write(
        partition,
        keys.map((key) => put(key)),
      );
    await at.write("p", [removeRange("b", "c")]);
    assert.deepEqual(await at.keys("p"), ["a", "c", "ü"]);
    await at.write("p", [removeRange("c", "b"), removeRange("x", "y"), removeRange("a", "a")]);
    assert.deepEqual(await at.keys("p"), ["a", "c", "ü"]);
    await at.write("p", [removeRange("", "\u{10ffff}")]);
    assert.deepEqual(await at.keys("p"), []);
    assert.deepEqual(await at.keys("q"), keys);
  });

  check("thousands of rows are deleted by one range", async (at) => {
    const keys = Array.from({ length: 3000 }, (_, index) => `k${String(index).padStart(6, "0")}`);
    await at.write(
      "p",
      keys.map((key) => put(key)),
    );
    await at.write("p", [removeRange("k000001", "k002999")]);
    assert.deepEqual(await at.keys("p"), ["k000000", "k002999"]);
  });
}

function names(check: Check): void {
  check("partitions are listed by prefix, in order, a page at a time", async (at) => {
    const all = ["s/a", "s/a\u0001", "s/a/b", "s/b", "s/ü", "s/\u{10000}", "t", "s"];
    await at.writeAll(all.map((partition) => write(partition, [put("x"), put("y")])));
    const inS = all.filter((partition) => partition.startsWith("s/")).sort(compareKeys);
    assert.deepEqual(await at.store.partitions("s/"), inS);
    assert.deepEqual(await at.store.partitions(""), [...all].sort(compareKeys));
    assert.deepEqual(await at.store.partitions("s/a"), inS.slice(0, 3));
    assert.deepEqual(await at.store.partitions("nothing"), []);
    assert.deepEqual(await at.store.partitions("s/", "s/a/b", 2), inS.slice(3, 5));
    assert.deepEqual(await at.store.partitions("s/", "r"), inS);
    assert.deepEqual(await at.store.partitions("s/", inS.at(-1)), []);
  });

  check("a partition without rows is none", async (at) => {
    await at.write("p", [put("a"), put("b")]);
    await at.write("q", []);
    assert.deepEqual(await at.store.partitions(""), ["p"]);
    await at.write("p", [remove("a"), removeRange("b", "c")]);
    assert.deepEqual(await at.store.partitions(""), []);
  });

  check("partitions do not run into each other", async (at) => {
    const all = ["a", "a/", "a/b", "a\u0001", "ab", "a{b}c", "{", "a*", "a?[x]"];
    await at.writeAll(all.map((partition) => write(partition, [put("k", partition)])));
    for (const partition of all) assert.deepEqual(await at.values(partition), [partition]);
  });
}

function limits(check: Check): void {
  check("names as long as allowed are kept apart to their last byte", async (at) => {
    const partition = "ü".repeat(partitionBytesMax / 2);
    const key = "k".repeat(keyBytesMax - 1);
    await at.write(partition, [put(`${key}b`), put(`${key}a`)]);
    assert.deepEqual(await at.keys(partition), [`${key}a`, `${key}b`]);
    await at.write(partition, [removeRange(`${key}a`, `${key}b`)]);
    assert.deepEqual(await at.keys(partition), [`${key}b`]);
  });

  check("names past the limits are refused, and nothing of their write happens", async (at) => {
    const long = "k".repeat(keyBytesMax + 1);
    const bad = [
      [write("p", [put("good"), put(long)])],
      [write("p", [put("good"), remove(long)])],
      [write("p", [put("good"), removeRange("a", long)])],
      [write("p", [put("good")]), write("ü".repeat(partitionBytesMax / 2 + 1), [put("a")])],
      [write("p", [put("good")]), write("", [put("a")])],
      [write("p", [put("good")]), write("a\0b", [put("a")])],
    ];
    for (const writes of bad) await assert.rejects(at.store.write(writes));
    assert.deepEqual(await at.store.partitions(""), []);
    await at.write("p", [put("still works")]);
  });
}

function writing(check: Check): void {
  check("what a write resolved for can be read at once", async (at) => {
    for (let round = 0; round < 100; round++) {
      await at.write("p", [put(String(round % 7), String(round))]);
      const found = await at.store.read("p", String(round % 7), 1);
      assert.equal(found[0]?.[1].toString(), String(round));
    }
  });

  check("writes that overlap happen in the order of their calls", async (at) => {
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, round) => {
        return at.writeAll([
          write("same", [put("last", String(round)), put(`k${String(round).padStart(3, "0")}`)]),
          write(`own-${round}`, [put("a"), put("b")]),
        ]);
      }),
    );
    assert.deepEqual(new Set(outcomes.flat()), new Set([null]));
    const read = await at.store.read("same");
    assert.equal(read.length, 51);
    assert.equal(read.at(-1)?.[1].toString(), "49");
    assert.equal((await at.store.partitions("own-")).length, 50);
  });

  check("a reader sees all of a partition's write or nothing of it", async (at) => {
    const all = Array.from({ length: 40 }, (_, index) => String(index).padStart(2, "0"));
    let writing = true;
    const writer = (async () => {
      for (let round = 0; round < 40; round++) {
        await at.write(
          "p",
          all.map((key) => put(key, String(round))),
        );
      }
      writing = false;
    })();
    while (writing) {
      const values = new Set(await at.values("p"));
      assert.ok(values.size <= 1, [...values].join());
      await new Promise((resolve) => setImmediate(resolve));
    }
    await writer;
  });
}

function calls(check: Check): void {
  check("many partitions are written by one call", async (at) => {
    const all = Array.from({ length: 1000 }, (_, index) => `s/${String(index).padStart(4, "0")}`);
    const outcomes = await at.writeAll(all.map((partition) => write(partition, [put("k")])));
    assert.equal(outcomes.length, all.length);
    assert.ok(outcomes.every((outcome) => outcome === null));
    assert.deepEqual(await at.store.partitions("s/"), all);
  });

  check("a call without writes or operations succeeds", async (at) => {
    assert.deepEqual(await at.store.write([]), []);
    await at.write("p", []);
  });

  check("flush resolves", async (at) => {
    await at.store.flush();
    await at.write("p", [put("a")]);
    await at.store.flush();
  });
}

function fences(check: Check): void {
  check("an owner with an older epoch is fenced off", async (at) => {
    await at.write("p", [put("a", "5")], 5);
    assert.deepEqual(await at.writeAll([write("p", [put("a", "4"), put("b")], 4)]), ["fenced"]);
    assert.deepEqual(await at.values("p"), ["5"]);
    await at.write("p", [put("a", "5 again")], 5);
    await at.write("p", [put("a", "7")], 7);
    assert.deepEqual(await at.writeAll([write("p", [removeRange("", "z")], 6)]), ["fenced"]);
    assert.deepEqual(await at.values("p"), ["7"]);
    await at.write("q", [put("a")], 1);
  });

  check("epochs are as large as stamps are", async (at) => {
    const epoch = Number.MAX_SAFE_INTEGER;
    await at.write("p", [put("a")], epoch);
    assert.deepEqual(await at.writeAll([write("p", [put("b")], epoch - 1)]), ["fenced"]);
    await at.write("p", [put("c")], epoch);
    assert.deepEqual(await at.keys("p"), ["a", "c"]);
  });

  check("a write that only claims a partition fences the others", async (at) => {
    await at.write("p", [], 9);
    assert.deepEqual(await at.writeAll([write("p", [put("a")], 8)]), ["fenced"]);
    assert.deepEqual(await at.store.partitions(""), []);
  });

  check("who is fenced does not keep the others of a call from being written", async (at) => {
    await at.write("p", [put("a")], 5);
    const outcomes = await at.writeAll([
      write("before", [put("x")], 1),
      write("p", [put("b")], 4),
      write("after", [put("x")]),
    ]);
    assert.deepEqual(outcomes, [null, "fenced", null]);
    assert.deepEqual(await at.store.partitions(""), ["after", "before", "p"]);
    assert.deepEqual(await at.keys("p"), ["a"]);
  });

  check("of two owners that write at once the older never overwrites the newer", async (at) => {
    const outcomes = await Promise.all([
      at.writeAll([write("p", [put("a", "2")], 2)]),
      at.writeAll([write("p", [put("a", "1")], 1)]),
    ]);
    assert.deepEqual(outcomes[0], [null]);
    assert.deepEqual(await at.values("p"), ["2"]);
  });
}

function lasting(check: Check): void {
  check("everything is there when it is opened again, and so are fences", async (at) => {
    const big = Buffer.alloc(100_000, "x");
    await at.write("p", [put("a"), put("big", big), put("c")], 5);
    await at.write("p", [remove("c"), put("ü\u{10000}", "e")]);
    await at.write("q", [put("k")]);
    const before = await at.store.read("p");
    await at.store.close();
    await at.open();
    assert.deepEqual(await at.store.read("p"), before);
    assert.deepEqual(await at.store.partitions(""), ["p", "q"]);
    assert.deepEqual(await at.writeAll([write("p", [put("x")], 4)]), ["fenced"]);
  });

  check("close waits for the writes that were asked for", async (at) => {
    const outcomes = Promise.all(
      Array.from({ length: 20 }, (_, index) => at.writeAll([write("p", [put(`k${index}`)])])),
    );
    await at.store.close();
    assert.deepEqual(new Set((await outcomes).flat()), new Set([null]));
    await at.open();
    assert.equal((await at.keys("p")).length, 20);
  });
}
