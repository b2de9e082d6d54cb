/** A Redis Cluster and a set with Sentinels: servers that fail, slots that move, masters that change. */
import assert from "node:assert/strict";
import { bucketOf, bucketSlots } from "../../../src/store/redis/keys.js";
import type { RedisStore } from "../../../src/store/redis/redis-store.js";
import { until } from "../../support/nodes.js";
import {
  redisTest,
  type RedisServer,
  startRedisCluster,
  startSentinels,
} from "../../support/redis.js";
import { openStore, put, texts, write } from "./support.js";

const slotOf = (partition: string): number => bucketSlots[bucketOf(partition)] ?? 0;

/** Names of partitions, the first ones that begin with `p`, whose slots are from `first` to `last`. */
function partitionsIn(first: number, last: number, count: number): string[] {
  const found: string[] = [];
  for (let number = 0; found.length < count; number++) {
    const slot = slotOf(`p${number}`);
    if (slot >= first && slot <= last) found.push(`p${number}`);
  }
  return found;
}

/** Writes to all until each has succeeded; returns what failed on the way. */
async function persist(store: RedisStore, names: readonly string[], key: string): Promise<void> {
  let seen: unknown = null;
  await until(
    `writes to ${names.join(" ")}`,
    async () => {
      seen = (await store.write(names.map((name) => put(name, key)))).filter((one) => one !== null);
      return JSON.stringify(seen) === "[]" || undefined;
    },
    () => JSON.stringify(seen),
    30_000,
  );
}

redisTest("slots are reckoned as Redis does, and spread over the masters", async (t) => {
  const [server] = await startRedisCluster(t, 1);
  assert.ok(server);
  for (const bucket of [0, 7, 42, 512, 1023]) {
    const slot = await server.command("CLUSTER", "KEYSLOT", `trellis:n@h:{${bucket}}:rows:p{}`);
    assert.equal(Number(slot), bucketSlots[bucket]);
  }
  const thirds = [0, 0, 0];
  for (const slot of bucketSlots)
    thirds[Math.floor((slot * 3) / 16_384)] = (thirds[Math.floor((slot * 3) / 16_384)] ?? 0) + 1;
  for (const third of thirds) assert.ok(third > 330 && third < 350, String(thirds));
});

redisTest(
  "one master is killed: the others' partitions go on, its own come back with it",
  async (t) => {
    const servers = await startRedisCluster(t);
    const addresses = servers.map(({ address }) => address);
    const store = await openStore(t, { redis: { mode: "cluster", addresses } });
    const [mine = "", ...others] = [
      ...partitionsIn(0, 5460, 1),
      ...partitionsIn(5461, 10_921, 2),
      ...partitionsIn(10_923, 16_383, 2),
    ];
    await persist(store, [mine, ...others], "k1");
    await servers[0]?.kill();
    await until("a refusal", async () => {
      const [failure] = await store.write([put(mine, "k2")]);
      return failure?.kind === "unavailable" || undefined;
    });
    await persist(store, others, "k2");
    const [failure, ...rest] = await store.write([mine, ...others].map((name) => put(name, "k3")));
    assert.equal(failure?.kind, "unavailable");
    assert.deepEqual(
      rest,
      others.map(() => null),
    );
    await assert.rejects(store.read(mine), /Redis/);
    await servers[0]?.start();
    await persist(store, [mine], "k2");
    assert.deepEqual(await texts(store, mine), ["k1=k1", "k2=k2"]);
    assert.equal((await store.partitions("")).length, 5);
  },
);

