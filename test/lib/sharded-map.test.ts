/** A map in shards does what a map does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hashString } from "../../src/lib/hash.js";
import { ShardedMap } from "../../src/lib/sharded-map.js";

test("it holds what a map holds", () => {
  const step = fc.tuple(fc.constantFrom("set", "delete"), fc.nat(50), fc.nat(5));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.boolean(), (steps, collide) => {
      const sharded = new ShardedMap<number>();
      const model = new Map<string, number>();
      for (const [what, number, value] of steps) {
        const key = `key ${number}`;
        const hash = collide ? 7 : hashString(key);
        assert.equal(sharded.get(key, hash), model.get(key));
        assert.equal(sharded.has(key, hash), model.has(key));
        if (what === "set") {
          sharded.set(key, hash, value);
          model.set(key, value);
        } else assert.equal(sharded.delete(key, hash), model.delete(key));
        assert.equal(sharded.size, model.size);
      }
      const byKey = (one: [string, number], other: [string, number]): number =>
        one[0] < other[0] ? -1 : 1;
      assert.deepEqual([...sharded].sort(byKey), [...model].sort(byKey));
    }),
  );
});
