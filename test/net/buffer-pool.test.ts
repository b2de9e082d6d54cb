/** Output memory: each takes the smallest buffer that will do, and a free one rather than a new one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BufferPool, largestBytes } from "../../src/net/buffer-pool.js";

test("a few bytes get a small buffer, a whole read a large one", () => {
  const pool = new BufferPool();
  assert.ok(pool.take(4).length <= 2048);
  const sizes = [1, 2048, 2049, 16_384, 16_385, largestBytes].map((count) => ({
    count,
    bytes: pool.take(count).length,
  }));
  for (const { count, bytes } of sizes) assert.ok(bytes >= count, `${bytes} for ${count}`);
  assert.equal(sizes.at(-1)?.bytes, largestBytes);
});

test("a buffer given back is taken again, for its own size only, and by one at a time", () => {
  const pool = new BufferPool();
  const small = pool.take(4);
  const large = pool.take(50_000);
  pool.give(small);
  pool.give(large);
  assert.notEqual(pool.take(5000), large);
  assert.equal(pool.take(100), small);
  assert.notEqual(pool.take(100), small);
  assert.equal(pool.take(20_000), large);
});

test("what a burst took is not all kept", () => {
  const pool = new BufferPool();
  const burst = Array.from({ length: 300 }, () => pool.take(largestBytes));
  for (const buffer of burst) pool.give(buffer);
  const kept = new Set(burst);
  let again = 0;
  for (let i = 0; i < 300; i++) if (kept.has(pool.take(largestBytes))) again++;
  assert.ok(again > 0 && again < 300, `${again} kept`);
});
