/** Writes that come while another one is under way. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GatheringStore } from "../../src/store/gathering-store.js";
import { MemoryStore } from "../../src/store/memory.js";
import type { PartitionWrite } from "../../src/store/store.js";
import { storeContract } from "../contract/store.js";

storeContract("gathering", {
  open: async () => new GatheringStore(new MemoryStore()),
  lasts: false,
});

const write = (partition: string, fence?: number): PartitionWrite => ({
  partition,
  operations: [],
  ...(fence === undefined ? {} : { fence }),
});

test("what is asked for meanwhile goes together, a partition's writes one after the other", async () => {
  const inner = new MemoryStore();
  const calls: string[][] = [];
  const store = new GatheringStore(
    Object.assign(Object.create(inner), {
      write: async (writes: readonly PartitionWrite[]) => {
        calls.push(writes.map(({ partition }) => partition));
        await new Promise((resolve) => setImmediate(resolve));
        return inner.write(writes);
      },
    }),
  );
  const outcomes: Promise<unknown>[] = [store.write([write("a", 5)])];
  await new Promise((resolve) => setImmediate(resolve));
  outcomes.push(store.write([write("b")]), store.write([write("a", 4), write("c")]));
  outcomes.push(store.write([write("d")]), store.write([write("a", 6)]));
  const fenced = { kind: "fenced", why: "another owner has written to a" };
  assert.deepEqual(await Promise.all(outcomes), [[null], [null], [fenced, null], [null], [null]]);
  assert.deepEqual(calls, [["a"], ["b", "a", "c", "d"], ["a"]]);
});