redisTest("a master that hangs delays nobody else for longer than a deadline", async (t) => {
  const servers = await startRedisCluster(t);
  const addresses = servers.map(({ address }) => address);
  const redis = { mode: "cluster", addresses, breaker_failures: 1, breaker_pause: "60s" };
  const store = await openStore(t, { redis });
  const [mine = ""] = partitionsIn(0, 5460, 1);
  const [other = ""] = partitionsIn(10_923, 16_383, 1);
  await persist(store, [mine, other], "k1");
  servers[0]?.pause();
  const outcomes = await store.write([put(mine, "k2"), put(other, "k2")]);
  assert.deepEqual(
    outcomes.map((outcome) => outcome?.kind),
    ["unavailable", undefined],
  );
  const { breakerRefused = 0 } = store.counters;
  const next = await store.write([put(mine, "k2"), put(other, "k3")]);
  assert.deepEqual(
    next.map((outcome) => outcome?.kind),
    ["unavailable", undefined],
  );
  assert.equal(store.counters.breakerRefused, breakerRefused + 1);
  assert.match(next[0]?.why ?? "", /left alone/);
  servers[0]?.resume();
});

redisTest("a slot moves to another master under writes", async (t) => {
  const servers = await startRedisCluster(t);
  const [from, to] = servers;
  assert.ok(from && to);
  const addresses = servers.map(({ address }) => address);
  const store = await openStore(t, { redis: { mode: "cluster", addresses } });
  const [name = ""] = partitionsIn(0, 5460, 1);
  const slot = String(slotOf(name));
  await persist(store, [name], "k1");
  await to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", await idOf(from));
  await from.command("CLUSTER", "SETSLOT", slot, "MIGRATING", await idOf(to));
  // All keys are still there.
  assert.equal(await write(store, put(name, "k2")), null);
  const keys = (await from.command("CLUSTER", "GETKEYSINSLOT", slot, "10")) as string[]; // a list of names
  assert.equal(keys.length, 3);
  const migrate = (key: string): Promise<unknown> => {
    return from.command("MIGRATE", "127.0.0.1", String(to.port), key, "0", "5000");
  };
  await migrate(keys[0] ?? "");
  assert.equal((await write(store, put(name, "k3")))?.kind, "unavailable");
  for (const key of keys.slice(1)) await migrate(key);
  // None is there any more: the new master is asked.
  assert.equal(await write(store, put(name, "k3")), null);
  assert.deepEqual(await texts(store, name), ["k1=k1", "k2=k2", "k3=k3"]);
  for (const server of servers) {
    await server.command("CLUSTER", "SETSLOT", slot, "NODE", await idOf(to));
  }
  const other = partitionsIn(0, 5460, 2)[1] ?? "";
  const outcomes = await store.write([put(name, "k4"), put(other, "k4")]);
  assert.deepEqual(outcomes, [null, null]);
  assert.ok((store.counters.redirected ?? 0) > 0);
  assert.equal((await texts(store, name)).length, 4);
});

redisTest("the master is killed: the replica takes over with what it was waited for", async (t) => {
  const { master, replica, sentinels } = await startSentinels(t);
  const redis = {
    mode: "sentinel",
    sentinel_name: "mymaster",
    addresses: sentinels.map(({ address }) => address),
  };
  const waiting = await openStore(t, { redis: { ...redis, wait_replicas: 1 }, nodeName: "w@h" });
  await persist(waiting, ["p"], "k1");
  const store = await openStore(t, { redis });
  await persist(store, ["p"], "k1");
  await master.kill();
  await persist(store, ["p"], "k2");
  const other = await openStore(t, { redis, nodeName: "w@h" });
  assert.deepEqual(await texts(other, "p"), ["k1=k1"]);
  assert.match(String(await replica.command("INFO", "replication")), /role:master/);
  // With no replica left, what is to be waited for is not acknowledged.
  const again = await openStore(t, { redis: { ...redis, wait_replicas: 1 }, nodeName: "w@h" });
  const failure = await write(again, put("p", "k2"));
  assert.match(failure?.why ?? "", /0 of 1 replicas have the write/);
});

async function idOf(server: RedisServer): Promise<string> {
  return String(await server.command("CLUSTER", "MYID"));
}
