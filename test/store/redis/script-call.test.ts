/** Calls of scripts as bytes: what ioredis itself would send. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Command } from "ioredis";
import { ScriptCall } from "../../../src/store/redis/script-call.js";

test("a call is the same bytes as the client's own, whatever its arguments", () => {
  const text = fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), fc.constant(""));
  const data = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const property = fc.property(fc.array(text), fc.array(fc.oneof(text, data)), (keys, args) => {
    const all = ["sha", String(keys.length), ...keys, ...args];
    const expected = new Command("EVALSHA", all, {}).toWritable({});
    const bytes = new ScriptCall("sha", keys, args).toWritable();
    assert.ok(bytes.equals(Buffer.from(expected)));
  });
  fc.assert(property);
});

test("large values, and small ones after them", () => {
  for (const size of [70_000, 3_000_000, 10]) {
    const args = ["é".repeat(size), Buffer.alloc(size, 1), "x".repeat(size)];
    const command = new Command("EVALSHA", ["sha", "0", ...args], {});
    const expected = Buffer.from(command.toWritable({}));
    assert.ok(new ScriptCall("sha", [], args).toWritable().equals(expected));
  }
});
