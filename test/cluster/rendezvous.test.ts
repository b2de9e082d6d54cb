/** Homes of client ids: fair, stable, and the same whatever the order of the members. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hashString, mix32 } from "../../src/lib/hash.js";
import { home, homes, weight } from "../../src/cluster/rendezvous.js";

const idCount = 10_000;
const ids = Array.from({ length: idCount }, (_, index) => `client-${index}`);

function members(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `node${index + 1}@10.0.0.${index + 1}`);
}

/** How far a share of the ids is from equal parts: (chi-square − freedom) / its standard deviation. */
function imbalance(counts: Iterable<number>, expected: number, freedom: number): number {
  let sum = 0;
  for (const count of counts) sum += (count - expected) ** 2 / expected;
  return (sum - freedom) / Math.sqrt(2 * freedom);
}

test("the formula is the one that is written down", () => {
  const [member, id] = ["node1@10.0.0.1", "grüße"];
  assert.equal(weight(member, id), mix32(hashString(member) ^ hashString(id)));
  // Fixed values: nodes of another version must come to the same.
  assert.equal(weight("a@h", ""), 4_093_453_462);
  assert.equal(weight("a@h", "client-1"), 1_527_571_743);
  assert.equal(home("client-1", ["a@h", "b@h", "c@h"]), "b@h");
});

test("client ids are spread evenly over 2 to 50 members", () => {
  for (let count = 2; count <= 50; count++) {
    const all = members(count);
    const tally = new Map(all.map((member) => [member, 0]));
    for (const id of ids) {
      const own = home(id, all);
      tally.set(own, (tally.get(own) ?? 0) + 1);
    }
    const far = imbalance(tally.values(), idCount / count, count - 1);
    assert.ok(far < 5, `${count} members: ${far.toFixed(1)} standard deviations from even`);
  }
});

test("the second home is spread evenly over the others", () => {
  const all = members(5);
  const tally = new Map<string, number>();
  for (const id of ids) {
    const pair = homes(id, all, 2).join(" ");
    tally.set(pair, (tally.get(pair) ?? 0) + 1);
  }
  assert.equal(tally.size, 20);
  assert.ok(imbalance(tally.values(), idCount / 20, 19) < 5);
});

test("when a member leaves, only its client ids move, and evenly", () => {
  const all = members(8);
  const [gone, ...rest] = all as [string, ...string[]];
  const moved = new Map<string, number>();
  for (const id of ids) {
    const before = home(id, all);
    const after = home(id, rest);
    if (before !== gone) assert.equal(after, before, `${id} moved without need`);
    else moved.set(after, (moved.get(after) ?? 0) + 1);
  }
  const total = [...moved.values()].reduce((sum, count) => sum + count, 0);
  assert.ok(imbalance(moved.values(), total / rest.length, rest.length - 1) < 5);
});

test("the next in line becomes home when the home leaves", () => {
  const all = members(6);
  for (const id of ids.slice(0, 500)) {
    const [first, second] = homes(id, all, 2);
    assert.equal(home(id, all), first);
    assert.equal(
      home(
        id,
        all.filter((member) => member !== first),
      ),
      second,
    );
  }
});

test("the order of the members does not matter", () => {
  const all = members(7);
  const turned = all.toReversed();
  for (const id of ids.slice(0, 500)) {
    assert.equal(home(id, all), home(id, turned));
    assert.deepEqual(homes(id, all, 3), homes(id, turned, 3));
  }
});

test("a member that stands there twice changes nothing", () => {
  assert.equal(home("x", ["a@h", "a@h"]), "a@h");
});

test("there are never more homes than members", () => {
  assert.deepEqual(homes("x", [], 2), []);
  assert.deepEqual(homes("x", ["a@h"], 2), ["a@h"]);
  assert.throws(() => home("x", []), RangeError);
});

test("more member names than are remembered do no harm", () => {
  const many = members(3000);
  const own = home("x", many);
  assert.equal(home("x", many), own);
  assert.equal(homes("x", many, 1)[0], own);
});
