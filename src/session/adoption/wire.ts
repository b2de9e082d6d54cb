/** What nodes say to each other about sessions of dead nodes (docs/wire.md, "Adoption"). */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../lib/unpack.js";

export const adoptionService = "adoption";

const count = z.number().int().nonnegative();
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "not bytes");
const numberSchema = z.object({ incarnation: count, counter: count });

const questionSchema = z.discriminatedUnion("verb", [
  /** What waits for `node` after that number? All rows of the asker up to `seq` must be held. */
  z.object({
    verb: z.literal("outbox"),
    node: z.string(),
    dataId: z.string(),
    seq: count,
    after: numberSchema,
  }),
  /** Forwards for share groups that members at `node` had taken with QoS 2 when it died: nobody else gets them. */
  z.object({ verb: z.literal("taken"), node: z.string(), numbers: z.array(numberSchema) }),
  /** A session of the one who is asked lives elsewhere for good, as `by` wanted. */
  z.object({ verb: z.literal("settled"), clientId: z.string(), by: z.string(), id: count }),
  /** Did that try to move a session of a dead node to the one who is asked succeed? */
  z.object({ verb: z.literal("outcome"), clientId: z.string(), from: z.string(), id: count }),
]);
export type Question = z.infer<typeof questionSchema>;

const answerSchema = z.discriminatedUnion("kind", [
  /** `newest`: of all that waits now. */
  z.object({
    kind: z.literal("outbox"),
    frames: z.array(bytes),
    last: numberSchema,
    newest: numberSchema,
  }),
  z.object({ kind: z.literal("settled") }),
  z.object({ kind: z.literal("taken") }),
  z.object({ kind: z.literal("outcome"), outcome: z.enum(["moved", "not", "open"]) }),
  /** Not now. */
  z.object({ kind: z.literal("later") }),
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
