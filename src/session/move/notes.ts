/**
 * What of a move is stored with the session: at its old owner, from the moment it gives the state away, to whom; at its
 * new one, until the old owner has forgotten it, from whom. Both outlive a crash, the second also the session itself.
 */
import { z } from "zod";
import { decodeRecord, encodeRecord } from "../../store/record.js";

/** Keys in the session's partition. */
export const movingKey = "moving";
export const movedKey = "moved";
/** The will that came with a session, until it is among the wills of the node. */
export const willKey = "will";
const version = 1;

const schema = z.object({
  /** The other node. */
  node: z.string(),
  /** Of the try. */
  id: z.number(),
  /** The number of the session's first message that is not in the state that was sent; 0: unknown. */
  nextSeq: z.number(),
});
export type MoveNote = z.infer<typeof schema>;

export function encodeNote(note: MoveNote): Buffer {
  return encodeRecord(version, note);
}

/** Null: it cannot be read. */
export function decodeNote(record: Buffer): MoveNote | null {
  const parsed = schema.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}
