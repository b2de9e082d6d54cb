/** The Redis store keeps the contract of every store, on one server and on a Cluster of three masters. */
import { after, describe } from "node:test";
import { realClock, sleep } from "../../../src/lib/clock.js";
import { redisMissing, RedisServer, startRedisCluster } from "../../support/redis.js";
import { storeContract } from "../../contract/store.js";
import { leaseBookContract } from "../../contract/lease-book.js";
import { openRedis, openStore } from "./support.js";

const ends: (() => unknown)[] = [];
const scope = { after: (end: () => unknown): void => void ends.unshift(end) };
after(async () => {
  for (const end of ends) await end();
});

const leaseMs = 500;
let prefixes = 0;

/** Each place is the key space of a node. The server is started for the first. */
function contract(name: string, start: () => Promise<Record<string, unknown>>): void {
  let started: Promise<Record<string, unknown>> | undefined;
  leaseBookContract(name, async (t) => {
    started ??= start();
    const times = { lease_time: `${leaseMs}ms`, lease_interval: "100ms" };
    const redis = { ...(await started), ...times, prefix: `p${prefixes++}` };
    return {
      open: async (nodeName) => {
        const { store, leases } = await openRedis(t, { redis, nodeName });
        return { store, book: leases };
      },
      tenth: () => sleep(realClock, leaseMs / 10),
    };
  });
  storeContract(name, {
    open: async (place) => {
      started ??= start();
      return openStore(
        { after: () => undefined },
        { redis: await started, nodeName: `${place}@host` },
      );
    },
    lasts: true,
  });
}

describe("redis", { skip: redisMissing }, () => {
  contract("redis", async () => {
    const server = await RedisServer.start(scope);
    return { addresses: [server.address], call_timeout: "5s" };
  });

  contract("redis cluster", async () => {
    const servers = await startRedisCluster(scope);
    const addresses = servers.map(({ address }) => address);
    return { mode: "cluster", addresses, call_timeout: "5s" };
  });
});
