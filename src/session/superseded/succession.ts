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
  /** Of each older session the number of the last message that it has taken. */
  taken: z.array(z.object({ node: z.string(), id: z.number(), seq: z.number() })).default([]),
  /** What this session, as an older one, was giving to a younger one: there is none, or it is not known to have come. */
  giving: z.object({ node: z.string(), id: z.number(), upTo: z.number() }).nullable().default(null),
});

export interface Succession {
  readonly nodes: readonly string[];
  readonly cleanEpoch: number;
  readonly cuts: readonly Cut[] | null;
  readonly taken: readonly TakenLegacy[];
  readonly giving?: Giving | null;
}

/** What an older session gives to a younger one. */
export interface Giving {
  /** Where the younger one is. */
  readonly node: string;
  /** Under which it gives: its epoch. */
  readonly id: number;
  /** The number of the last message. */
  readonly upTo: number;
}

/** What an older session at that node leaves is taken up to that number. */
export interface TakenLegacy {
  readonly node: string;
  /** Of the older session; another one that leaves something there later has another. */
  readonly id: number;
  readonly seq: number;
}

/** Up to which number has that been taken of an older session? 0: nothing. */
export function takenOf(note: Succession | null, node: string, id: number): number {
  return note?.taken.find((one) => one.node === node && one.id === id)?.seq ?? 0;
}

/** The same note, and more is taken: of a node what its newest older session left is remembered. */
export function withTaken(note: Succession, taken: TakenLegacy): Succession {
  return { ...note, taken: [...note.taken.filter(({ node }) => node !== taken.node), taken] };
}

/** The same note, and that is taken, too, as far as it is newer than what is noted of the node; null: none of it is. */
export function withInherited(note: Succession, taken: readonly TakenLegacy[]): Succession | null {
  let merged = note;
  for (const one of taken) {
    const before = merged.taken.find(({ node }) => node === one.node);
    const isNewer = before === undefined || before.id < one.id;
    if (isNewer || (before.id === one.id && before.seq < one.seq)) merged = withTaken(merged, one);
  }
  return merged === note ? null : merged;
}

export const encodeSuccession = (note: Succession): Buffer => encodeRecord(version, note);

/** Null: it cannot be read. */
export function decodeSuccession(record: Buffer): Succession | null {
  const parsed = succession.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}
