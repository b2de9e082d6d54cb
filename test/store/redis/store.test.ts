/** What goes beyond the contract, or near its limits, on a real Redis server and on a Cluster of three masters. */
import assert from "node:assert/strict";
import { after, type TestContext } from "node:test";
import type { RedisStore } from "../../../src/store/redis/redis-store.js";
import type { Operation } from "../../../src/store/store.js";
import { redisTest, RedisServer, startRedisCluster } from "../../support/redis.js";
import { openStore, put, texts, write } from "./support.js";

/** Opens a store, each time in a key space of its own unless a node's name is given. */
type Open = (nodeName?: string) => Promise<RedisStore>;

const ends: (() => unknown)[] = [];
const scope = { after: (end: () => unknown): void => void ends.unshift(end) };
after(async () => {
  for (const end of ends) await end();
});

const bodies: Record<string, (open: Open) => Promise<void>> = {
  "more rows than one reply holds are read whole, and large ones too": largeReads,
  "names of partitions hold anything, and stay apart": anyNames,
  "partitions come in order and in pages; empty ones do not": pagesOfNames,
  "an older epoch is refused, the same and a newer one are not": epochs,
  "what was written is there for the next process, and the one before is locked out": processes,
};

function suite(place: string, start: () => Promise<Record<string, unknown>>): void {
  let started: Promise<Record<string, unknown>> | undefined;
  let spaces = 0;
  for (const [name, body] of Object.entries(bodies)) {
    redisTest(`${place}: ${name}`, async (t: TestContext) => {
      started ??= start();
      const redis = await started;
      await body((nodeName = `n${++spaces}@host`) => openStore(t, { redis, nodeName }));
    });
  }
}

suite("a Redis server", async () => {
  const server = await RedisServer.start(scope);
  return { addresses: [server.address], call_timeout: "5s" };
});

suite("a Redis Cluster of three masters", async () => {
  const servers = await startRedisCluster(scope);
  const addresses = servers.map(({ address }) => address);
  return { mode: "cluster", addresses, call_timeout: "5s" };
});

async function largeReads(open: Open): Promise<void> {
  const store = await open();
  const value = Buffer.alloc(100_000, "x");
  const operations = Array.from({ length: 30 }, (_, number): Operation => {
    return { kind: "put", key: `large/${number + 10}`, value };
  });
  const small = Array.from({ length: 2500 }, (_, number): Operation => {
    return { kind: "put", key: `small/${number + 1000}`, value: Buffer.from("s") };
  });
  assert.equal(await write(store, { partition: "p", operations }), null);
  assert.equal(await write(store, { partition: "p", operations: small }), null);
  const rows = await store.read("p");
  assert.equal(rows.length, 2530);
  assert.ok(rows.slice(0, 30).every(([, bytes]) => bytes.equals(value)));
  assert.equal((await store.read("p", "large/20", 12)).length, 12);
  assert.equal((await store.read("p", "small/", 1500)).length, 1500);
}

async function anyNames(open: Open): Promise<void> {
  const store = await open();
  const names = ["s/{a}", "s/{a", "s/a}", "s/{}", "s/}{", "s/{a}:rows", "s/ä\u{1f600}", "s/a b\n"];
  const outcomes = await store.write(names.map((name) => put(name, "k", name)));
  assert.deepEqual(
    outcomes,
    names.map(() => null),
  );
  for (const name of names) assert.deepEqual(await texts(store, name), [`k=${name}`]);
  const sorted = [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual(await store.partitions("s/"), sorted);
  await assert.rejects(store.write([put("", "k")]), /name/);
}

async function pagesOfNames(open: Open): Promise<void> {
  const store = await open();
  const name = (number: number): string => `session/c${String(number).padStart(5, "0")}`;
  const names = Array.from({ length: 3000 }, (_, number) => name(number));
  const others = ["a", "session", "sessions/x", "will/00"];
  const outcomes = await store.write([...names, ...others].map((one) => put(one, "k")));
  assert.ok(outcomes.every((outcome) => outcome === null));
  assert.deepEqual(await store.partitions("session/"), names);
  const seen: string[] = [];
  for (;;) {
    const page = await store.partitions("session/", seen.at(-1), 700);
    seen.push(...page);
    if (page.length < 700) break;
  }
  assert.deepEqual(seen, names);
  assert.deepEqual(await store.partitions("session/", name(2997), 10), [name(2998), name(2999)]);
  assert.deepEqual(await store.partitions("session/", "a", 1), [name(0)]);
  assert.deepEqual(await store.partitions("session/", "will/00", 1), []);
  assert.equal((await store.partitions("")).length, 3004);
  const gone: Operation = { kind: "delete", key: "k" };
  await store.write([{ partition: name(1), operations: [gone] }]);
  assert.deepEqual(await store.partitions("session/", undefined, 2), [name(0), name(2)]);
  await store.write([put(name(1), "k")]);
  assert.deepEqual(await store.partitions("session/", undefined, 2), [name(0), name(1)]);
}

async function epochs(open: Open): Promise<void> {
  const store = await open();
  const stamp = 1_800_000_000_000 * 1024;
  const at = (fence: number, value: string) => write(store, { ...put("p", "k", value), fence });
  assert.equal(await at(stamp, "1"), null);
  assert.equal(await at(stamp, "2"), null);
  assert.equal(await at(stamp + 1, "3"), null);
  assert.equal((await at(stamp, "4"))?.kind, "fenced");
  assert.deepEqual(await texts(store, "p"), ["k=3"]);
  // Where nobody gives an epoch, the one that is there stays.
  assert.equal(await write(store, put("p", "k", "5")), null);
  assert.equal((await at(stamp, "6"))?.kind, "fenced");
  const gone: Operation = { kind: "delete", key: "k" };
  await write(store, { partition: "p", operations: [gone], fence: stamp + 1 });
  assert.equal((await at(stamp, "7"))?.kind, "fenced");
  assert.deepEqual(await store.partitions(""), []);
  const mixed = await store.write([{ ...put("p", "k", "8"), fence: 1 }, put("q", "k", "9")]);
  assert.deepEqual(
    mixed.map((outcome) => outcome?.kind),
    ["fenced", undefined],
  );
}

async function processes(open: Open): Promise<void> {
  const first = await open("restarted@host");
  await write(first, put("p", "k", "1"));
  const second = await open("restarted@host");
  assert.deepEqual(await texts(second, "p"), ["k=1"]);
  assert.equal(await write(second, put("p", "k", "2")), null);
  const refused = await write(first, put("p", "k", "late"));
  assert.equal(refused?.kind, "broken");
  assert.match(refused?.why ?? "", /another process uses the same Redis/);
  assert.deepEqual(await texts(second, "p"), ["k=2"]);
  const other = await open("other@host");
  assert.deepEqual(await texts(other, "p"), []);
}
