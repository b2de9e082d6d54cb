/** Ids found by hashes, whatever came and went, and however many share a hash. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IdTable } from "../../src/routing/id-table.js";

function idsOf(table: IdTable, hash: number): number[] {
  const ids: number[] = [];
  for (let id = table.first(hash); id !== 0; id = table.next(hash)) ids.push(id);
  return ids.sort((a, b) => a - b);
}

test("each hash finds the ids that were added with it and not removed", () => {
  // Few shards and few places, so that all get in each other's way.
  const hash = fc
    .tuple(fc.constantFrom(0, 1, 255), fc.nat(1), fc.nat(9))
    .map(([shard, middle, low]) => (shard << 24) | (middle << 12) | low);
  const steps = fc.array(fc.tuple(fc.boolean(), hash, fc.integer({ min: 1, max: 40 })), {
    maxLength: 120,
  });
  fc.assert(
    fc.property(steps, (all) => {
      const table = new IdTable();
      const model = new Map<number, number>();
      for (const [adds, wanted, id] of all) {
        const known = model.get(id);
        if (adds && known === undefined) {
          table.add(wanted, id);
          model.set(id, wanted);
        } else if (!adds && known !== undefined) {
          table.remove(known, id);
          model.delete(id);
        }
      }
      for (const [, one] of all) {
        const expected = [...model].filter(([, other]) => other === one).map(([id]) => id);
        assert.deepEqual(
          idsOf(table, one),
          expected.sort((a, b) => a - b),
        );
      }
    }),
    { numRuns: 500 },
  );
});

test("many ids, and none of them left", () => {
  const table = new IdTable();
  const hashOf = (id: number): number => Math.imul(id, 0x9e3779b1);
  for (let id = 1; id <= 50_000; id++) table.add(hashOf(id), id);
  for (let id = 1; id <= 50_000; id++) assert.deepEqual(idsOf(table, hashOf(id)), [id]);
  for (let id = 1; id <= 50_000; id++) table.remove(hashOf(id), id);
  for (let id = 1; id <= 50_000; id++) assert.equal(table.first(hashOf(id)), 0);
  table.remove(5, 5);
});
