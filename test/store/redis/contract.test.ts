/** The Redis store keeps the contract of every store, on one server and on a Cluster of three masters. */
import { after, describe } from "node:test";
import { redisMissing, RedisServer, startRedisCluster } from "../../support/redis.js";
import { storeContract } from "../../contract/store.js";
import { openStore } from "./support.js";

const ends: (() => unknown)[] = [];
const scope = { after: (end: () => unknown): void => void ends.unshift(end) };
after(async () => {
  for (const end of ends) await end();
});

/** Each place is the key space of a node. The server is started for the first. */
function contract(name: string, start: () => Promise<Record<string, unknown>>): void {
  let started: Promise<Record<string, unknown>> | undefined;
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
