/**
 * Who of several nodes adopts a session: whoever's claim its old owner's store has taken first. A claim is a record in the
 * session's partition there, under the epoch with which it raises the partition's fence; the store takes them in the order
 * of their epochs alone. Whoever reads the partition after his own claim knows for good who was first.
 */
import { decodeNote, encodeNote } from "../move/notes.js";

export const claimPrefix = "adopting/";

export interface Claim {
  readonly key: string;
  readonly epoch: number;
  /** Empty: it was withdrawn, and stands for its epoch alone. */
  readonly node: string;
  /** Of the try. */
  readonly id: number;
  /** The number of the session's first message that its old owner took after it was back; 0: it was not back yet. */
  readonly nextSeq: number;
}

/** Stamps are larger than other numbers in keys. */
const digits = 14;

export function claimKey(epoch: number, node: string): string {
  return `${claimPrefix}${epoch.toString(16).padStart(digits, "0")} ${node}`;
}

/** `nextSeq`: see `Claim`. */
export function encodeClaim(node: string, id: number, nextSeq = 0): Buffer {
  return encodeNote({ node, id, nextSeq });
}

/** In place of a claim, and wherever else the fence is raised: the owner, if he is back, must write above `fence`. */
export function encodeVoid(fence: number): Buffer {
  return encodeClaim("", fence);
}

/** One that cannot be read is nobody's. */
export function claimOf(key: string, value: Buffer): Claim {
  const { node = "", id = 0, nextSeq = 0 } = decodeNote(value) ?? {};
  const epoch = Number.parseInt(key.slice(claimPrefix.length), 16);
  return { key, epoch, node, id, nextSeq };
}

/** The first claim that stands; null: there is none, or there are two of one epoch. */
export function ownerOf(claims: readonly Claim[]): Claim | null {
  const [first, second] = claims.filter(({ node }) => node !== "");
  return first === undefined || first.epoch === second?.epoch ? null : first;
}

/** What the partition's fence is by them. */
export function highestOf(claims: readonly Claim[]): number {
  return Math.max(0, ...claims.map(({ epoch, node, id }) => (node === "" ? id : epoch)));
}
