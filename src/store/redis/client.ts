/**
 * Connections to Redis: one server, the master that Sentinels name, or all masters of a Cluster. No command
 * waits in a queue for a connection, and none is sent again by itself: whoever called hears of the failure.
 * Every connection gives itself up when no answer comes.
 */
import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";
import { Cluster, type CommonRedisOptions, Redis, type SentinelConnectionOptions } from "ioredis";
import type { RedisSettings } from "../../config/redis-settings.js";
import type { Clock } from "../../lib/clock.js";
import { Refusal } from "../../lib/refusal.js";
import { withoutArguments } from "./failures.js";
import { bucketSlots } from "./keys.js";

/** Without what their types do not agree on. */
type Options = Omit<
  CommonRedisOptions & SentinelConnectionOptions,
  "replyMapping" | "path" | "family"
>;

export type Argument = string | Buffer;

/** One server that takes writes. */
export interface Master {
  /** Its address, or for a server found by Sentinels their name for it. */
  readonly name: string;
  readonly redis: Redis;
}

export interface RedisClient {
  /** Whether one server has all buckets: it is no Cluster. */
  readonly isOneServer: boolean;
  /** Who holds each bucket, as far as is known now; null: nobody is known. For use at once. */
  route(): (bucket: number) => Master | null;
  /** All that are known. */
  masters(): Master[];
  /** Has the distribution looked up again; resolves when that is done, however it went. */
  refresh(): Promise<void>;
  /** Sends one command by itself, following a Cluster's MOVED and ASK. */
  redirected(command: string, args: Argument[]): Promise<unknown>;
  /** Why the last connection failed; empty: none did since the last success. */
  readonly trouble: string;
  close(): void;
}

const redialFirstMs = 50;
const redialMostMs = 1000;

/** @throws Refusal when a file of the TLS settings cannot be read */
export function openClient(settings: RedisSettings, nodeName: string, clock: Clock): RedisClient {
  const options = connectionOptions(settings, nodeName);
  if (settings.mode === "cluster") return new ClusterClient(settings, options, clock);
  return new SingleClient(settings, options, clock);
}

/** Some failures in the middle of dialling end a client of ioredis for good: it is begun again. */
function keepDialling(redis: Redis | Cluster, clock: Clock, isClosed: () => boolean): void {
  redis.on("end", () => {
    clock.setTimer(redialMostMs, () => {
      if (!isClosed() && redis.status === "end") redis.connect().catch(() => undefined);
    });
  });
}

class SingleClient implements RedisClient {
  readonly isOneServer = true;
  trouble = "";
  private readonly master: Master;

  private closed = false;

  constructor(settings: RedisSettings, options: Options, clock: Clock) {
    const redis = new Redis({ ...options, ...whereIsIt(settings), retryStrategy: redialMs });
    const { mode, sentinel_name: name, addresses } = settings;
    this.master = { name: mode === "sentinel" ? name : (addresses[0] ?? ""), redis };
    redis.on("error", (error: Error) => {
      this.trouble = withoutArguments(error.message);
    });
    redis.on("ready", () => {
      this.trouble = "";
    });
    keepDialling(redis, clock, () => this.closed);
  }

  route(): () => Master | null {
    const master = this.master.redis.status === "ready" ? this.master : null;
    return () => master;
  }

  masters(): Master[] {
    return [this.master];
  }

  async refresh(): Promise<void> {
    // It dials by itself, for ever, and asks the Sentinels each time.
  }

  redirected(command: string, args: Argument[]): Promise<unknown> {
    return this.master.redis.callBuffer(command, args);
  }

  close(): void {
    this.closed = true;
    this.master.redis.disconnect();
    this.master.redis.stream?.destroy();
  }
}

class ClusterClient implements RedisClient {
  readonly isOneServer = false;
  trouble = "";
  private readonly cluster: Cluster;
  private scout: Redis | null = null;
  private scouted = 0;
  private closed = false;

