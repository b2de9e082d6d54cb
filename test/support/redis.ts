/**
 * Real Redis servers for one test: single ones, a Cluster of three masters, and a set watched by Sentinels. Each has a free
 * port and a directory of its own, and is ended by its process id when the test ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { until } from "./nodes.js";

/** What needs an end: a test's context, or a list that a suite ends by itself. */
export interface Scope {
  after(end: () => unknown): void;
}

/** Set when redis-server is not there: why the tests that need it are skipped. */
export const redisMissing: string | false =
  spawnSync("redis-server", ["--version"]).error === undefined
    ? false
    : "redis-server is not installed";

/** A test that is skipped, saying so, where there is no redis-server. */
export function redisTest(name: string, body: (t: TestContext) => Promise<void>): void {
  test(name, { skip: redisMissing }, body);
}

/** One redis-server process; it can be ended, stopped and started again, with what it has on its disk. */
export class RedisServer {
  private child: ChildProcess | null = null;
  private output = "";

  private constructor(
    readonly port: number,
    private readonly words: readonly string[],
  ) {}

  /** With an append-only file, so that a restarted one has what it had. `words`: as on the command line. */
  static start(scope: Scope, words: readonly string[] = []): Promise<RedisServer> {
    // With "everysec" it answers before it writes while the disk is busy.
    const kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "no"];
    return RedisServer.launch(scope, (port, folder) => [
      ...["--port", String(port), "--bind", "127.0.0.1", "--dir", folder],
      ...[...kept, ...words],
    ]);
  }

  /** A Sentinel; `lines` are its configuration. */
  static startSentinel(scope: Scope, lines: readonly string[]): Promise<RedisServer> {
    return RedisServer.launch(scope, (port, folder) => {
      const path = join(folder, "sentinel.conf");
      writeFileSync(path, [`port ${port}`, "bind 127.0.0.1", `dir ${folder}`, ...lines].join("\n"));
      return [path, "--sentinel"];
    });
  }

  private static async launch(
    scope: Scope,
    words: (port: number, folder: string) => string[],
  ): Promise<RedisServer> {
    const folder = mkdtempSync(join(tmpdir(), "trellis-redis-"));
    const port = await freePort();
    const server = new RedisServer(port, words(port, folder));
    scope.after(async () => {
      await server.kill();
      rmSync(folder, { recursive: true, force: true });
    });
    await server.start();
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.output = "";
    const child = spawn("redis-server", this.words, { stdio: ["ignore", "pipe", "ignore"] });
    this.child = child;
    child.stdout?.on("data", (bytes) => {
      this.output += bytes;
    });
    await until(
      "the start of redis-server",
      () => /Ready to accept connections|\+monitor master/.test(this.output) || undefined,
      () => this.output,
    );
  }

  /** kill -9; resolves when the process is gone. */
  async kill(): Promise<void> {
    const { child } = this;
    if (child === null) return;
    this.child = null;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** It stays connected and says nothing more. */
  pause(): void {
    this.child?.kill("SIGSTOP");
  }

  resume(): void {
    this.child?.kill("SIGCONT");
  }

  /** One command over a connection of its own. */
  async command(name: string, ...args: string[]): Promise<unknown> {
    const redis = new Redis({ host: "127.0.0.1", port: this.port, retryStrategy: () => null });
    redis.on("error", () => undefined);
    try {
      return await redis.call(name, ...args);
    } finally {
      redis.disconnect();
    }
  }
}

const slotCount = 16_384;

/** Masters of a Redis Cluster that knows all of its slots. */
export async function startRedisCluster(scope: Scope, count = 3): Promise<RedisServer[]> {
  const servers: RedisServer[] = [];
  const buses: string[] = [];
  for (let i = 0; i < count; i++) {
    const bus = String(await freePort());
    const quick = ["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"];
    const words = ["--cluster-enabled", "yes", "--cluster-port", bus, ...quick];
    servers.push(await RedisServer.start(scope, words));
    buses.push(bus);
  }
  for (const [index, server] of servers.entries()) {
    const first = Math.floor((index * slotCount) / count);
    const last = Math.floor(((index + 1) * slotCount) / count) - 1;
    await server.command("CLUSTER", "ADDSLOTSRANGE", String(first), String(last));
    await servers[0]?.command(
      "CLUSTER",
      "MEET",
      "127.0.0.1",
      String(server.port),
      buses[index] ?? "",
    );
  }
  for (const server of servers) await until("the cluster", () => knowsAll(server, count));
  return servers;
}

async function knowsAll(server: RedisServer, count: number): Promise<true | undefined> {
  const info = String(await server.command("CLUSTER", "INFO"));
  const all = info.includes("cluster_slots_ok:16384") && info.includes(`cluster_size:${count}`);
  return (info.includes("cluster_state:ok") && all) || undefined;
}

/** A master, its replica and three Sentinels that name it `mymaster`. */
export async function startSentinels(
  scope: Scope,
): Promise<{ master: RedisServer; replica: RedisServer; sentinels: RedisServer[] }> {
  const master = await RedisServer.start(scope);
  const quick = ["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"];
  const replica = await RedisServer.start(scope, [
    ...quick,
    ...["--replicaof", `127.0.0.1 ${master.port}`],
  ]);
  const sentinels: RedisServer[] = [];
  const lines = [
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 2`,
    "sentinel down-after-milliseconds mymaster 1000",
    "sentinel failover-timeout mymaster 3000",
  ];
  for (let i = 0; i < 3; i++) sentinels.push(await RedisServer.startSentinel(scope, lines));
  for (const sentinel of sentinels) {
    await until("the Sentinels to know each other", async () => {
      const fields = (await sentinel.command("SENTINEL", "MASTER", "mymaster")) as string[]; // a list of texts
      const value = (name: string): string | undefined => fields[fields.indexOf(name) + 1];
      return (value("num-slaves") === "1" && value("num-other-sentinels") === "2") || undefined;
    });
  }
  return { master, replica, sentinels };
}

/** A port that nobody listened on a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      const port = typeof address === "object" ? (address?.port ?? 0) : 0;
      server.close(() => resolve(port));
    });
  });
}
