/** What of a session changes seldom: to whom it belongs, how long it stays, and its subscriptions. One record each. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type ClientRule, storedRules } from "../../auth/rules.js";
import type { SubscriptionOptions } from "../../routing/targets.js";
import { decodeRecord, encodeRecord } from "../../store/record.js";
import type { Session } from "../session.js";

export const metaKey = "meta";
export const subscriptionPrefix = "sub/";
const version = 1;
/** Longer filters are found by their hash. */
const filterCharactersMax = 200;

const metaSchema = z.object({
  user: z.string(),
  expiryMs: z.number(),
  /** Wall-clock milliseconds at which it ends; 0: it had a connection. */
  endsAt: z.number(),
  epoch: z.number(),
  /** Of its client's latest connection, if that is another one. */
  connectedEpoch: z.number().optional(),
  rules: storedRules,
});

export type SessionMeta = z.infer<typeof metaSchema> & { rules: readonly ClientRule[] | null };

const subscriptionSchema = z.object({
  filter: z.string(),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]),
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  subscriptionId: z.number(),
  replay: z.boolean(),
});

export interface StoredSubscription {
  readonly filter: string;
  readonly options: SubscriptionOptions;
  /** Its retained messages were not all sent. */
  readonly replay: boolean;
}

export function encodeMeta(session: Session): Buffer {
  const { user, expiryMs, epoch, connectedEpoch, rules } = session;
  const meta = { user, expiryMs, endsAt: session.endsAtWallMs, epoch, rules };
  return encodeRecord(version, connectedEpoch === epoch ? meta : { ...meta, connectedEpoch });
}

/** Null: it cannot be read. */
export function decodeMeta(record: Buffer): SessionMeta | null {
  const parsed = metaSchema.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}

export function subscriptionKey(filter: string): string {
  const isLong = filter.length > filterCharactersMax;
  // No filter that is short enough begins so: "#" stands alone in its level.
  const name = isLong ? `#${createHash("sha256").update(filter).digest("hex")}` : filter;
  return `${subscriptionPrefix}${name}`;
}

/** Null: the session has no such subscription. */
export function encodeSubscription(session: Session, filter: string): Buffer | null {
  const options = session.subscriptions.get(filter);
  if (options === undefined) return null;
  const { qos, noLocal, retainAsPublished, subscriptionId } = options;
  const replay = session.isReplayDue(filter);
  return encodeRecord(version, { filter, qos, noLocal, retainAsPublished, subscriptionId, replay });
}

/** Null: it cannot be read. */
export function decodeSubscription(record: Buffer): StoredSubscription | null {
  const parsed = subscriptionSchema.safeParse(decodeRecord(version, record)?.value);
  if (!parsed.success) return null;
  const { filter, replay, qos, noLocal, retainAsPublished, subscriptionId } = parsed.data;
  // Written out, as what `...` gathers takes half as much memory again.
  return { filter, options: { qos, noLocal, retainAsPublished, subscriptionId }, replay };
}
