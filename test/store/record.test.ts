/** Records and names of the store: what was written comes back, and damage never does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { crc32c } from "../../src/lib/crc32c.js";
import {
  afterPrefix,
  checkKey,
  checkPartition,
  compareKeys,
  keyNumber,
  numberKey,
  numberKeyMax,
} from "../../src/store/keys.js";
import {
  decodeRecord,
  encodeRecord,
  openRecord,
  recordCounters,
  recordHead,
  recordIsWhole,
  sealRecord,
} from "../../src/store/record.js";

test("the checksum is CRC-32C [RFC 3720, B.4]", () => {
  const check = (bytes: Buffer): string => crc32c(bytes, 0, bytes.length).toString(16);
  assert.equal(check(Buffer.from("123456789")), "e3069283");
  assert.equal(check(Buffer.alloc(32)), "8a9136aa");
  assert.equal(check(Buffer.alloc(32, 0xff)), "62a8ab43");
  assert.equal(check(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), "46dd794e");
  assert.equal(check(Buffer.alloc(0)), "0");
});

test("what was encoded is decoded, with the version it was written in only", () => {
  const value = { topic: "a/ü", payload: Buffer.from([1, 2, 3]), n: 2 ** 50, list: [null, true] };
  const record = encodeRecord(7, value);
  assert.deepEqual(decodeRecord(7, record)?.value, value);
  const { unknownVersion, damaged } = recordCounters;
  assert.equal(decodeRecord(8, record), null);
  assert.deepEqual(recordCounters, { unknownVersion: unknownVersion + 1, damaged });
});

test("a record that is not as it was written is none, wherever it changed", () => {
  const record = encodeRecord(1, { some: "value", of: [1, 2, 3] });
  for (let at = 0; at < record.length; at++) {
    for (const bit of [1, 0x80]) {
      const changed = Buffer.from(record);
      changed[at] = (changed[at] ?? 0) ^ bit;
      const { damaged } = recordCounters;
      assert.equal(decodeRecord(changed[0] ?? 0, changed), null, `byte ${at}`);
      assert.equal(recordCounters.damaged, damaged + 1);
    }
  }
  for (let length = 0; length < record.length; length++) {
    assert.equal(decodeRecord(1, record.subarray(0, length)), null, `cut at ${length}`);
  }
  assert.equal(decodeRecord(0, Buffer.alloc(64)), null, "zeros");
});

test("a sealed record opens to a view of its body", () => {
  const record = Buffer.concat([Buffer.alloc(recordHead), Buffer.from("body")]);
  assert.equal(sealRecord(3, record), record);
  assert.ok(recordIsWhole(record));
  const body = openRecord(3, record);
  assert.equal(body?.toString(), "body");
  assert.equal(body?.buffer, record.buffer);
  assert.equal(openRecord(2, record), null);
});

test("numbers in keys: key order is number order", () => {
  const number = fc.integer({ min: 0, max: numberKeyMax });
  fc.assert(
    fc.property(number, number, (a, b) => {
      assert.equal(keyNumber(numberKey(a)), a);
      assert.equal(Math.sign(compareKeys(numberKey(a), numberKey(b))), Math.sign(a - b));
    }),
  );
  assert.ok(Number.isNaN(keyNumber("checkpoint")));
  assert.throws(() => numberKey(numberKeyMax + 1));
  assert.throws(() => numberKey(-1));
});

test("keys compare as their UTF-8 bytes", () => {
  const text = fc.string({ unit: "binary", maxLength: 8 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const bytes = Buffer.compare(Buffer.from(a), Buffer.from(b));
      assert.equal(Math.sign(compareKeys(a, b)), bytes);
      assert.ok(compareKeys(`${a}${b}`, afterPrefix(a)) < 0 || b >= "\u{10ffff}");
    }),
  );
});

test("names past their limits are refused", () => {
  checkPartition("ü".repeat(256));
  checkKey("ü".repeat(512));
  assert.throws(() => checkPartition("ü".repeat(257)));
  assert.throws(() => checkPartition(""));
  assert.throws(() => checkPartition("a\0b"));
  assert.throws(() => checkKey(`ü${"a".repeat(1023)}`));
});
