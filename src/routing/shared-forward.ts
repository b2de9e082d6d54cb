/**
 * The end of a forward that is (also) for share groups: which ones, and how it came to be sent
 * (docs/wire.md, "Forward"). An ordinary forward has no such end and is not touched here.
 */
import { forwardHeaderBytes } from "../cluster/wire/frames.js";

export interface SharedPart {
  /** For these groups alone: not for other subscribers, nor to be retained. */
  readonly only: boolean;
  /** How many nodes have passed it on because nobody was there any more to take it. */
  readonly hops: number;
  /** `$share/name/filter` of each. */
  readonly keys: readonly string[];
}

/** Bit of the flags of a forward: it has this end. */
const sharedBit = 8;
const onlyBit = 1;
const lengthBytes = 4;
/** Bytes of the keys that one forward names; others go in further ones. */
export const sharedKeysBytes = 256 * 1024;

/** A whole frame with its end put on: see `SharedPart`. */
export function withShared(
  frame: Buffer,
  only: boolean,
  hops: number,
  groups: readonly { readonly key: string }[],
): Buffer {
  let length = 2;
  for (const { key } of groups) length += 2 + Buffer.byteLength(key);
  const whole = Buffer.allocUnsafe(frame.length + length + lengthBytes);
  whole.set(frame);
  whole[forwardHeaderBytes] = (whole[forwardHeaderBytes] ?? 0) | sharedBit;
  let at = whole.writeUInt8(only ? onlyBit : 0, frame.length);
  at = whole.writeUInt8(hops, at);
  for (const { key } of groups) {
    const bytes = whole.write(key, at + 2);
    at = whole.writeUInt16BE(bytes, at) + bytes;
  }
  whole.writeUInt32BE(length, at);
  return whole;
}

/** Has this forward an end for share groups? */
export function hasShared(bytes: Buffer, start: number, end: number): boolean {
  return end > start && ((bytes[start] ?? 0) & sharedBit) !== 0;
}

/**
 * The end of a forward, and where the rest of it ends. One whose lengths do not fit has no rest, so that
 * nothing can be read of it.
 */
export function readShared(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly part: SharedPart; readonly rest: number } {
  const last = end - lengthBytes;
  const rest = last < start ? start : last - bytes.readUInt32BE(last);
  const keys: string[] = [];
  let at = rest + 2;
  while (rest > start && at + 2 <= last) {
    const from = at + 2;
    at = from + bytes.readUInt16BE(at);
    keys.push(bytes.toString("utf8", from, Math.min(at, last)));
  }
  if (rest <= start || at !== last) return { part: { only: true, hops: 0, keys: [] }, rest: start };
  const flags = bytes.readUInt8(rest);
  return { part: { only: (flags & onlyBit) !== 0, hops: bytes.readUInt8(rest + 1), keys }, rest };
}
