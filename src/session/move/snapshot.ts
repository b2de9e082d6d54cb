/**
 * The whole state of one session as it travels from its old owner to its new one: a head, its subscriptions and its
 * messages, each in parts of bounded size (docs/wire.md, "Moves of sessions"). Times are what is left of them, so that
 * the clocks of two nodes need not agree.
 */
import { pack } from "msgpackr";
import { z } from "zod";
import { unpackAs } from "../../lib/unpack.js";
import { storedRules } from "../../auth/rules.js";
import { WireError } from "../../cluster/wire/frames.js";
import type { Message } from "../../routing/message.js";
import type { Delivery, Subscriber } from "../../routing/targets.js";
import type { TopicTable } from "../../routing/topic.js";
import { recordHead } from "../../store/record.js";
import { ByteReader, ByteWriter } from "../journal/bytes.js";
import { plainWill } from "../will-record.js";
import { MessageReader, MessageWriter } from "../journal/message-codec.js";
import { succession } from "../superseded/succession.js";

/** Of this page of the protocol; others are refused. */
export const snapshotVersion = 1;
/** A part ends when it is so long. */
export const partBytes = 256 * 1024;
/** The present, in the times at which messages expire: both nodes put their own in its place. */
const presentMs = 2 ** 40;

const count = z.number().int().nonnegative();
const qos = z.union([z.literal(0), z.literal(1), z.literal(2)]);

const willSchema = plainWill.extend({
  /** Milliseconds until it is due; -1: it waits for nothing but the end of the session. */
  dueInMs: z.number(),
});

const markSchema = z.object({ name: z.string(), incarnation: count, identity: count });
/** What the session has taken of an origin, under the name that it has everywhere. */
export type SnapshotMark = z.infer<typeof markSchema>;

const takenSchema = markSchema.extend({
  share: z.string(),
  /** Which of the messages that follow it is; -1: none of them. */
  place: z.number().int(),
});
/** A message that it took as a member of a share group, and would know again. */
export type SnapshotTaken = z.infer<typeof takenSchema>;

const inFlightSchema = z.object({
  id: z.number().int().min(1).max(65_535),
  /** As `Awaiting`. */
  state: z.union([z.literal(1), z.literal(2), z.literal(3)]),
});

const headSchema = z.object({
  version: z.literal(snapshotVersion),
  clientId: z.string(),
  user: z.string(),
  rules: storedRules,
  /** Of the session, so far. */
  epoch: count,
  expiryMs: z.number().positive(),
  /** Milliseconds until it ends; -1: never. */
  endsInMs: z.number(),
  /** Its client is connected: its connection comes after it. */
  connected: z.boolean().default(false),
  /** What it knows of an older session of its client, in whose place it is. */
  succession: succession.nullable().default(null),
  /** It is stored at its old owner. */
  durable: z.boolean(),
  will: willSchema.nullable(),
  nextId: z.number().int().min(1).max(65_535),
  /** In the order in which their messages were sent. */
  inFlight: z.array(inFlightSchema).max(65_535),
  /** Ids for which PUBREC came, in that order. */
  released: z.array(z.number().int()).max(65_535),
  /** Incoming QoS 2 exchanges that wait for PUBREL. */
  open: z.array(z.number().int().min(1).max(65_535)).max(65_535),
  marks: z.array(markSchema).max(100_000),
  taken: z.array(takenSchema).max(100_000),
  /** How many messages follow, in flight or waiting. */
  messages: count,
});
export type SnapshotHead = z.infer<typeof headSchema>;

const subscriptionSchema = z.object({
  filter: z.string().max(65_535),
  qos,
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  subscriptionId: z.number(),
  /** Its retained messages were not all sent. */
  replay: z.boolean(),
});
export type SnapshotSubscription = z.infer<typeof subscriptionSchema>;

/** A message of the session; `packetId` 0: it waits. */
export interface SnapshotMessage {
  readonly packetId: number;
  readonly message: Message;
  readonly delivery: Delivery;
}

export function encodeHead(head: SnapshotHead): Buffer {
  return pack(head);
}

/** @throws WireError it is no head of a snapshot of this version */
export function decodeHead(body: Uint8Array): SnapshotHead {
  return decodeChecked(headSchema, body, "head of a snapshot");
}

/** Subscriptions in as many parts as it takes. */
export function encodeSubscriptions(all: Iterable<SnapshotSubscription>): Buffer[] {
  const parts: Buffer[] = [];
  let part: SnapshotSubscription[] = [];
  let length = 0;
  for (const one of all) {
    part.push(one);
    length += one.filter.length * 3 + 64;
    if (length < partBytes) continue;
    parts.push(pack(part));
    part = [];
    length = 0;
  }
  if (part.length > 0) parts.push(pack(part));
  return parts;
}

/** @throws WireError it is no part with subscriptions */
export function decodeSubscriptions(body: Uint8Array): SnapshotSubscription[] {
  return decodeChecked(z.array(subscriptionSchema), body, "subscriptions of a snapshot");
}

/** Writes messages in parts: each is read by itself, and all of them in their order. */
export class MessageParts {
  readonly parts: Buffer[] = [];
  /** Of each part the number of its last message. */
  readonly ends: number[] = [];
  count = 0;
  private lastSeq = 0;
  private readonly out = new ByteWriter();
  private readonly writer = new MessageWriter(this.out);

  /** Returns its place. `nowMs`: what it expires by, on the same clock; `seq`: its number, higher for each later one. */
  add({ packetId, message, delivery }: SnapshotMessage, nowMs: number, seq: number): number {
    if (this.out.length > partBytes) this.close();
    if (this.out.length === 0) this.writer.begin();
    this.out.number(packetId);
    this.writer.write(message, delivery, false, presentMs - nowMs);
    this.lastSeq = seq;
    return this.count++;
  }

  close(): readonly Buffer[] {
    if (this.out.length > 0) {
      this.parts.push(this.out.take().subarray(recordHead));
      this.ends.push(this.lastSeq);
      this.out.clear(0);
    }
    return this.parts;
  }
}

/**
 * Hands over the messages of a part. `nowMs`: the present on the monotonic clock.
 * @throws WireError it is no part with messages
 */
export function readMessages(
  part: Buffer,
  topics: TopicTable,
  subscriber: Subscriber,
  nowMs: number,
  onMessage: (packetId: number, message: Message, delivery: Delivery) => void,
): void {
  const input = new ByteReader(part);
  const reader = new MessageReader(input);
  try {
    while (!input.done) {
      const packetId = input.number();
      reader.read();
      if (packetId > 65_535 || reader.body !== 0) throw new RangeError();
      const { expiresWallMs: at } = reader;
      const expires = at === 0 ? 0 : Math.max(1, at - presentMs + nowMs);
      onMessage(packetId, reader.message(topics, expires), reader.delivery(subscriber));
    }
  } catch {
    throw new WireError("messages of a snapshot that cannot be read");
  }
}

function decodeChecked<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  const parsed = unpackAs(schema, body);
  if (parsed === null) throw new WireError(`${what}: wrong fields`);
  return parsed;
}
