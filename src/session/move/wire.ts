/** What two nodes say to each other about the move of a session (docs/wire.md, "Moves of sessions"). */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../lib/unpack.js";

export const moveService = "move";

const count = z.number().int().nonnegative();
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "not bytes");
/** Of one try: the stamp under which the new owner began it. */
const move = { clientId: z.string(), id: count };

const forward = z.object({ incarnation: count, counter: count });

const requestSchema = z.discriminatedUnion("verb", [
  z.object({ verb: z.literal("begin"), ...move, away: z.array(z.string()).default([]) }),
  z.object({
    verb: z.literal("state"),
    ...move,
    positions: z.array(z.object({ origin: z.string(), incarnation: count, counter: count })),
  }),
  z.object({
    verb: z.literal("part"),
    ...move,
    kind: z.enum(["subscriptions", "messages"]),
    index: count,
  }),
  z.object({ verb: z.literal("done"), ...move, moved: z.boolean() }),
  z.object({ verb: z.literal("outcome"), ...move }),
  z.object({ verb: z.literal("pull"), clientId: z.string() }),
  z.object({ verb: z.literal("leftovers"), moves: z.array(z.object(move)) }),
  z.object({ verb: z.literal("waiting"), node: z.string(), seq: count, after: forward }),
]);
export type MoveRequest = z.infer<typeof requestSchema>;
export type MoveVerb = MoveRequest["verb"];

const refused = z.object({ refused: z.string().max(1000) });
export type MoveRefusal = z.infer<typeof refused>;

const replies = {
  begin: z.object({ epoch: count, messages: count, bytes: count, subscriptionParts: count }),
  state: z.object({ head: bytes, messageParts: count }),
  part: z.object({ part: bytes }),
  done: z.object({}),
  outcome: z.object({ outcome: z.enum(["moved", "not", "open"]) }),
  pull: z.object({ messages: count }),
  leftovers: z.object({ open: z.array(z.string()) }),
  waiting: z.object({ frames: z.array(bytes), last: forward, newest: forward }),
};
export type MoveReply<V extends MoveVerb> = z.infer<(typeof replies)[V]>;

export function encodeRequest(request: MoveRequest): Buffer {
  return pack(request);
}

/** Null: it is none. */
export function decodeRequest(body: Uint8Array): MoveRequest | null {
  return unpackAs(requestSchema, body);
}

export function encodeReply<V extends MoveVerb>(
  _verb: V,
  reply: MoveReply<V> | MoveRefusal,
): Buffer {
  return pack(reply);
}

/** Null: it is none. */
export function decodeReply<V extends MoveVerb>(
  verb: V,
  body: Uint8Array,
): MoveReply<V> | MoveRefusal | null {
  const schema: z.ZodType = replies[verb];
  return unpackAs(refused, body) ?? (unpackAs(schema, body) as MoveReply<V> | null); // by `verb`
}
