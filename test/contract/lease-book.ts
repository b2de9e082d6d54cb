/**
 * What every book of leases must do, and the partitions that are reached through it. An implementation's test calls
 * `leaseBookContract` once.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Holder, LeaseBook } from "../../src/store/shared.js";
import type { Store } from "../../src/store/store.js";
import { until } from "../support/nodes.js";

/** What one process of a node has. */
export interface Access {
  readonly book: LeaseBook;
  readonly store: Store;
}

export interface BooksUnderTest {
  /** A new process of that node, in a shared store that is the test's own. */
  open(node: string): Promise<Access>;
  /** Time goes by: about as long as a lease takes to lapse, in ten steps. */
  tenth(): Promise<void>;
  readonly skip?: string | false;
}

const nodeA = "a@h";
const first: Holder = { node: nodeA, dataId: "d1", incarnation: 100 };
const second: Holder = { ...first, incarnation: 200 };

export function leaseBookContract(
  name: string,
  open: (t: TestContext) => Promise<BooksUnderTest>,
  skip: string | false = false,
): void {
  const check = (title: string, body: (books: BooksUnderTest) => Promise<void>): void => {
    test(`${name}: ${title}`, { skip }, async (t) => body(await open(t)));
  };
  leases(check);
  places(check);
  returns(check);
  fences(check);
}

type Check = (title: string, body: (books: BooksUnderTest) => Promise<void>) => void;

function leases(check: Check): void {
  check("a lease is taken, renewed, and replaced by a later start", async (books) => {
    const { book } = await books.open(nodeA);
    assert.equal((await book.take(first, false)).kind, "held");
    assert.equal(await book.renew(first), "held");
    const later = await books.open(nodeA);
    assert.equal((await later.book.take(second, false)).kind, "held");
    assert.equal(await book.renew(first), "replaced");
    await book.release(first);
    assert.equal(await later.book.renew(second), "held");
    assert.equal(await book.takePlace(second, "b@h", false), 0);
    assert.equal(await book.takePlace({ ...second, dataId: "d2" }, "b@h", true), 0);
    assert.equal(await book.renew({ ...second, dataId: "d2" }), "held");
    assert.equal(await book.takePlace(second, "b@h", true), 0);
  });

  check("a lease that lapsed and that nobody cared for is renewed", async (books) => {
    const { book } = await books.open(nodeA);
    await book.take(first, false);
    for (let i = 0; i < 12; i++) await books.tenth();
    assert.equal(await book.renew(first), "held");
    assert.equal(await book.takePlace(first, "b@h", false), 0);
  });

  check("leases of several nodes do not touch each other", async (books) => {
    const { book } = await books.open(nodeA);
    await book.take(first, false);
    const other = { ...first, node: "b@h" };
    await (await books.open("b@h")).book.take(other, false);
    await book.release(other);
    assert.notEqual(await book.takePlace(other, "c@h", false), 0);
    assert.equal(await book.renew(first), "held");
    assert.equal(await book.renew(other), "adopted");
  });
}

function places(check: Check): void {
  check("nobody adopts what belongs to a lease that lives", async (books) => {
    const { book } = await books.open(nodeA);
    const b = (await books.open("b@h")).book;
    assert.equal(await b.takePlace(first, "b@h", false), 0, "never had a lease");
    await book.take(first, false);
    for (let i = 0; i < 13; i++) {
      await books.tenth();
      assert.equal(await book.renew(first), "held");
      assert.equal(await b.takePlace(first, "b@h", false), 0);
    }
    await until("the lapse", async () => {
      await books.tenth();
      return (await b.takePlace(first, "b@h", false)) || undefined;
    });
    assert.equal(await book.renew(first), "adopted");
  });

  check("what is certainly dead, or gave its lease up, is adopted at once", async (books) => {
    const { book } = await books.open(nodeA);
    const b = (await books.open("b@h")).book;
    await book.take(first, false);
    const generation = await b.takePlace(first, "b@h", true);
    assert.notEqual(generation, 0);
    assert.equal(await b.takePlace(first, "c@h", false), generation, "all write alike");
    await b.giveBack(first, "b@h");
    await b.giveBack(first, "c@h");
    await book.take(second, false);
    await book.release(second);
    assert.notEqual(await b.takePlace(second, "b@h", false), 0);
  });

  check("another data directory is not adopted", async (books) => {
    const { book } = await books.open(nodeA);
    await book.take(second, false);
    await book.release(second);
    assert.equal(await book.takePlace({ ...second, dataId: "d2" }, "b@h", true), 0);
    assert.notEqual(await book.takePlace(second, "b@h", true), 0);
  });

  check(
    "a later start that nobody has heard of is adopted when its lease has lapsed",
    async (books) => {
      const { book } = await books.open(nodeA);
      await book.take(second, false);
      assert.equal(await book.takePlace(first, "b@h", true), 0, "what is certain is of the older");
      await book.release(second);
      assert.notEqual(await book.takePlace(first, "b@h", false), 0);
      assert.equal(await book.renew(second), "adopted");
      assert.equal(await book.renewPlace(first, "b@h"), true);
      await book.giveBack(first, "b@h");
      const third = { ...second, incarnation: 300 };
      assert.equal((await book.take(third, false)).kind, "held");
      assert.equal(await book.renew(third), "held");
    },
  );
}

