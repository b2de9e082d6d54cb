/** A full disk: nothing is acknowledged that is not stored, everything else goes on, and it comes right by itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { StoreStats } from "../../src/admin/parts.js";
import type { TestClient } from "../support/nodes.js";
import { until } from "../support/nodes.js";
import { SmallDiskNode } from "./support.js";

const mebibyte = 1024 * 1024;
const quotaExceeded = 0x97;
const settings = ["store.stall_timeout=1s"];
const retained = { qos: 1, retain: true } as const;

/** Publishes until one is refused; how many were acknowledged, and the code of the refusal. */
async function publishUntilRefused(client: TestClient, payload: string) {
  const closed = new Promise<number>((resolve) => client.mqtt.once("close", () => resolve(-2)));
  for (let index = 0; index < 20_000; index++) {
    const published = client.publish(`fill/${index}`, payload, retained).then(
      () => 0,
      (error: { code?: number }) => error.code ?? -1,
    );
    const code = await Promise.race([published, closed]);
    if (code !== 0) return { acknowledged: index, code };
  }
  throw new Error("nothing was refused");
}

async function isStalled(node: SmallDiskNode, stalled: boolean): Promise<void> {
  await until(`store.stalled is ${stalled}`, async () => {
    return (await node.metric("store.stalled")) === (stalled ? 1 : 0) || undefined;
  });
}

for (const [how, leaveBytes] of [
  ["with some room for acknowledgements", 3 * mebibyte],
  ["to the last byte", 0],
] as const) {
  test(`a disk that fills up ${how}`, async (t) => {
    const node = new SmallDiskNode(t, 32 * mebibyte, settings);
    await node.start();
    const client = await node.connect({ protocolVersion: 5 });
    await client.publish("before", "kept", retained);
    node.fill(leaveBytes);
    const refused = leaveBytes > 0 ? await publishUntilRefused(client, "x".repeat(5000)) : null;
    if (refused === null) client.publish("fill/0", "x", retained).catch(() => undefined);
    else assert.equal(refused.code, quotaExceeded);
    await isStalled(node, true);
    const stats = await node.ctl<StoreStats>("store stats");
    assert.match(stats.alarm ?? "", /the store takes nothing since .*full/);
    assert.match((await node.status()).alarms?.join() ?? "", /the store takes nothing/);
    assert.match(node.output, /the store takes nothing/);

    // v5 is told, v3 is closed; what needs no store goes on.
    const other = await node.connect({ protocolVersion: 5 });
    await assert.rejects(other.publish("fill/more", "x", retained), { code: quotaExceeded });
    const old = await node.connect({ protocolVersion: 4 });
    let acknowledged = false;
    old.publish("fill/old", "x", retained).then(
      () => {
        acknowledged = true;
      },
      () => undefined,
    );
    const live = await node.connect({ protocolVersion: 4 });
    await live.subscribe("#");
    await live.payloads(1 + (refused?.acknowledged ?? 0));
    await live.publish("live", "qos 0", { qos: 0 });
    await until("QoS 0", () => live.received.some(({ topic }) => topic === "live") || undefined);
    await old.closed();
    assert.equal(acknowledged, false);

    node.free();
    await isStalled(node, false);
    const again = await node.connect({ protocolVersion: 5 });
    await again.publish("after", "kept", retained);
    await until(
      "the end in the log",
      () => /takes everything again/.test(node.output) || undefined,
    );
    assert.deepEqual((await node.status()).alarms ?? [], []);
  });
}
