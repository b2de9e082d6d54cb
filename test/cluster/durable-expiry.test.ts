/** Real nodes that are killed: the message expiry interval runs on while they are down [MQTT5 3.3.2.3.3]. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startNodes, type TestClient, type TestNode, until } from "../support/nodes.js";

const long = 1000;
const soonSeconds = 1;

const expiring = (messageExpiryInterval: number) => ({ properties: { messageExpiryInterval } });

function connect(node: TestNode, clientId: string): Promise<TestClient> {
  return node.connect({
    ...{ clientId, protocolVersion: 5, clean: false },
    properties: { sessionExpiryInterval: 3600 },
  });
}

/** Kills the node, waits until what was to expire soon has done so, and starts it again. */
async function restart(node: TestNode, sinceMs: number): Promise<void> {
  await node.kill();
  const overMs = sinceMs + soonSeconds * 1000 + 100;
  await until("the expiry", () => performance.now() > overMs || undefined);
  await node.start();
}

/** What is left for this message: less than the whole, by the seconds that passed and no more. */
function assertLeft(client: TestClient, payload: string, sinceMs: number): void {
  const found = client.received.find((one) => one.payload === payload);
  const left = found?.packet.properties?.messageExpiryInterval ?? -1;
  const passed = Math.ceil((performance.now() - sinceMs) / 1000);
  assert.ok(left >= long - passed && left <= long - soonSeconds, `${payload}: ${left} s left`);
}

test("messages queued for a session count down while the node is dead", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  const away = await connect(node, "away");
  await away.subscribe("q/#", 2);
  await away.mqtt.endAsync();
  const publisher = await connect(node, "p");
  const sinceMs = performance.now();
  for (const qos of [1, 2] as const) {
    await publisher.publish("q/x", `long ${qos}`, { qos, ...expiring(long) });
    await publisher.publish("q/x", `soon ${qos}`, { qos, ...expiring(soonSeconds) });
  }
  await publisher.publish("q/x", "for ever");
  await restart(node, sinceMs);
  assert.equal(await node.metric("session.dropped_expired"), 0);
  const back = await connect(node, "away");
  const last = await connect(node, "last");
  await last.publish("q/x", "end");
  // MQTT.js tells of QoS 2 when it is complete, later than of what came behind.
  await back.payloads(4);
  const payloads = back.received.map(({ payload }) => payload).sort();
  assert.deepEqual(payloads, ["end", "for ever", "long 1", "long 2"]);
  assertLeft(back, "long 1", sinceMs);
  assertLeft(back, "long 2", sinceMs);
  assert.equal(await node.metric("session.dropped_expired"), 2);
});

test("retained messages count down while the node is dead, and go", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  const publisher = await connect(node, "p");
  const sinceMs = performance.now();
  const retain = { qos: 1, retain: true } as const;
  await publisher.publish("r/long", "long", { ...retain, ...expiring(long) });
  await publisher.publish("r/soon", "soon", { ...retain, ...expiring(soonSeconds) });
  await restart(node, sinceMs);
  const reader = await connect(node, "reader");
  await reader.subscribe("r/#");
  await reader.publish("r/end", "end");
  await reader.waitFor("the end", () => reader.received.some(({ payload }) => payload === "end"));
  assert.deepEqual(reader.received.map(({ payload }) => payload).sort(), ["end", "long"]);
  assertLeft(reader, "long", sinceMs);
  await until("the expired one counted", async () => {
    return (await node.metric("retained.expired")) === 1 || undefined;
  });
});

test("a dead client's will has its whole interval after the restart, and then counts down", async (t) => {
  const [node] = await startNodes(t, { nodes: 1 });
  assert.ok(node !== undefined);
  for (const clientId of ["watches", "is away"]) {
    const watcher = await connect(node, clientId);
    await watcher.subscribe("w", 1);
    await watcher.mqtt.endAsync();
  }
  const sinceMs = performance.now();
  await node.connect({
    ...{ clientId: "dies", protocolVersion: 5 },
    will: { topic: "w", payload: Buffer.from("gone"), qos: 1, retain: false, ...expiring(long) },
  });
  await restart(node, sinceMs);
  const restartedMs = performance.now();
  const watcher = await connect(node, "watches");
  await watcher.waitFor("the will", () => watcher.received.length > 0);
  const left = watcher.received[0]?.packet.properties?.messageExpiryInterval ?? -1;
  // It is published after the restart, so nothing of it had passed before.
  const passed = Math.ceil((performance.now() - restartedMs) / 1000);
  assert.ok(left >= long - passed - 5 && left <= long, `${left} s left`);
  await restart(node, restartedMs);
  const late = await connect(node, "is away");
  await late.waitFor("the will", () => late.received.length > 0);
  assertLeft(late, "gone", sinceMs);
});
