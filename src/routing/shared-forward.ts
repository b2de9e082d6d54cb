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
  /** Names of nodes none of whose members may have it, by their access rules: they are not asked again. */
  readonly tried: readonly string[];
  /** Nobody who is connected may have it: it is for members that wait. */
  readonly waiting: boolean;
  /** Its sender, to whom the receiver had sent it, knows of nobody: who had chosen chooses again. */
  readonly returned: boolean;
}

/** What of it differs from one forward to another of the same groups. */
export type SharedRoute = Pick<SharedPart, "only" | "hops" | "tried" | "waiting" | "returned">;

/** Bit of the flags of a forward: it has this end. */
const sharedBit = 8;
const onlyBit = 1;
const triedBit = 2;
const waitingBit = 4;
const returnedBit = 8;
const lengthBytes = 4;
/** Bytes of the keys that one forward names; others go in further ones. */
export const sharedKeysBytes = 256 * 1024;

/** A whole frame with its end put on: see `SharedPart`. */
export function withShared(
  frame: Buffer,
  { only, hops, tried, waiting, returned }: SharedRoute,
  groups: readonly { readonly key: string }[],
): Buffer {
  let length = 2;
  for (const { key } of groups) length += 2 + Buffer.byteLength(key);
  if (tried.length > 0) length += 2;
  for (const name of tried) length += 2 + Buffer.byteLength(name);
  const whole = Buffer.allocUnsafe(frame.length + length + lengthBytes);
  whole.set(frame);
  whole[forwardHeaderBytes] = (whole[forwardHeaderBytes] ?? 0) | sharedBit;
  const route = (only ? onlyBit : 0) | (tried.length > 0 ? triedBit : 0);
  const flags = route | (waiting ? waitingBit : 0) | (returned ? returnedBit : 0);
  let at = whole.writeUInt8(flags, frame.length);
  at = whole.writeUInt8(hops, at);
  if (tried.length > 0) at = whole.writeUInt16BE(tried.length, at);
  for (const name of tried) at = writeText(whole, name, at);
  for (const { key } of groups) at = writeText(whole, key, at);
  whole.writeUInt32BE(length, at);
  return whole;
}

function writeText(into: Buffer, text: string, at: number): number {
  const bytes = into.write(text, at + 2);
  return into.writeUInt16BE(bytes, at) + bytes;
}

/** Has this forward an end for share groups? */
export function hasShared(bytes: Buffer, start: number, end: number): boolean {
  return end > start && ((bytes[start] ?? 0) & sharedBit) !== 0;
}

/** Of a forward from the node that chose. */
export const atFirst = { hops: 0, tried: [], waiting: false, returned: false } as const;
const nothing: SharedPart = { ...atFirst, only: true, keys: [] };

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
  const texts: string[] = [];
  const flags = rest > start ? (bytes[rest] ?? 0) : 0;
  const hasTried = (flags & triedBit) !== 0 && rest + 4 <= last;
  const triedCount = hasTried ? bytes.readUInt16BE(rest + 2) : 0;
  let at = hasTried ? rest + 4 : rest + 2;
  while (rest > start && at + 2 <= last) {
    const from = at + 2;
    at = from + bytes.readUInt16BE(at);
    texts.push(bytes.toString("utf8", from, Math.min(at, last)));
  }
  if (rest <= start || at !== last) return { part: nothing, rest: start };
  const tried = texts.slice(0, triedCount);
  const keys = texts.slice(triedCount);
  const [only, waiting] = [(flags & onlyBit) !== 0, (flags & waitingBit) !== 0];
  const returned = (flags & returnedBit) !== 0;
  return { part: { only, hops: bytes.readUInt8(rest + 1), keys, tried, waiting, returned }, rest };
}