function returns(check: Check): void {
  check("a start waits while somebody adopts", async (books) => {
    const { book } = await books.open(nodeA);
    await book.take(first, false);
    await book.takePlace(first, "b@h", true);
    await book.takePlace(first, "c@h", true);
    const later = (await books.open(nodeA)).book;
    const answer = await later.take(second, false);
    assert.deepEqual(answer.kind === "adopting" && [...answer.by].sort(), ["b@h", "c@h"]);
    for (let i = 0; i < 13; i++) {
      await books.tenth();
      assert.equal(await book.renewPlace(first, "b@h"), true);
    }
    // Whoever does not renew its place has none.
    assert.deepEqual(await later.take(second, false), { kind: "adopting", by: ["b@h"] });
    assert.equal(await book.renewPlace(first, "c@h"), false);
    await book.giveBack(first, "b@h");
    assert.equal((await later.take(second, false)).kind, "held");
    assert.equal(await later.renew(second), "held");
    assert.equal(await book.takePlace(first, "b@h", true), 0);
  });

  check("a start that insists gets the lease when the places have lapsed", async (books) => {
    const { book } = await books.open(nodeA);
    await book.take(first, false);
    await book.takePlace(first, "b@h", true);
    const later = (await books.open(nodeA)).book;
    assert.equal((await later.take(second, true)).kind, "adopting");
    assert.equal(await book.renewPlace(first, "b@h"), false);
    assert.equal(await book.takePlace(first, "c@h", true), 0);
    assert.equal((await later.take(second, true)).kind, "adopting");
    await until("the lapse", async () => {
      await books.tenth();
      return (await later.take(second, true)).kind === "held" || undefined;
    });
    assert.equal(await later.renew(second), "held");
    assert.equal(await book.renew(first), "adopted");
  });
}

function fences(check: Check): void {
  check("who adopts reads what was written, and its writes fence", async (books) => {
    const { book, store } = await books.open(nodeA);
    await book.take(first, false);
    await outcome(store, "session/c", "k", "1", 5);
    await outcome(store, "outbox/x", "k", "1");
    const b = await books.open("b@h");
    const generation = await b.book.takePlace(first, "b@h", true);
    const left = b.book.storeOf(nodeA, generation);
    assert.deepEqual(await left.partitions("session/"), ["session/c"]);
    assert.equal(await outcome(store, "session/c", "k", "2", 5), null, "not fenced yet");
    assert.deepEqual(await left.write([{ partition: "session/c", operations: [], fence: 6 }]), [
      null,
    ]);
    assert.equal(await outcome(store, "session/c", "k", "3", 5), "broken");
    assert.equal(await text(left, "session/c"), "2");
    assert.equal(await outcome(store, "session/d", "k", "1", 5), null, "its others go on");
    assert.deepEqual(await left.write([{ partition: "outbox/x", operations: [] }]), [null]);
    assert.equal(await outcome(store, "outbox/x", "k", "2"), "broken");
    assert.equal(await text(left, "outbox/x"), "1");
  });

  check("those who adopt write alike, and a later start goes before all", async (books) => {
    const a = await books.open(nodeA);
    await a.book.take(first, false);
    await outcome(a.store, "outbox/x", "k", "1");
    const b = await books.open("b@h");
    const c = await books.open("c@h");
    // Its store is open already when they begin.
    const later = await books.open(nodeA);
    const inB = b.book.storeOf(nodeA, await b.book.takePlace(first, "b@h", true));
    const inC = c.book.storeOf(nodeA, await c.book.takePlace(first, "c@h", true));
    for (const [store, value] of [
      [inB, "b"],
      [inC, "c"],
      [inB, "b again"],
    ] as const) {
      assert.equal(await outcome(store, "outbox/x", "k", value), null);
    }
    assert.equal(await outcome(inB, "session/e", "k", "b", 9), null);
    await b.book.giveBack(first, "b@h");
    await c.book.giveBack(first, "c@h");
    assert.equal((await later.book.take(second, false)).kind, "held");
    assert.equal(await text(later.store, "outbox/x"), "b again");
    assert.equal(await outcome(later.store, "outbox/x", "k", "a"), null);
    assert.equal(await outcome(inC, "outbox/x", "k", "c"), "fenced");
    // A higher epoch does not help who is late.
    assert.equal(await outcome(later.store, "session/e", "k", "a", 10), null);
    assert.equal(await outcome(inB, "session/e", "k", "b", 11), "fenced");
    assert.equal(await text(later.store, "session/e"), "a");
  });
}

/** Writes one row. What the outcome is called; null: written. */
async function outcome(
  store: Store,
  partition: string,
  key: string,
  value: string,
  fence?: number,
): Promise<string | null | undefined> {
  const operations = [{ kind: "put", key, value: Buffer.from(value) } as const];
  const [failure] = await store.write([
    { partition, operations, ...(fence === undefined ? {} : { fence }) },
  ]);
  return failure === null ? null : failure?.kind;
}

async function text(store: Store, partition: string): Promise<string | undefined> {
  return (await store.read(partition))[0]?.[1].toString();
}
