/** Wills as they are stored: one that is held for a client, and one that was fired. */
import { z } from "zod";
import { type ClientRule, storedRules } from "../auth/rules.js";
import type { WillPacket } from "../protocol/packets.js";
import { Message } from "../routing/message.js";
import type { TopicTable } from "../routing/topic.js";
import { decodeRecord, encodeRecord } from "../store/record.js";

export const heldPrefix = "held/";
export const firedPrefix = "fired/";
export const notedPrefix = "noted/";
export const leftPrefix = "left/";
/** One that is due and waits for what others say, while its client is connected again with another one. */
export const duePrefix = "due/";
const version = 1;

/** A will that is not fired yet. */
export interface HeldWill {
  readonly clientId: string;
  readonly user: string;
  readonly rules: readonly ClientRule[] | null;
  readonly will: WillPacket;
  /** Wall-clock milliseconds at which it is due; 0: the client is connected. */
  readonly dueAt: number;
  /** Of the connection that set it. */
  readonly epoch: number;
  /** How long the session outlives its connection: the will is due then at the latest [MQTT-3.1.3-9]. */
  readonly expiryMs: number;
}

const bytes = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);

/** A will in plain data. */
export const plainWill = z.object({
  topic: z.string(),
  payload: bytes,
  qos,
  retain: z.boolean(),
  payloadIsText: z.boolean(),
  properties: bytes.nullable(),
  delaySeconds: z.number(),
  /** -1: it does not expire. */
  expirySeconds: z.number(),
});

const heldSchema = z.object({
  clientId: z.string(),
  user: z.string(),
  rules: storedRules,
  dueAt: z.number(),
  epoch: z.number(),
  expiryMs: z.number(),
  will: plainWill,
});

const firedSchema = z.object({
  topic: z.string(),
  qos,
  retain: z.boolean(),
  publisher: z.string(),
  user: z.string(),
  properties: bytes,
  payload: bytes,
  /** Wall-clock milliseconds; 0: never. */
  expiresAt: z.number(),
  incarnation: z.number(),
  identity: z.number(),
  /** Of the connection that set it. */
  epoch: z.number().default(0),
  /** The node for which this one fired it; empty: for itself. */
  owner: z.string().default(""),
});

/** A will that was fired. */
export interface FiredWill {
  readonly message: Message;
  /** Of the connection that set it. */
  readonly epoch: number;
  /** The node for which this one fired it; empty: for itself. */
  readonly owner: string;
}

const notedSchema = z.object({
  owner: z.string(),
  clientId: z.string(),
  epoch: z.number(),
  by: z.string(),
  process: z.number(),
});

/** What this node knows of the will of another one's session. */
export interface NotedWill {
  readonly owner: string;
  readonly clientId: string;
  /** Of the connection that set it. */
  readonly epoch: number;
  /** The node that was about to publish it; its owner: it is that one's (returned-wills.ts); empty: it is settled. */
  readonly by: string;
  /** With QoS 0 that node's incarnation, else 0; where it is its owner's what copies are void: those of lower incarnations, or of all. */
  readonly process: number;
}

export function encodeNoted(noted: NotedWill): Buffer {
  return encodeRecord(version, noted);
}

/** Null: it cannot be read. */
export function decodeNoted(record: Buffer): NotedWill | null {
  return notedSchema.safeParse(decodeRecord(version, record)?.value).data ?? null;
}

export function encodeHeld({ will, ...rest }: HeldWill): Buffer {
  return encodeRecord(version, { ...rest, will: toPlainWill(will) });
}

export function toPlainWill(will: WillPacket): z.infer<typeof plainWill> {
  return { ...will, expirySeconds: will.expirySeconds ?? -1 };
}

export function fromPlainWill({
  properties,
  expirySeconds,
  payload,
  ...plain
}: z.infer<typeof plainWill>): WillPacket {
  return {
    ...plain,
    payload: Buffer.from(payload),
    properties: properties === null ? null : Buffer.from(properties),
    expirySeconds: expirySeconds === -1 ? undefined : expirySeconds,
  };
}

/** Null: it cannot be read. */
export function decodeHeld(record: Buffer): HeldWill | null {
  const parsed = heldSchema.safeParse(decodeRecord(version, record)?.value);
  if (!parsed.success) return null;
  const { will, ...rest } = parsed.data;
  return { ...rest, will: fromPlainWill(will) };
}

export function encodeFired({ message, epoch, owner }: FiredWill, wallOffsetMs: number): Buffer {
  const { topic, publisher, user, retain, expiresMs, origin, identity } = message;
  const { bytes: all, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
  return encodeRecord(version, {
    ...{ topic: topic.name, qos: message.qos, retain, publisher, user },
    properties: all.subarray(propertiesStart, propertiesEnd),
    payload: all.subarray(payloadStart, payloadEnd),
    expiresAt: expiresMs === 0 ? 0 : expiresMs + wallOffsetMs,
    ...{ incarnation: origin?.incarnation ?? 0, identity, epoch, owner },
  });
}

/** Null: it cannot be read. */
export function decodeFired(
  record: Buffer,
  topics: TopicTable,
  originName: string,
  wallOffsetMs: number,
): FiredWill | null {
  const parsed = firedSchema.safeParse(decodeRecord(version, record)?.value);
  if (!parsed.success) return null;
  const { data } = parsed;
  const all = Buffer.concat([data.properties, data.payload]);
  const split = data.properties.length;
  const { retain, publisher } = data;
  const topic = topics.internName(data.topic);
  const message = new Message(
    ...([topic, data.qos, retain, publisher, all, 0, split, split, all.length] as const),
  );
  message.user = data.user;
  if (data.expiresAt !== 0) {
    message.expiresMs = Math.max(1, Math.floor(data.expiresAt - wallOffsetMs));
  }
  message.origin = { name: originName, incarnation: data.incarnation };
  message.identity = data.identity;
  return { message, epoch: data.epoch, owner: data.owner };
}
