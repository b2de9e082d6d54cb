/** Percentiles and medians. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Histogram, median } from "../../../src/cli/bench/histogram.js";

test("small values are exact", () => {
  const histogram = new Histogram();
  for (let value = 1; value <= 50; value++) histogram.add(value);
  assert.equal(histogram.count, 50);
  assert.equal(histogram.percentile(0.5), 25);
  assert.equal(histogram.percentile(0), 1);
  assert.equal(histogram.percentile(1), 50);
});

test("nothing has no percentile", () => {
  assert.equal(new Histogram().percentile(0.5), undefined);
});

test("every percentile is within 1.6 % of the sorted list's", () => {
  const values = fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { minLength: 1 });
  const fraction = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(values, fraction, (list, at) => {
      const histogram = new Histogram();
      for (const value of list) histogram.add(value);
      const sorted = [...list].sort((a, b) => a - b);
      const exact = sorted[Math.max(1, Math.ceil(at * list.length)) - 1] ?? 0;
      const found = histogram.percentile(at) ?? -1;
      assert.ok(Math.abs(found - exact) <= exact * 0.016, `${found} for ${exact}`);
    }),
  );
});

test("the median of an even number of values is the mean of the two in the middle", () => {
  assert.equal(median([30, 10, 20]), 20);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.throws(() => median([]), RangeError);
});
