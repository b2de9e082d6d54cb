/** Opens the store in a Redis of the tests. */
import { configSchema } from "../../../src/config/schema.js";
import type { RedisSettings } from "../../../src/config/redis-settings.js";
import { realClock } from "../../../src/lib/clock.js";
import { silentLog, type Log } from "../../../src/lib/log.js";
import type { Durability } from "../../../src/store/redis/checks.js";
import { type OpenedRedis, openRedisStore } from "../../../src/store/redis/open.js";
import type { RedisStore } from "../../../src/store/redis/redis-store.js";
import type { PartitionWrite, StoreFailure } from "../../../src/store/store.js";
import type { Scope } from "../../support/redis.js";

export interface OpenWords {
  readonly redis: Record<string, unknown>;
  readonly nodeName?: string;
  readonly durability?: Durability;
  readonly log?: Log;
}

/** A log that keeps its lines as text. */
export function listLog(lines: string[]): Log {
  const line = (fields: object, message: string): void => {
    lines.push(`${message} ${JSON.stringify(fields)}`);
  };
  return { ...silentLog, debug: line, info: line, warn: line, error: line };
}

/** Settings of the section `store.redis` with quick failures; `words` go before. */
export function redisSettings(words: Record<string, unknown>): RedisSettings {
  const quick = { call_timeout: "1s", breaker_pause: "100ms", start_timeout: "2s" };
  return configSchema.parse({ store: { redis: { ...quick, ...words } } }).store.redis;
}

/** The store of `openRedis`. */
export async function openStore(scope: Scope, words: OpenWords): Promise<RedisStore> {
  return (await openRedis(scope, words)).store;
}

/** Closed when `scope` ends. */
export async function openRedis(scope: Scope, words: OpenWords): Promise<OpenedRedis> {
  const { redis, nodeName = "node@127.0.0.1", durability = "process", log = silentLog } = words;
  const settings = redisSettings(redis);
  const opened = await openRedisStore({ settings, durability, nodeName, clock: realClock, log });
  scope.after(() => opened.store.close());
  return opened;
}

export function put(partition: string, key: string, value = key): PartitionWrite {
  return { partition, operations: [{ kind: "put", key, value: Buffer.from(value) }] };
}

/** The outcome of one write. */
export async function write(
  store: RedisStore,
  one: PartitionWrite,
): Promise<StoreFailure | null | undefined> {
  return (await store.write([one]))[0];
}

/** Rows as texts. */
export async function texts(
  store: RedisStore,
  partition: string,
  from?: string,
  limit?: number,
): Promise<string[]> {
  const rows = await store.read(partition, from, limit);
  return rows.map(([key, value]) => `${key}=${value.toString()}`);
}
