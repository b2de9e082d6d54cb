/** Positions in streams: which is later, and which has not been reached. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { firstLate, isLater } from "../../src/cluster/position.js";

test("a later incarnation is later whatever its counter, else the higher counter is", () => {
  assert.equal(isLater({ incarnation: 2, counter: 1 }, { incarnation: 1, counter: 9 }), true);
  assert.equal(isLater({ incarnation: 1, counter: 9 }, { incarnation: 2, counter: 1 }), false);
  assert.equal(isLater({ incarnation: 1, counter: 2 }, { incarnation: 1, counter: 1 }), true);
  assert.equal(isLater({ incarnation: 1, counter: 1 }, { incarnation: 1, counter: 1 }), false);
});

test("a position is late that is higher than what is here, or of an origin that is not known", () => {
  const here = [
    { origin: "a", incarnation: 1, counter: 5 },
    { origin: "b", incarnation: 2, counter: 1 },
  ];
  const at = (origin: string, incarnation: number, counter: number) => ({
    origin,
    incarnation,
    counter,
  });
  assert.equal(firstLate([at("a", 1, 5), at("b", 1, 9)], here, "self"), undefined);
  assert.equal(firstLate([at("a", 1, 5), at("b", 2, 2)], here, "self")?.origin, "b");
  assert.equal(firstLate([at("c", 1, 1)], here, "self")?.origin, "c");
  assert.equal(firstLate([at("c", 1, 0), at("self", 9, 9)], here, "self"), undefined);
});
