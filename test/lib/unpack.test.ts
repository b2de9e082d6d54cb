/** What others have packed is taken by its schema, or not at all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../src/lib/unpack.js";

const schema = z.object({ name: z.string() });

test("what the schema takes is read", () => {
  assert.deepEqual(unpackAs(schema, pack({ name: "a" })), { name: "a" });
});

test("other fields, other values and bytes that are no msgpack are null", () => {
  assert.equal(unpackAs(schema, pack({ name: 1 })), null);
  assert.equal(unpackAs(schema, pack("a")), null);
  assert.equal(unpackAs(schema, pack({ name: "cut short" }).subarray(0, 4)), null);
  assert.equal(unpackAs(schema, Buffer.alloc(0)), null);
});
