/** A Redis that is away, hangs, is full, has forgotten or is not itself: what the store says, and that it recovers. */
import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { KeySpace } from "../../../src/store/redis/keys.js";
import { overtaken, writeScript, wrote } from "../../../src/store/redis/scripts.js";
import type { RedisStore } from "../../../src/store/redis/redis-store.js";
import type { Operation } from "../../../src/store/store.js";
import { until } from "../../support/nodes.js";
import { redisTest, RedisServer } from "../../support/redis.js";
import { listLog, openStore, put, texts, write } from "./support.js";

/** Writes until it succeeds; the kinds of failure on the way. */
async function persist(store: RedisStore, key: string): Promise<string[]> {
  const seen: string[] = [];
  await until(
    `a write of ${key}`,
    async () => {
      const failure = await write(store, put("p", key));
      if (failure) seen.push(failure.kind);
      return failure === null || undefined;
    },
    () => seen,
  );
  return seen;
}

redisTest("killed and started again under writes: what was acknowledged is there", async (t) => {
  const server = await RedisServer.start(t);
  const store = await openStore(t, { redis: { addresses: [server.address] } });
  const acknowledged: string[] = [];
  const failures = new Set<string | undefined>();
  let running = true;
  const writer = (async () => {
    for (let number = 0; running; ) {
      const key = String(number).padStart(6, "0");
      const failure = await write(store, put("p", key));
      if (failure === null) acknowledged.push(`${key}=${key}`);
      else failures.add(failure?.kind);
      if (failure === null) number++;
      else await new Promise((resolve) => setTimeout(resolve, 5));
    }
  })();
  for (let round = 0; round < 3; round++) {
    const before = acknowledged.length;
    await until("writes", () => acknowledged.length > before + 50 || undefined);
    await server.kill();
    await until("a failure", () => failures.has("unavailable") || undefined);
    await server.start();
  }
  const before = acknowledged.length;
  await until("writes", () => acknowledged.length > before + 50 || undefined);
  running = false;
  await writer;
  assert.deepEqual([...failures], ["unavailable"]);
  assert.deepEqual(await texts(store, "p"), acknowledged);
});

redisTest("a Redis that hangs costs a deadline, then nothing; it recovers by itself", async (t) => {
  const server = await RedisServer.start(t);
  const lines: string[] = [];
  const redis = { addresses: [server.address], breaker_failures: 2, breaker_pause: "300ms" };
  const store = await openStore(t, { redis, log: listLog(lines) });
  assert.equal(await write(store, put("p", "before")), null);
  server.pause();
  const hanging = await write(store, put("p", "k", "hanging"));
  assert.equal(hanging?.kind, "unavailable");
  assert.match(hanging?.why ?? "", /no answer in 1000 ms|not connected|closed/);
  await assert.rejects(store.read("p"), /cannot read p: Redis/);
  await until(
    "the breaker to open",
    async () => {
      const failure = await write(store, put("p", "k", "tried"));
      assert.equal(failure?.kind, "unavailable");
      const { breaker = 0, breakerRefused = 0 } = store.counters;
      return breaker === 2 || breakerRefused > 0 || store.counters.pipelines === 0 || undefined;
    },
    () => JSON.stringify(store.counters),
  );
  server.resume();
  await persist(store, "after");
  await write(store, put("p", "k", "new"));
  assert.deepEqual(await texts(store, "p"), ["after=after", "before=before", "k=new"]);
  assert.equal(store.counters.breaker, 0);
  assert.ok((store.counters.timeouts ?? 0) > 0);
});

redisTest(
  "a write that was given up and arrives late changes nothing; one that is repeated, nothing more",
  async (t) => {
    const server = await RedisServer.start(t);
    const redis = new Redis({ host: "127.0.0.1", port: server.port });
    t.after(() => redis.disconnect());
    const { keys } = new KeySpace("trellis", "n@h").partition("p");
    const call = async (number: number, ...operations: string[]): Promise<unknown> => {
      const args = ["p", "", ...operations];
      const turn = ["1", String(number)];
      const replies = await redis.eval(writeScript.text, 3, ...keys, ...turn, args.length, ...args);
      return Array.isArray(replies) ? replies[0] : replies;
    };
    const rows = async (): Promise<unknown> => {
      return [await redis.zrange(keys[0], "0", "-1"), await redis.hget(keys[1], "a")];
    };
    assert.equal(await call(5, "p", "a", "new"), wrote);
    assert.equal(await call(5, "p", "a", "new"), wrote);
    assert.equal(await call(4, "p", "a", "late", "p", "b", "late"), overtaken);
    assert.deepEqual(await rows(), [["a"], "new"]);
    assert.equal(await call(6, "d", "a"), wrote);
    assert.equal(await call(5, "p", "a", "new"), overtaken);
    assert.deepEqual(await rows(), [[], null]);
    assert.equal(await redis.exists(keys[2]), 0);
    // What is remembered of an empty partition goes by itself.
    assert.ok((await redis.pttl(keys[1])) > 0);
    assert.equal(await call(7, "p", "a", "again"), wrote);
    assert.equal(await redis.pttl(keys[1]), -1);
    assert.deepEqual(await redis.zrange(keys[2], "0", "-1"), ["p"]);
  },
);

