/** What the nodes of two sessions of one client id say to each other (docs/wire.md, "Superseded sessions"). */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../lib/unpack.js";

export const supersededService = "superseded";

const count = z.number().int().nonnegative();
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const positionSchema = z.object({ origin: z.string(), incarnation: count, counter: count });
/** What an older session at that node leaves is taken up to that number. */
const takenSchema = z.object({ node: z.string(), id: count, seq: count });
/** The publishes of an origin up to this number are the older session's, as far as they were for the client. */
export type Cut = z.infer<typeof positionSchema>;

const questionSchema = z.discriminatedUnion("kind", [
  /** The asker has an older session of that client id. What is to become of it? */
  z.object({ kind: z.literal("begin"), clientId: z.string(), epoch: count }),
  /** The younger session's first subscription is in force: what is published after these is its own. */
  z.object({
    kind: z.literal("cut"),
    clientId: z.string(),
    epoch: count,
    cuts: z.array(positionSchema).max(10_000),
  }),
  /**
   * A part of the older session's messages, the first or the last of them. `id`: of that session, the same however often they
   * are sent; `upTo`: the number of the last message of the part; `taken`, with the last part: what of still older sessions is
   * among them, or was.
   */
  z.object({
    kind: z.literal("give"),
    clientId: z.string(),
    epoch: count,
    id: count,
    first: z.boolean(),
    last: z.boolean(),
    upTo: count,
    part: bytes,
    taken: z.array(takenSchema).max(10_000).optional(),
  }),
  /** Up to which number has a session of that client id what the asker's session was giving under that id? */
  z.object({ kind: z.literal("taken"), clientId: z.string(), id: count }),
  /** Which sessions have taken the place of older ones at the asker, while that was down? After the client id `after`. */
  z.object({ kind: z.literal("successors"), after: z.string() }),
  /** Up to where had the one who is asked published when it began to hold the asker's rows up to `seq`? Without it: by now. */
  z.object({ kind: z.literal("position"), seq: count.optional() }),
]);
export type Question = z.infer<typeof questionSchema>;

const answerSchema = z.discriminatedUnion("kind", [
  /**
   * There is no younger session of that client id here, or it is on its way to one that is younger still: what of the asker's is
   * taken here durably goes there. Asked how far something is taken: without a number there is no session here.
   */
  z.object({ kind: z.literal("unknown"), takenSeq: count.optional() }),
  z.object({
    kind: z.literal("take"),
    cuts: z.array(positionSchema).max(10_000),
    /** The client is connected with it. */
    connected: z.boolean().default(false),
    /** Messages of the older session of that epoch up to this number are taken, durably. */
    takenSeq: count,
  }),
  /** Nothing of what is as old is wanted. */
  z.object({ kind: z.literal("discard") }),
  z.object({
    kind: z.literal("successors"),
    sessions: z
      .array(
        z.object({
          clientId: z.string(),
          epoch: count,
          /** Null: the older session ends, without a younger one. */
          cuts: z.array(positionSchema).max(10_000).nullable(),
        }),
      )
      .max(10_000),
    more: z.boolean(),
  }),
  /** It is taken; of the last part: all of them, durably. So is a cut. */
  z.object({ kind: z.literal("taken") }),
  /** Not now. */
  z.object({ kind: z.literal("later") }),
  z.object({ kind: z.literal("position"), incarnation: count, counter: count }),
]);
export type Answer = z.infer<typeof answerSchema>;

export const encodeQuestion = (question: Question): Buffer => pack(question);
export const encodeAnswer = (answer: Answer): Buffer => pack(answer);

/** Null: it makes no sense. */
export function decodeQuestion(body: Uint8Array): Question | null {
  return unpackAs(questionSchema, body);
}

/** Null: it makes no sense. */
export function decodeAnswer(body: Uint8Array): Answer | null {
  return unpackAs(answerSchema, body);
}
