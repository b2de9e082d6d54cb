/** Opens the store in Redis: waits for the servers, looks at each, and takes the node's key space over. */
import type { RedisSettings } from "../../config/redis-settings.js";
import { type Clock, sleep } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import { Refusal } from "../../lib/refusal.js";
import type { StoreFailure } from "../store.js";
import { checkServer, type Durability, keepsLog } from "./checks.js";
import { openClient, type RedisClient } from "./client.js";
import { Exchange } from "./exchange.js";
import { isLoginFailure } from "./failures.js";
import { KeySpace, layoutVersion } from "./keys.js";
import { RedisLeases } from "./leases.js";
import { RedisStore } from "./redis-store.js";
import { openScript } from "./scripts.js";

export interface RedisOpening {
  readonly settings: RedisSettings;
  readonly durability: Durability;
  readonly nodeName: string;
  readonly clock: Clock;
  readonly log: Log;
}

const pollMs = 50;

export interface OpenedRedis {
  readonly store: RedisStore;
  readonly leases: RedisLeases;
}

/** Rejects with a Refusal when Redis cannot be reached, does not know us, or is not fit; nothing is left behind. */
export async function openRedisStore(opening: RedisOpening): Promise<OpenedRedis> {
  const { settings, durability, nodeName, clock, log } = opening;
  const client = openClient(settings, nodeName, clock);
  const exchange = new Exchange({
    ...{ client, clock, log, waitReplicas: settings.wait_replicas },
    breaker: { failures: settings.breaker_failures, pauseMs: settings.breaker_pause },
    callTimeoutMs: settings.call_timeout,
    check: (redis) => checkServer(redis, durability),
  });
  try {
    await untilFit(opening, client, exchange);
    const keys = new KeySpace(settings.prefix, nodeName);
    const generation = await takeOver(exchange, keys, clock);
    await warnOfMemoryOnly(client, log);
    const { prefix, lease_time: leaseMs } = settings;
    const leases = new RedisLeases({ exchange, prefix, leaseMs });
    const store = new RedisStore({
      ...{ exchange, keys, generation, adopts: false },
      whyReplaced: () => leases.whyReplaced(),
      close: () => client.close(),
    });
    leases.own = store;
    return { store, leases };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** Waits for a Redis that is not there yet; what no waiting heals is refused at once. */
async function untilFit(
  { settings, clock, log }: RedisOpening,
  client: RedisClient,
  exchange: Exchange,
): Promise<void> {
  const endMs = clock.monotonicMs() + settings.start_timeout;
  const where = settings.addresses.join(", ");
  for (let told = false; ; await sleep(clock, pollMs)) {
    const problem = await exchange.problem();
    if (problem === null) return;
    if (isLoginFailure(client.trouble)) {
      throw new Refusal(
        `Redis at ${where} refuses the login: ${client.trouble}; check store.redis.username and store.redis.password`,
      );
    }
    if (problem.kind === "broken") throw new Refusal(problem.why);
    if (clock.monotonicMs() >= endMs) throw new Refusal(sentence(where, problem));
    // The first connection takes its time: that is nothing to tell.
    if (!told && client.trouble !== "") {
      log.info({ redis: where, why: problem.why }, "waiting for Redis");
      told = true;
    }
  }
}

function sentence(where: string, { why }: StoreFailure): string {
  return `Redis at ${where} cannot be used: ${why}; is it running, does it take connections from here (bind, protected-mode), and are store.redis.mode and store.redis.addresses right?`;
}

/** Marks the space as this process's: what an earlier one wrote and Redis has not got yet is void from now on. */
async function takeOver(exchange: Exchange, keys: KeySpace, clock: Clock): Promise<number> {
  const args = [String(layoutVersion), String(Math.floor(clock.wallMs()))];
  const [outcome] = await exchange.call(
    [{ bucket: 0, script: openScript, keys: [keys.space], args, bytes: 0 }],
    false,
  );
  if (outcome === undefined || outcome.failure !== null) {
    throw new Refusal(`Redis cannot be used: ${outcome?.failure?.why}`);
  }
  const generation = Number(outcome.reply);
  if (generation > 0) return generation;
  throw new Refusal(
    "what this node has stored in Redis was written by another version of the broker: use that version, " +
      "or set another store.redis.prefix to begin with nothing",
  );
}

/** An operator may want that, but should know it. */
async function warnOfMemoryOnly(client: RedisClient, log: Log): Promise<void> {
  for (const { name, redis } of client.masters()) {
    const keeps = await keepsLog(redis).catch(() => true);
    if (keeps) continue;
    const message =
      "Redis keeps no append-only file: what it stored since its last snapshot is lost when it ends";
    log.warn({ redis: name }, message);
  }
}
