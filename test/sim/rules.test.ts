/** Rules that are broken on purpose (rules/) are found by the histories that are named there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rules } from "./rules/index.js";
import { ask } from "./told.js";

for (const { name, kind, seed } of rules) {
  test(`found: ${name}`, async () => {
    const { fault } = await ask({ kind, seeds: [], rule: name });
    assert.notEqual(fault, null, `not by history ${seed} of ${kind}`);
  });
}

test("each switch has a name of its own", () => {
  assert.equal(new Set(rules.map(({ name }) => name)).size, rules.length);
});
