/**
 * The one hash function of the cluster: 32-bit FNV-1a over UTF-8, finished with MurmurHash3's
 * fmix32. Nodes must agree on it (docs/wire.md): homes of client ids and digests of rows use it.
 */

const fnvOffset = 0x811c9dc5;
const fnvPrime = 0x01000193;

/** Spreads every input bit over the 32-bit result (MurmurHash3 fmix32). */
export function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Hash of bytes `start` to `end` (exclusive) of `bytes`. */
export function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let h = fnvOffset;
  // The index is within the array by the caller's contract.
  for (let i = start; i < end; i++) h = Math.imul(h ^ (bytes[i] as number), fnvPrime);
  return mix32(h);
}

/** Hash of a string's UTF-8 bytes. */
export function hashString(text: string): number {
  let h = fnvOffset;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) {
      const bytes = Buffer.from(text, "utf8");
      return hashBytes(bytes, 0, bytes.length);
    }
    h = Math.imul(h ^ code, fnvPrime);
  }
  return mix32(h);
}
