/** What a session knows of an older one that could not be reached when it began, or may have been out of sight; a record in its partition. */
import { z } from "zod";
import { decodeRecord, encodeRecord } from "../../store/record.js";
import type { Cut } from "./wire.js";

/** Key in the session's partition. */
export const successionKey = "succession";
const version = 1;

/** As plain data. */
export const succession = z.object({
  /** Where the older session is, or may be: nodes that were away when this one began. */
  nodes: z.array(z.string()),
  /** It began with Clean Start and this epoch: nothing of what is older is wanted; 0: it did not. */
  cleanEpoch: z.number(),
  /** Up to where everybody had published when its first subscription was in force; null: there was none yet. */
  cuts: z
    .array(z.object({ origin: z.string(), incarnation: z.number(), counter: z.number() }))
    .nullable(),
  /** The handing over that it has taken, or is taking; 0: none. */
  takenId: z.number(),
  /** How many parts of that; -1: all. */
  takenParts: z.number().default(-1),
});

export interface Succession {
  readonly nodes: readonly string[];
  readonly cleanEpoch: number;
  readonly cuts: readonly Cut[] | null;
  readonly takenId: number;
  readonly takenParts: number;
}

export const encodeSuccession = (note: Succession): Buffer => encodeRecord(version, note);

/** Null: it cannot be read. */
export function decodeSuccession(record: Buffer): Succession | null {
  const parsed = succession.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}
