/**
 * Changed packets at a node in a process of its own, over TCP and WebSocket: it stays up and serves others, its
 * memory does not grow, and its event loop is not held up. What it holds is asked through `ctl metrics`.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import type { ListenerInfo } from "../../src/admin/parts.js";
import { startNodes, type TestNode, until } from "../support/nodes.js";
import { bytesOf, overTcp, overWebSocket } from "./connection.js";
import { streams } from "./packets.js";

const batchSize = 50;
/** Batches from one look at the node to the next. */
const lookEvery = 20;

export interface ProcessFindings {
  /** Of the event loop, once the node has been up for a while: the longest delay, and one in a hundred. */
  readonly loopMaxMs: number;
  readonly loopP99Ms: number;
  /** The most processor time that the process took in one turn of its loop, and without collections (probe.mjs). */
  readonly turnMaxMs: number;
  readonly blockMaxMs: number;
  /** Resident memory: after the first tenth of the cases, and at the end. */
  readonly rssBefore: number;
  readonly rssAfter: number;
}

type Metrics = Readonly<Record<string, number>>;

/** @throws Error that names the seed */
export async function fuzzProcess(
  t: TestContext,
  cases: number,
  seed: number,
): Promise<ProcessFindings> {
  const settings = ["limits.retained_messages=100", "limits.session_expiry=1s"];
  const webSocket = ["listeners.ws.enabled=true", "listeners.ws.port=0"];
  const [node] = await startNodes(t, { nodes: 1, settings: [...settings, ...webSocket] });
  assert.ok(node !== undefined);
  const probed = join(node.dataDirectory, "probe.json");
  const probe = fileURLToPath(new URL("probe.mjs", import.meta.url));
  await node.stop();
  node.environment = { NODE_OPTIONS: `--import ${probe}`, FUZZ_PROBE: probed };
  await node.start();
  const watcher = await node.connect({ clientId: "watcher" });
  await watcher.subscribe("proof");
  const url = await webSocketUrl(node);
  const startedMs = performance.now();
  const delays = { max: 0, p99: 0 };
  let rssBefore = 0;
  const batches = Math.ceil(cases / batchSize);
  for (let batch = 0; batch < batches; batch++) {
    const picked = fc.sample(streams, { numRuns: batchSize, seed: seed + batch });
    await Promise.all(
      picked.map((stream, index) => {
        const bytes = bytesOf(stream, `fuzz-${batch}-${index}`);
        return index % 5 === 0 ? overWebSocket(url, bytes) : overTcp(node.mqttPort, bytes);
      }),
    );
    await watcher.publish("proof", `${batch}`);
    if (batch % lookEvery !== 0 && batch !== batches - 1) continue;
    const metrics: Metrics = await node.ctl<Metrics>("metrics");
    assert.equal(metrics["net.bugs"], 0, `seed ${seed}, batch ${batch}`);
    if (batch <= batches / 10) rssBefore = metrics["process.rss"] ?? 0;
    // A node that has just started compiles its code, which is no work of the packets.
    if (performance.now() - startedMs < 60_000 && batch !== batches - 1) continue;
    delays.max = Math.max(delays.max, metrics["process.loop_delay_max_ms"] ?? 0);
    delays.p99 = Math.max(delays.p99, metrics["process.loop_delay_p99_ms"] ?? 0);
  }
  await until("all proofs", () => watcher.received.length === batches || undefined);
  const last = await until("the others to be gone", async () => {
    const metrics = await node.ctl<Metrics>("metrics");
    return metrics["net.connected"] === 1 ? metrics : undefined;
  });
  const rssAfter = last["process.rss"] ?? 0;
  // The probe is the only writer of its file.
  const turn = JSON.parse(readFileSync(probed, "utf8")) as { cpuMs: number; ownMs: number };
  const turns = { turnMaxMs: turn.cpuMs, blockMaxMs: turn.ownMs };
  return { loopMaxMs: delays.max, loopP99Ms: delays.p99, ...turns, rssBefore, rssAfter };
}

async function webSocketUrl(node: TestNode): Promise<string> {
  const { listeners } = await node.ctl<{ listeners: readonly ListenerInfo[] }>("listeners");
  const port = listeners.find(({ kind }) => kind === "ws")?.port ?? 0;
  return `ws://127.0.0.1:${port}/mqtt`;
}