  constructor(
    { addresses, call_timeout: callTimeoutMs }: RedisSettings,
    private readonly options: Options,
    clock: Clock,
  ) {
    const places = addresses.map(parseAddress);
    this.cluster = new Cluster(places, {
      redisOptions: options,
      // Names are left to the connections, so that certificates are checked against them.
      dnsLookup: (name, done) => done(null, name),
      clusterRetryStrategy: redialMs,
      enableOfflineQueue: false,
      slotsRefreshTimeout: callTimeoutMs,
      maxRedirections: 3,
    });
    const note = (error: Error): void => {
      const cause = "lastNodeError" in error ? error.lastNodeError : undefined;
      const { message } = cause instanceof Error ? cause : error;
      if (message !== "Connection is closed.") this.trouble = withoutArguments(message);
      else if (error !== cause) this.askWhy(places);
    };
    this.cluster.on("error", note);
    this.cluster.on("node error", note);
    this.cluster.on("ready", () => {
      this.trouble = "";
    });
    keepDialling(this.cluster, clock, () => this.closed);
  }

  route(): (bucket: number) => Master | null {
    if (this.cluster.status !== "ready") return () => null;
    const { slots } = this.cluster;
    const masters = new Map(this.masters().map((master) => [master.name, master]));
    return (bucket) => masters.get(slots[bucketSlots[bucket] ?? 0]?.[0] ?? "") ?? null;
  }

  masters(): Master[] {
    return this.cluster.nodes("master").map((redis) => {
      return { name: `${redis.options.host}:${redis.options.port}`, redis };
    });
  }

  refresh(): Promise<void> {
    return new Promise((resolve) => {
      if (this.cluster.status === "ready") this.cluster.refreshSlotsCache(() => resolve());
      else resolve();
    });
  }

  redirected(command: string, args: Argument[]): Promise<unknown> {
    return this.cluster.callBuffer(command, args);
  }

  /** A cluster of which no node answers says no more than that: one is dialled to see what is wrong. */
  private askWhy(places: readonly { host: string; port: number }[]): void {
    const place = places[this.scouted++ % places.length];
    if (this.scout !== null || place === undefined) return;
    const scout = new Redis({ ...this.options, ...place, retryStrategy: null });
    this.scout = scout;
    scout.on("error", (error: Error) => {
      this.trouble = withoutArguments(error.message);
    });
    scout.on("ready", () => scout.disconnect());
    scout.on("end", () => {
      this.scout = null;
    });
  }

  close(): void {
    this.closed = true;
    const nodes = this.cluster.nodes();
    this.scout?.disconnect();
    this.cluster.disconnect();
    for (const { stream } of nodes) stream?.destroy();
  }
}

function connectionOptions(settings: RedisSettings, nodeName: string): Options {
  const { username, password, db, call_timeout: callTimeoutMs } = settings;
  return {
    ...(username === "" ? {} : { username }),
    ...(password === "" ? {} : { password }),
    ...(settings.tls.enabled ? { tls: tlsOptions(settings) } : {}),
    db,
    connectionName: `trellis-${nodeName}`,
    protocol: 2,
    connectTimeout: callTimeoutMs,
    // For what is said before the first call: calls have a deadline of their own.
    socketTimeout: 2 * callTimeoutMs,
    disconnectTimeout: 100,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A master that became a replica: the other one is found by dialling again.
    reconnectOnError: ({ message }) => message.startsWith("READONLY "),
  };
}

function whereIsIt(settings: RedisSettings): Options & { host?: string; port?: number } {
  const addresses = settings.addresses.map(parseAddress);
  if (settings.mode === "standalone") return addresses[0] ?? {};
  const { sentinel_username: username, sentinel_password: password, tls } = settings;
  return {
    sentinels: addresses,
    name: settings.sentinel_name,
    ...(username === "" ? {} : { sentinelUsername: username }),
    ...(password === "" ? {} : { sentinelPassword: password }),
    ...(tls.enabled ? { sentinelTLS: tlsOptions(settings), enableTLSForSentinelMode: true } : {}),
    sentinelCommandTimeout: settings.call_timeout,
    sentinelRetryStrategy: redialMs,
    // A master that hangs closes no connection: the Sentinels tell when there is another.
    failoverDetector: true,
  };
}

function tlsOptions({ tls }: RedisSettings): ConnectionOptions {
  const { ca, certificate, key, server_name: servername } = tls;
  return {
    ...(ca === "" ? {} : { ca: fileContent(ca) }),
    ...(certificate === "" ? {} : { cert: fileContent(certificate), key: fileContent(key) }),
    ...(servername === "" ? {} : { servername }),
  };
}

/** @throws Refusal */
function fileContent(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Refusal(`cannot read ${path} (store.redis.tls): ${String(error)}`);
  }
}

function parseAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { host, port: Number(address.slice(colon + 1)) };
}

function redialMs(tries: number): number {
  return Math.min(redialMostMs, redialFirstMs * tries);
}
