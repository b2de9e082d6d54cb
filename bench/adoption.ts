/**
 * How long it takes until the sessions of a node that was killed are at the others: three nodes on one Redis (a redis-server of
 * its own), offline sessions at one of them, each with a subscription and messages that wait; `kill -9`; then a client of one
 * comes back at another node at once. `npx tsx bench/adoption.ts [sessions] [messages for each]`
 */
import { readFileSync } from "node:fs";
import type { TestContext } from "node:test";
import { startNodes, type TestNode, until } from "../test/support/nodes.js";
import { MqttClient } from "../test/support/mqtt-client.js";
import { RedisServer } from "../test/support/redis.js";

const [sessionsText = "10000", messagesText = "5"] = process.argv.slice(2);
const sessions = Number(sessionsText);
const messages = Number(messagesText);
const atOnce = 50;

const ends: (() => unknown)[] = [];
const scope = { after: (end: () => unknown): void => void ends.unshift(end) };
// It needs no more of a test than that.
const context = scope as unknown as TestContext;

async function eachOf(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const run = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, run));
}

async function makeSession(node: TestNode, index: number): Promise<void> {
  const client = await MqttClient.connect(context, node.mqttPort, {
    clientId: `c${index}`,
    clean: false,
  });
  await client.subscribe(`to/${index}`, 1);
  client.destroy();
}

async function fill(node: TestNode): Promise<void> {
  const client = await node.connect();
  for (let round = 0; round < messages; round++) {
    await eachOf(sessions, async (index) => client.publish(`to/${index}`, `${round}`));
  }
  client.mqtt.end();
}

async function adopted(nodes: readonly TestNode[]): Promise<number> {
  const counts = await Promise.all(nodes.map((node) => node.metric("adoption.sessions")));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** How long a node's process has run, and how long it would have if a core had been free. */
function useOf({ pid }: TestNode): { runMs: number; waitMs: number } {
  const words = readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ");
  const [runMs = 0, waitMs = 0] = words.map((word) => Math.round(Number(word) / 1e6));
  return { runMs, waitMs };
}

const redis = await RedisServer.start(scope);
const settings = ["store.kind=redis", `store.redis.addresses=${redis.address}`];
const [a, b, c] = await startNodes(scope, { nodes: 3, settings });
if (!a || !b || !c) throw new Error("no nodes");
await eachOf(sessions, (index) => makeSession(a, index));
await fill(b);
const before = [b, c].map(useOf);
await a.kill();
await until("down", async () => {
  const { members } = await b.status();
  return members.some(({ name, state }) => name === a.name && state === "down") || undefined;
});
const downMs = performance.now();
const sinceMs = (): number => Math.round(performance.now() - downMs);
const client = await c.connect({ clientId: `c${sessions - 1}`, clean: false });
await client.payloads(messages);
console.log(`a client has its session and ${messages} messages ${sinceMs()} ms after "down"`);
const count = (): Promise<number> => adopted([b, c]);
await until("all", async () => (await count()) >= sessions || undefined, count, 120_000);
console.log(`${sessions} sessions are adopted ${sinceMs()} ms after "down"`);
for (const [index, node] of [b, c].entries()) {
  const { runMs, waitMs } = useOf(node);
  const { runMs: ranMs = 0, waitMs: waitedMs = 0 } = before[index] ?? {};
  console.log(`${node.name} ran ${runMs - ranMs} ms and waited ${waitMs - waitedMs} ms for a core`);
}
for (const end of ends) await end();
process.exit(0);
