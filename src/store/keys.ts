/**
 * Names in the store. Keys compare as UTF-8 bytes, so numbers in keys have a fixed width: key order is number
 * order. Names have limits, and a name past them is a bug of whoever made it.
 */
import { assert } from "../lib/assert.js";
import { keyBytesMax, type PartitionWrite, partitionBytesMax } from "./store.js";

/** Highest number that a key can hold. */
export const numberKeyMax = 0xffff_ffff_ffff;

const digits = 12;

/** A whole number from 0 to `numberKeyMax` as 12 hex digits. */
export function numberKey(number: number): string {
  assert(number >= 0 && number <= numberKeyMax, "a number in a key is out of range");
  return number.toString(16).padStart(digits, "0");
}

/** The number that `numberKey` made this of; NaN when it is none. */
export function keyNumber(key: string): number {
  return /^[0-9a-f]{12}$/.test(key) ? Number.parseInt(key, 16) : Number.NaN;
}

/** The first key after all that begin with `prefix` (which must not be empty), for ends of ranges. */
export function afterPrefix(prefix: string): string {
  // No key holds this character's bytes after a prefix: it is the last one of Unicode, and no character.
  return `${prefix}\u{10ffff}`;
}

/**
 * Every implementation calls this first in `write`.
 * @throws AssertionError for a name that is empty (partitions), too long, or has a NUL (partitions)
 */
export function checkNames(writes: readonly PartitionWrite[]): void {
  for (const { partition, operations } of writes) {
    checkPartition(partition);
    for (const operation of operations) {
      checkKey(operation.kind === "deleteRange" ? operation.from : operation.key);
      if (operation.kind === "deleteRange") checkKey(operation.to);
    }
  }
}

/** @throws AssertionError */
export function checkPartition(partition: string): void {
  const fits = partition.length > 0 && bytesAtMost(partition, partitionBytesMax);
  // Implementations put a NUL between partition and key.
  assert(fits && !partition.includes("\0"), "a partition's name is empty, too long or has a NUL");
}

/** @throws AssertionError */
export function checkKey(key: string): void {
  assert(bytesAtMost(key, keyBytesMax), "a key is too long");
}

function bytesAtMost(text: string, most: number): boolean {
  // A UTF-16 unit takes 3 bytes at most.
  return text.length * 3 <= most || Buffer.byteLength(text, "utf8") <= most;
}

/** Order of two keys by their UTF-8 bytes, as a comparison function. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** UTF-16 has the surrogates (characters past U+FFFF) before U+E000 to U+FFFF, UTF-8 behind them. */
function rank(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit >= 0xe000 ? unit - 0x800 : unit + 0x2000;
}
