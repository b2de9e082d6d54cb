/** What opens a channel: all that the session's node must know of the connection (docs/wire.md, "Channels"). */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../lib/unpack.js";
import { storedRules } from "../../auth/rules.js";
import { WireError } from "../../cluster/wire/frames.js";
import type { WillPacket } from "../../protocol/packets.js";
import { fromPlainWill, plainWill, toPlainWill } from "../will-record.js";

const count = z.number().int().nonnegative();

const schema = z.object({
  clientId: z.string(),
  user: z.string(),
  rules: storedRules,
  epoch: count,
  expiryMs: count,
  receiveMaximum: z.number().int().min(1).max(65_535),
  will: plainWill.nullable(),
  version: z.number().int().min(3).max(5),
  /** Longest packet that the client takes; 0: any. */
  packetMax: count,
  /** The connection puts messages into packets itself: it has topic aliases, or a mount point. */
  takesMessages: z.boolean(),
  /** Bytes that may be under way to it without a credit. */
  window: count,
  address: z.string(),
  keepAliveSeconds: count,
  connectedAtMs: count,
  /** The connection had the session at the node from which that has come: nothing is sent to it again. */
  continues: z.boolean().default(false),
});

export type AttachRecord = Omit<z.infer<typeof schema>, "will"> & {
  readonly will: WillPacket | null;
};

export function encodeAttach({ will, ...rest }: AttachRecord): Buffer {
  return pack({ ...rest, will: will === null ? null : toPlainWill(will) });
}

/** @throws WireError when it is no such record */
export function decodeAttach(bytes: Buffer, start: number, end: number): AttachRecord {
  const record = unpackAs(schema, bytes.subarray(start, end));
  if (record === null) throw new WireError("channel: attach: wrong fields");
  const { will, ...rest } = record;
  return { ...rest, will: will === null ? null : fromPlainWill(will) };
}

const discardSchema = z.object({ clientId: z.string(), epoch: count });

/** The name of the service that ends a session for a connection at another node that wants a new one. */
export const discardService = "discard";
export const discardEnded: Uint8Array = Buffer.from([1]);
/** A newer connection has the session. */
export const discardRefused: Uint8Array = Buffer.from([0]);

/** It has moved to another node. */
export const discardMoved: Uint8Array = Buffer.from([2]);

export function encodeDiscard(clientId: string, epoch: number): Uint8Array {
  return pack({ clientId, epoch });
}

/** Null: it makes no sense. */
export function decodeDiscard(body: Buffer): z.infer<typeof discardSchema> | null {
  return unpackAs(discardSchema, body);
}
