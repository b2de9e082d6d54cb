/**
 * The hash that tables of filters and levels use, over the UTF-16 units of a text. It is seeded with a
 * number of this process: clients choose the texts, and must not be able to choose their places.
 */
import { realRandom } from "../lib/random.js";

const seed = realRandom.bytes(4).readInt32LE();

/** The hash of no text at all. */
export const emptyHash = seed;

/** The hash of a text that goes on with `code`. */
export function hashOn(hash: number, code: number): number {
  const h = Math.imul(hash ^ code, 0x9e3779b1);
  return h ^ (h >>> 15);
}

/** Spreads what differs at the end over all bits. */
export function hashEnd(hash: number): number {
  const h = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) | 0;
}

/** The hash of `text` from `start` to `end`. */
export function hashOfText(text: string, start: number, end: number): number {
  let h = emptyHash;
  for (let i = start; i < end; i++) h = hashOn(h, text.charCodeAt(i));
  return hashEnd(h);
}

/** Is `name` what stands in `text` at `start`, where it has as many units up to `end`? */
export function standsAt(name: string, text: string, start: number, end: number): boolean {
  if (name.length !== end - start) return false;
  for (let i = 0; i < name.length; i++) {
    if (name.charCodeAt(i) !== text.charCodeAt(start + i)) return false;
  }
  return true;
}

/** The text as a string of its own: a part of a longer one would keep all of that in memory. */
export function ownText(text: string): string {
  // V8 copies what is shorter than this anyway.
  return text.length < 13 ? text : Buffer.from(text, "utf8").toString("utf8");
}
