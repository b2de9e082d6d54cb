/** Bodies of the control frames: msgpack, checked against a schema when they are read (docs/wire.md). */
import { pack, unpack } from "msgpackr";
import { z } from "zod";
import { frame, FrameType, WireError } from "./frames.js";

const count = z.number().int().nonnegative();
const nodeName = z.string().min(3).max(320);
const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array, "not bytes");

export const memberSchema = z.object({
  name: nodeName,
  /** Id of the data directory, hexadecimal. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  host: z.string().max(255),
  port: z.number().int().min(0).max(65_535),
  incarnation: count,
  status: z.enum(["in", "left", "removed"]),
  stamp: count,
});
/** One entry of the member list, as it travels and as it is stored. */
export type Member = z.infer<typeof memberSchema>;

const entrySchema = z.object({
  clientId: z.string(),
  user: z.string(),
  connection: count.nullable(),
  session: count.nullable(),
});

export const tableEntrySchema = z.object({
  key: z.string().max(4096),
  /** Null: deleted. */
  value: z.string().max(4096).nullable(),
  /** Wall-clock milliseconds; 0: it does not end by itself. */
  endsMs: count,
  stamp: count,
});
/** One entry of the common table, as it travels and as it is stored. */
export type TableEntry = z.infer<typeof tableEntrySchema>;

export const bodies = {
  activate: z.object({ token: bytes }),
  heartbeat: z.object({
    ...{ seq: count, count, hash: count, connections: count, sessions: count },
    stamp: count.default(0),
  }),
  members: z.object({ members: z.array(memberSchema).max(4096), stamp: count }),
  rowsBegin: z.object({ seq: count }),
  rowsPart: z.array(z.union([z.string(), z.number()])),
  rowsEnd: z.object({ seq: count, count, hash: count }),
  rowsDelta: z.object({ seq: count, rows: z.array(z.union([z.string(), z.number()])) }),
  rowsAck: z.object({ seq: count }),
  rowsResync: z.object({}),
  call: z.object({ id: count, verb: z.string(), body: z.unknown() }),
  reply: z.object({ id: count, body: z.unknown() }),
  bye: z.object({ why: z.enum(["left", "removed", "stopped"]) }),
  tableDigest: z.object({ count, hash: count }),
  tableEntries: z.object({ entries: z.array(tableEntrySchema).max(1000) }),
};
export type BodyKind = keyof typeof bodies;
export type Body<K extends BodyKind> = z.infer<(typeof bodies)[K]>;

export const calls = {
  join: z.object({ members: z.array(memberSchema).max(4096) }),
  heard: z.object({ name: nodeName }),
  digest: z.object({}),
  claim: z.object({ clientId: z.string(), user: z.string(), list: count }),
  displace: z.object({ clientId: z.string(), epoch: count }),
  entry: z.object({ clientId: z.string() }),
  holds: z.object({ clientId: z.string(), epoch: count, entry: entrySchema.nullable() }),
  supersede: z.object({ clientId: z.string(), epoch: count, node: nodeName }),
  announce: z.object({ list: count, entries: z.array(entrySchema) }),
  barrier: z.object({ node: nodeName, seq: count }),
  ask: z.object({ service: z.string().max(64), body: bytes }),
};
export type CallVerb = keyof typeof calls;
export type CallBody<V extends CallVerb> = z.infer<(typeof calls)[V]>;

export const replies = {
  join: z.union([
    z.object({ members: z.array(memberSchema).max(4096) }),
    z.object({ refused: z.string().max(1000) }),
  ]),
  heard: z.object({ ms: z.number() }),
  digest: z.object({ seq: count, count, hash: count }),
  claim: z.union([
    z.object({
      epoch: count,
      connections: z.array(z.object({ node: nodeName, epoch: count })),
      session: z.object({ node: nodeName, isUp: z.boolean() }).nullable(),
      older: z.boolean().optional(),
    }),
    z.object({ refused: z.enum(["other-user", "other-list", "superseded"]) }),
  ]),
  displace: z.object({ session: nodeName.nullable() }),
  entry: entrySchema.nullable(),
  holds: z.object({}),
  supersede: z.object({}),
  announce: z.object({}),
  barrier: z.object({ held: z.boolean(), incarnation: count, counter: count }),
  ask: z.object({ body: bytes.nullable() }),
};
export type ReplyBody<V extends CallVerb> = z.infer<(typeof replies)[V]>;

/** The frame of a control message. */
export function encode<K extends BodyKind>(kind: K, body: Body<K>): Buffer {
  return frame(FrameType[kind], pack(body));
}

/** @throws WireError when the bytes are not such a body */
export function decode<K extends BodyKind>(
  kind: K,
  source: Buffer,
  start: number,
  end: number,
): Body<K> {
  return check(bodies[kind], unpackBytes(source.subarray(start, end)), kind) as Body<K>; // by `kind`
}

/** @throws WireError when it is not a body of that verb */
export function decodeCall<V extends CallVerb>(verb: V, body: unknown): CallBody<V> {
  return check(calls[verb], body, verb) as CallBody<V>; // by `verb`
}

/** @throws WireError when it is not a reply to that verb */
export function decodeReply<V extends CallVerb>(verb: V, body: unknown): ReplyBody<V> {
  return check(replies[verb], body, verb) as ReplyBody<V>; // by `verb`
}

export const isCallVerb = (verb: string): verb is CallVerb => Object.hasOwn(calls, verb);

function unpackBytes(source: Buffer): unknown {
  try {
    return unpack(source);
  } catch {
    throw new WireError("a body that is not msgpack");
  }
}

function check(schema: z.ZodType, body: unknown, what: string): unknown {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw new WireError(`${what}: ${result.error.issues[0]?.message ?? "wrong fields"}`);
}
