/** What a Redis must be like, and in which words it is refused. No secret is told. */
import assert from "node:assert/strict";
import { Refusal } from "../../../src/lib/refusal.js";
import { Authority } from "../../net/listeners/support.js";
import { until } from "../../support/nodes.js";
import { freePort, redisTest, RedisServer, startRedisCluster } from "../../support/redis.js";
import { listLog, openRedis, openStore, put, write } from "./support.js";

const secret = "s3cret-that-nobody-may-see";

/** The sentence of a refusal. */
async function refusal(opening: Promise<unknown>): Promise<string> {
  const error = await opening.then(
    () => assert.fail("it was opened"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Refusal, String(error));
  return error.message;
}

redisTest("nobody listens", async (t) => {
  const address = `127.0.0.1:${await freePort()}`;
  for (const mode of ["standalone", "cluster"]) {
    const redis = { mode, addresses: [address], start_timeout: "300ms" };
    const sentence = await refusal(openStore(t, { redis }));
    assert.ok(
      sentence.startsWith(`Redis at ${address} cannot be used: connect ECONNREFUSED`),
      sentence,
    );
  }
  const redis = {
    mode: "sentinel",
    sentinel_name: "m",
    addresses: [address],
    start_timeout: "300ms",
  };
  const sentence = await refusal(openStore(t, { redis }));
  assert.match(sentence, /Redis at .* cannot be used: .*sentinel/i);
});

redisTest("a node waits for a Redis that starts later", async (t) => {
  const server = await RedisServer.start(t);
  await server.kill();
  const lines: string[] = [];
  const redis = { addresses: [server.address], start_timeout: "20s" };
  const opening = openStore(t, { redis, log: listLog(lines) });
  await until("the log line", () => lines.some((line) => line.includes("waiting")) || undefined);
  await server.start();
  assert.equal(await write(await opening, put("p", "k")), null);
});

redisTest("a wrong password is refused at once, a right one is not; neither is told", async (t) => {
  const server = await RedisServer.start(t, ["--requirepass", secret]);
  const lines: string[] = [];
  const log = listLog(lines);
  const addresses = [server.address];
  const none = await refusal(openStore(t, { redis: { addresses, start_timeout: "60s" }, log }));
  assert.match(none, /refuses the login: NOAUTH/);
  const words = { addresses, password: `${secret}-not`, start_timeout: "60s" };
  const wrong = await refusal(openStore(t, { redis: words, log }));
  assert.match(wrong, /refuses the login: WRONGPASS.*store\.redis\.password/);
  const store = await openStore(t, { redis: { addresses, password: secret }, log });
  assert.equal(await write(store, put("p", "k")), null);
  assert.ok(!`${none} ${wrong} ${lines.join(" ")}`.includes(secret));
});

redisTest("a wrong password of a Cluster is refused at once", async (t) => {
  const servers = await startRedisCluster(t, 1);
  await servers[0]?.command("CONFIG", "SET", "requirepass", secret);
  const redis = { mode: "cluster", addresses: [servers[0]?.address], start_timeout: "60s" };
  const wrong = await refusal(openStore(t, { redis: { ...redis, password: "wrong" } }));
  assert.match(wrong, /refuses the login: WRONGPASS/);
  const store = await openStore(t, { redis: { ...redis, password: secret } });
  assert.equal(await write(store, put("p", "k")), null);
});

redisTest("a user of Redis's ACL, without CONFIG, in a database with a prefix", async (t) => {
  const scripts = "+evalsha +eval +script|load +hget +hmget +hset +hdel +zadd +zrem +zrangebylex";
  const others = "+exists +pexpire +persist +info +select +time";
  const rights = `on ~own:* ${scripts} ${others}`.split(" ");
  const rules = [...rights, `>${secret}`];
  const server = await RedisServer.start(t, ["--user", "broker", ...rules]);
  const login = { addresses: [server.address], username: "broker", password: secret, db: 3 };
  const { store, leases } = await openRedis(t, { redis: { ...login, prefix: "own" } });
  assert.equal(await write(store, put("p", "k")), null);
  const holder = { node: "node@127.0.0.1", dataId: "d", incarnation: 1 };
  assert.equal((await leases.take(holder, false)).kind, "held");
  assert.notEqual(await leases.takePlace(holder, "b@h", true), 0);
  assert.deepEqual(await store.partitions(""), ["p"]);
  assert.match(String(await server.command("INFO", "keyspace")), /db3:keys=5/);
  const sentence = await refusal(openStore(t, { redis: { ...login, prefix: "others" } }));
  assert.match(sentence, /NOPERM/);
});

for (const policy of ["allkeys-lru", "volatile-ttl"]) {
  redisTest(`an eviction policy of ${policy} is refused, saying how to set it`, async (t) => {
    const server = await RedisServer.start(t, ["--maxmemory-policy", policy]);
    const sentence = await refusal(openStore(t, { redis: { addresses: [server.address] } }));
    assert.ok(sentence.includes(`has the maxmemory-policy ${policy}`), sentence);
    assert.match(sentence, /config set maxmemory-policy noeviction/);
  });
}

redisTest("an eviction policy in any master of a Cluster is refused", async (t) => {
  const servers = await startRedisCluster(t);
  await servers[2]?.command("CONFIG", "SET", "maxmemory-policy", "allkeys-random");
  const redis = { mode: "cluster", addresses: [servers[0]?.address] };
  const sentence = await refusal(openStore(t, { redis }));
  assert.ok(sentence.includes(`${servers[2]?.address} has the maxmemory-policy`), sentence);
});

redisTest(
  "an eviction policy that a server comes back with takes nothing until it is right",
  async (t) => {
    const server = await RedisServer.start(t);
    const store = await openStore(t, { redis: { addresses: [server.address] } });
    assert.equal(await write(store, put("p", "k1")), null);
    await server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    await server.command("CLIENT", "KILL", "TYPE", "normal");
    const seen = new Set<string | undefined>();
    await until("the refusal", async () => {
      const failure = await write(store, put("p", "k2"));
      seen.add(failure?.kind);
      return failure?.why.includes("allkeys-lru") || undefined;
    });
    assert.ok(!seen.has("broken"));
    await server.command("CONFIG", "SET", "maxmemory-policy", "noeviction");
    await until("a write", async () => (await write(store, put("p", "k2"))) === null || undefined);
  },
);

redisTest("durability power needs a Redis that syncs before it answers", async (t) => {
  const server = await RedisServer.start(t);
  const words = { redis: { addresses: [server.address] }, durability: "power" } as const;
  const sentence = await refusal(openStore(t, words));
  assert.match(
    sentence,
    /store\.durability is power: set `appendonly yes` and `appendfsync always`/,
  );
  await server.command("CONFIG", "SET", "appendfsync", "always");
  const store = await openStore(t, words);
  assert.equal(await write(store, put("p", "k")), null);
  await store.flush();
  const silent = await RedisServer.start(t, ["--rename-command", "CONFIG", ""]);
  const other = { ...words, redis: { addresses: [silent.address] } };
  assert.match(await refusal(openStore(t, other)), /does not tell whether/);
  await openStore(t, { redis: { addresses: [silent.address] } });
});

redisTest("a server that keeps nothing on its disk is warned of", async (t) => {
  const server = await RedisServer.start(t, ["--appendonly", "no"]);
  const lines: string[] = [];
  await openStore(t, { redis: { addresses: [server.address] }, log: listLog(lines) });
  assert.ok(lines.some((line) => line.includes("keeps no append-only file")));
});

redisTest("over TLS, with certificates on both sides", async (t) => {
  const authority = new Authority(t);
  const mine = authority.issue("/CN=localhost");
  const port = await freePort();
  const files = ["--tls-cert-file", mine.certificate, "--tls-key-file", mine.key];
  const words = ["--tls-port", String(port), "--tls-ca-cert-file", authority.certificate];
  await RedisServer.start(t, [...words, ...files]);
  const tls = { enabled: true, ca: authority.certificate };
  const redis = { addresses: [`localhost:${port}`], start_timeout: "500ms" };
  assert.match(await refusal(openStore(t, { redis: { ...redis, tls } })), /cannot be used/);
  const client = authority.issue("/CN=broker");
  const both = { ...tls, certificate: client.certificate, key: client.key };
  const store = await openStore(t, { redis: { ...redis, tls: both } });
  assert.equal(await write(store, put("p", "k")), null);
  const elsewhere = { ...redis, addresses: [`127.0.0.1:${port}`] };
  const wrong = await refusal(openStore(t, { redis: { ...elsewhere, tls: both } }));
  assert.match(wrong, /Hostname\/IP does not match certificate/);
  const named = { ...both, server_name: "localhost" };
  await openStore(t, { redis: { ...elsewhere, tls: named } });
  const missing = { ...both, ca: "/nowhere/ca.pem" };
  assert.match(await refusal(openStore(t, { redis: { ...redis, tls: missing } })), /cannot read/);
});

redisTest("what another version of the layout wrote is left alone", async (t) => {
  const server = await RedisServer.start(t);
  await server.command("HSET", "trellis:node@127.0.0.1:{0}:space", "layout", "99");
  const sentence = await refusal(openStore(t, { redis: { addresses: [server.address] } }));
  assert.match(sentence, /another version of the broker/);
});
