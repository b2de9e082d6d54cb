import assert from "node:assert/strict";
import { test } from "node:test";
import { RowPositions } from "../../src/cluster/row-positions.js";

test("a publish is told apart by its number from those that came before a peer's rows", () => {
  const positions = new RowPositions();
  assert.equal(positions.before(1), null);
  positions.note(1, 10);
  positions.note(2, 10);
  positions.note(5, 12);
  assert.deepEqual(
    [0, 1, 2, 3, 5].map((seq) => positions.before(seq)),
    [10, 10, 10, 12, 12],
  );
  assert.equal(positions.before(6), null);
  positions.clear();
  assert.equal(positions.before(1), null);
});

test("of rows that are long forgotten a later number is told, so that nothing is nobody's", () => {
  const positions = new RowPositions();
  for (let seq = 1; seq <= 5000; seq++) positions.note(seq, 2 * seq);
  assert.equal(positions.before(4990), 9980);
  assert.ok((positions.before(1) ?? 0) > 2);
});
