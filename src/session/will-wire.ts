/** What the nodes that hold wills say to each other: service `wills` (docs/wire.md). msgpack, checked when it is read. */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../lib/unpack.js";

const count = z.number().int().nonnegative();
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const wills = <T extends z.ZodType>(one: T) => z.array(one).max(10_000);

const questionSchema = z.discriminatedUnion("kind", [
  /** The asker's clients have these wills (null: no more). `all`: and no others. */
  z.object({
    kind: z.literal("hold"),
    incarnation: count,
    all: z.boolean(),
    /** Some members are silent, and may hold what is taken back here: whoever hears this tells them, when they ask. */
    lasting: z.boolean().default(false),
    wills: wills(
      z.object({
        clientId: z.string(),
        epoch: count,
        will: bytes.nullable(),
        /** Its session was adopted by another node: the home of the client id says when its client is back. */
        elsewhere: z.boolean().optional(),
      }),
    ),
  }),
  /** Wills of a node that is dead, for their home; `agoMs`: since when. */
  z.object({
    kind: z.literal("inherit"),
    owner: z.string(),
    incarnation: count,
    agoMs: z.number().nonnegative(),
    /** They come from the owner itself, which closed their clients: it has let go of them for good. */
    entrusted: z.boolean().default(false),
    /** They waited while some members were silent: all that are not are asked before they are published. */
    doubtful: z.boolean().default(false),
    wills: wills(z.object({ clientId: z.string(), epoch: count, will: bytes })),
  }),
  /**
   * The wills of these connections of `owner` are settled: published, or void. Nobody else may publish them. With an incarnation
   * the asker is about to: who is linked with that process of the owner knows better, and names them in its answer. `process`:
   * with QoS 0 the asker's incarnation. `hearsAll`: every member is up there, or certainly dead; older nodes do not say.
   */
  z.object({
    kind: z.literal("settled"),
    owner: z.string(),
    incarnation: count.default(0),
    process: count.default(0),
    hearsAll: z.boolean().optional(),
    wills: wills(z.object({ clientId: z.string(), epoch: count })),
  }),
  /** The asker was about to publish these, and leaves them to their owner. */
  z.object({
    kind: z.literal("given up"),
    wills: wills(z.object({ clientId: z.string(), epoch: count })),
  }),
  /** Which wills of the asker are settled? They are told before this is answered. */
  z.object({ kind: z.literal("tell") }),
  /**
   * May the asker publish the wills of these connections of its own? The answer names those that are settled; of those that wait
   * also those whose clients have come back.
   */
  z.object({
    kind: z.literal("ask"),
    /** At its start that of the asker: what this process has held since is not meant; 0: all that it has is. */
    incarnation: count.default(0),
    /** Some members are silent, and may hold these. */
    lasting: z.boolean().default(true),
    wills: wills(
      z.object({ clientId: z.string(), epoch: count, waits: z.boolean().default(false) }),
    ),
  }),
]);

export type Question = z.infer<typeof questionSchema>;

const ids = z.array(z.string());
/** That node was about to publish the will of the client; `process`: with QoS 0 its incarnation. */
const begunSchema = z.object({ clientId: z.string(), by: z.string(), process: count.default(0) });
export type Begun = z.infer<typeof begunSchema>;
const answerSchema = z.object({
  settled: ids,
  left: ids.default([]),
  begun: z.array(begunSchema).default([]),
});
export type Answer = z.infer<typeof answerSchema>;

export const encodeQuestion = (question: Question): Buffer => pack(question);

/** Null: it makes no sense. */
export function decodeQuestion(body: Uint8Array): Question | null {
  return unpackAs(questionSchema, body);
}

/** The client ids whose wills are settled, or whose owner is heard; and those that their owner has to itself, dead or not. */
export function encodeAnswer(
  settled: readonly string[],
  left: readonly string[] = [],
  begun: readonly Begun[] = [],
): Buffer {
  return pack({ settled, left, begun });
}

export function decodeAnswer(body: Uint8Array): Answer {
  return unpackAs(answerSchema, body) ?? { settled: [], left: [], begun: [] };
}
