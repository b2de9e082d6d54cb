/**
 * Changed packets at a whole node, over TCP and WebSocket. After each batch a proper client still gets
 * through; at the end nothing is left of the others.
 */
import assert from "node:assert/strict";
import { connect as connectSocket } from "node:net";
import { monitorEventLoopDelay } from "node:perf_hooks";
import fc from "fast-check";
import { WebSocket } from "ws";
import type { TestBroker } from "../support/front-end.js";
import { eventually, type MqttClient } from "../support/mqtt-client.js";
import { connectPacket, type Stream, streams } from "./packets.js";

const batchSize = 50;
/** A connection that the node neither answers nor closes is a finding. */
const deadlineMs = 20_000;

export interface Findings {
  /** Times in which the loop did nothing else, in ms: the longest, and that of one in a hundred. */
  readonly longestBlockMs: number;
  readonly block99Ms: number;
  /** Heap at the end, beyond that after the first tenth, in bytes. */
  readonly grownBytes: number;
}

/** Where to send and who watches. */
export interface Target {
  readonly broker: TestBroker;
  readonly webSocketUrl: string;
  /** Subscribed to "proof". */
  readonly watcher: MqttClient;
}

/** One case in five goes over WebSocket. @throws Error that names the seed */
export async function fuzzConnections(
  target: Target,
  cases: number,
  seed: number,
): Promise<Findings> {
  const { broker, webSocketUrl, watcher } = target;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  let heapBefore = 0;
  const batches = Math.ceil(cases / batchSize);
  for (let batch = 0; batch < batches; batch++) {
    const picked = fc.sample(streams, { numRuns: batchSize, seed: seed + batch });
    delay.enable();
    await Promise.all(
      picked.map((stream, index) => {
        const bytes = bytesOf(stream, `fuzz-${batch}-${index}`);
        return index % 5 === 0 ? overWebSocket(webSocketUrl, bytes) : overTcp(broker.port, bytes);
      }),
    );
    watcher.publish("proof", `${batch}`);
    const got = await watcher.expect("publish");
    delay.disable();
    assert.equal(got.payload.toString(), `${batch}`, `seed ${seed}`);
    assert.equal(broker.frontEnd.counters.bugs, 0, `seed ${seed}, batch ${batch}`);
    if (batch === Math.floor(batches / 10)) heapBefore = settledHeap();
  }
  await eventually(() => broker.frontEnd.connected === 1, "the others to be gone", deadlineMs);
  return {
    longestBlockMs: delay.max / 1e6,
    block99Ms: delay.percentile(99) / 1e6,
    grownBytes: settledHeap() - heapBefore,
  };
}

function settledHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

/** What a connection sends, piece by piece. */
export function bytesOf({ version, connects, packets }: Stream, clientId: string): Buffer[] {
  return connects ? [connectPacket(version, clientId), ...packets] : [...packets];
}

/** Sends, ends, and waits until it is closed. */
export function overTcp(port: number, pieces: readonly Buffer[]): Promise<void> {
  return inTime((resolve) => {
    const socket = connectSocket({ port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
    for (const piece of pieces) socket.write(piece);
    socket.end();
    return () => socket.destroy();
  });
}

/** The same, each piece in a message of its own. */
export function overWebSocket(url: string, pieces: readonly Buffer[]): Promise<void> {
  return inTime((resolve) => {
    const webSocket = new WebSocket(url, ["mqtt"]);
    webSocket.on("error", () => undefined);
    webSocket.on("close", () => resolve());
    webSocket.on("open", () => {
      for (const piece of pieces) webSocket.send(piece);
      webSocket.close();
    });
    return () => webSocket.terminate();
  });
}

/** Rejects when it takes longer than the deadline. `begin` returns how to give up. */
function inTime(begin: (resolve: () => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const giveUp = begin(() => {
      clearTimeout(timer);
      resolve();
    });
    const timer = setTimeout(() => {
      giveUp();
      reject(new Error(`a connection was left open for ${deadlineMs} ms`));
    }, deadlineMs);
  });
}
