/** The link port under garbage, on real sockets: every connection is closed and counted, memory stays flat. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { Cluster } from "../../src/cluster/cluster.js";
import { Joiner } from "../../src/cluster/joiner.js";
import type { ClusterState } from "../../src/cluster/member-list.js";
import { tcpTransport } from "../../src/cluster/tcp.js";
import { realClock } from "../../src/lib/clock.js";
import { silentLog } from "../../src/lib/log.js";
import { realRandom, seededRandom } from "../../src/lib/random.js";
import { Router } from "../../src/routing/router.js";
import type { StateFile } from "../../src/store/state-file.js";
import { clusterSettings } from "../sim/cluster-node.js";

function memoryFile(): StateFile<ClusterState> {
  let value: ClusterState | undefined;
  return {
    load: async () => ({ value, damaged: null }),
    save: async (saved) => {
      value = saved;
    },
  };
}

async function startNode(t: TestContext, name: string): Promise<Cluster> {
  const cluster = new Cluster({
    ...{ name, cookie: "a cookie", clock: realClock, random: realRandom, log: silentLog },
    settings: { ...clusterSettings, bind: "127.0.0.1", portRange: [0, 0] },
    transport: tcpTransport(realClock, silentLog),
    stateFile: memoryFile(),
    durable: null,
  });
  const router = new Router(
    cluster,
    { messages: 10, bytes: 1000, forgetAfterMs: 1000, ttlMs: 0 },
    realClock,
  );
  cluster.attach({
    user: router,
    host: {
      displace: (_id, _epoch, done) => done(null),
      entries: () => [],
      entry: () => undefined,
    },
    load: () => ({ connections: 0, sessions: 0 }),
  });
  await cluster.start();
  t.after(() => cluster.stop());
  return cluster;
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = realClock.monotonicMs() + 20_000;
  while (!condition()) {
    assert.ok(realClock.monotonicMs() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Writes to the port until it is closed, and resolves then. */
function pour(port: number, chunks: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => {
      for (const chunk of chunks) socket.write(chunk);
    });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
  });
}

test("a flood of garbage closes, is counted, leaves memory flat, and a node can still join", async (t) => {
  const a = await startNode(t, "a@127.0.0.1");
  const { acceptor } = a;
  const random = seededRandom(7);
  const noise = (): Buffer[] =>
    Array.from({ length: 8 }, () => {
      const bytes = random.bytes(16_384);
      bytes[0] = 255;
      return bytes;
    });
  for (let i = 0; i < 20; i++) await pour(acceptor.port, noise());
  global.gc?.();
  const before = process.memoryUsage();
  for (let round = 0; round < 20; round++) {
    await Promise.all(Array.from({ length: 20 }, () => pour(acceptor.port, noise())));
  }
  await until("all closed", () => acceptor.counters.garbage >= 420);
  const after = process.memoryUsage();
  const grown = after.arrayBuffers - before.arrayBuffers;
  assert.ok(grown < 32 * 1024 * 1024, `${grown} bytes`);
  assert.equal(acceptor.counters.accepted, 0);

  const b = await startNode(t, "b@127.0.0.1");
  const joined = new Joiner(b).join(`a@127.0.0.1:${acceptor.port}`);
  await until("joined", () => a.state("b@127.0.0.1") === "up" && b.state("a@127.0.0.1") === "up");
  assert.deepEqual(await joined, { member: "a@127.0.0.1" });
});
