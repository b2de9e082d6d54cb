/**
 * What is stored with a session that was adopted, until its old owners' stores and outboxes are done with: from whom, so that
 * a crash in between changes nothing.
 */
import { z } from "zod";
import { decodeRecord, encodeRecord } from "../../store/record.js";

/** Key in the session's partition. */
export const adoptedKey = "adopted";
const version = 1;

const formerSchema = z.object({
  /** The dead node. */
  node: z.string(),
  /** Of its data directory. */
  dataId: z.string(),
  /** The start of it that had died, or was taken for dead. */
  incarnation: z.number().default(0),
  /** Whose claim stands in its store, and which. */
  by: z.string(),
  id: z.number(),
});
/** A node that had the session when it died. */
export type Former = z.infer<typeof formerSchema>;

const schema = z.object({
  /** The first of them first. */
  formers: z.array(formerSchema).min(1),
  /** It has what had waited for them elsewhere, and takes what comes since. */
  isWhole: z.boolean().optional(),
});
export type AdoptedNote = z.infer<typeof schema>;

export function encodeAdopted(note: AdoptedNote): Buffer {
  return encodeRecord(version, note);
}

/** Null: it cannot be read. */
export function decodeAdopted(record: Buffer): AdoptedNote | null {
  const parsed = schema.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}
