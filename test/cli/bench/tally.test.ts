/** Each message counts once: as new, as overtaken, or as a duplicate. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { arrival, Tally } from "../../../src/cli/bench/tally.js";

test("order, overtaking and duplicates are told apart", () => {
  const tally = new Tally();
  const { inOrder, late, duplicate } = arrival;
  const results = [0, 1, 5, 3, 3, 5, 6, 1_000_000, 999_999].map((index) => tally.mark(index));
  assert.deepEqual(results, [
    ...[inOrder, inOrder, inOrder, late, duplicate, duplicate],
    ...[inOrder, inOrder, late],
  ]);
});

test("counts agree with a set, in any order", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(5000)), (indexes) => {
      const tally = new Tally();
      const seen = new Set<number>();
      let highest = -1;
      for (const index of indexes) {
        const expected = seen.has(index)
          ? arrival.duplicate
          : index < highest
            ? arrival.late
            : arrival.inOrder;
        assert.equal(tally.mark(index), expected);
        seen.add(index);
        highest = Math.max(highest, index);
      }
    }),
  );
});