redisTest(
  "a full Redis: writes are refused as full, reads and deletions go on, and it recovers",
  async (t) => {
    const server = await RedisServer.start(t);
    const store = await openStore(t, { redis: { addresses: [server.address] } });
    await write(store, put("p", "k1"));
    await write(store, put("p", "k2"));
    await server.command("CONFIG", "SET", "maxmemory", "1");
    const failure = await write(store, put("p", "k3"));
    assert.equal(failure?.kind, "full");
    assert.match(failure?.why ?? "", /OOM/);
    const gone: Operation = { kind: "delete", key: "k1" };
    assert.equal(await write(store, { partition: "p", operations: [gone] }), null);
    assert.deepEqual(await texts(store, "p"), ["k2=k2"]);
    assert.deepEqual(await store.partitions(""), ["p"]);
    await server.command("CONFIG", "SET", "maxmemory", "0");
    assert.equal(await write(store, put("p", "k3")), null);
    assert.deepEqual(await texts(store, "p"), ["k2=k2", "k3=k3"]);
    assert.equal(store.counters.breakerOpened, 0);
  },
);

redisTest("scripts that the server has forgotten are sent again", async (t) => {
  const server = await RedisServer.start(t);
  const store = await openStore(t, { redis: { addresses: [server.address] } });
  await server.command("SCRIPT", "FLUSH");
  const writes = Array.from({ length: 20 }, (_, number) => put(`p${number}`, "k"));
  const outcomes = await store.write(writes);
  assert.deepEqual(
    outcomes,
    writes.map(() => null),
  );
  await server.command("SCRIPT", "FLUSH");
  assert.deepEqual(await texts(store, "p7"), ["k=k"]);
});

redisTest("a server that became a replica takes nothing until it is a master again", async (t) => {
  const server = await RedisServer.start(t);
  const other = await RedisServer.start(t);
  const store = await openStore(t, { redis: { addresses: [server.address] } });
  await write(store, put("p", "k1"));
  await server.command("CONFIG", "SET", "replica-serve-stale-data", "yes");
  await server.command("REPLICAOF", "127.0.0.1", String(other.port));
  const failure = await write(store, put("p", "k2"));
  assert.equal(failure?.kind, "unavailable");
  assert.match(failure?.why ?? "", /READONLY/);
  await server.command("REPLICAOF", "NO", "ONE");
  await persist(store, "k3");
});

redisTest("a key of ours that holds something else breaks the store", async (t) => {
  const server = await RedisServer.start(t);
  const store = await openStore(t, { redis: { addresses: [server.address] } });
  const { keys } = new KeySpace("trellis", "node@127.0.0.1").partition("p");
  await server.command("SET", keys[0], "foreign");
  assert.equal((await write(store, put("p", "k")))?.kind, "broken");
  assert.equal(await write(store, put("q", "k")), null);
});

redisTest("with wait_replicas a write counts when the replicas have it", async (t) => {
  const server = await RedisServer.start(t, ["--repl-diskless-sync-delay", "0"]);
  const redis = { addresses: [server.address], wait_replicas: 1 };
  const replica = await RedisServer.start(t, ["--replicaof", `127.0.0.1 ${server.port}`]);
  await until("the replica", async () => {
    return /state=online/.test(String(await server.command("INFO", "replication"))) || undefined;
  });
  const store = await openStore(t, { redis });
  // A replica that is online may not have acknowledged anything yet.
  await persist(store, "k1");
  await replica.kill();
  const failure = await write(store, put("p", "k2"));
  assert.equal(failure?.kind, "unavailable");
  assert.match(failure?.why ?? "", /0 of 1 replicas have the write/);
  await replica.start();
  await persist(store, "k2");
  assert.deepEqual(await texts(store, "p"), ["k1=k1", "k2=k2"]);
});
