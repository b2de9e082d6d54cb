/** Publisher at one node, a subscriber that stops reading at another: both nodes keep their size, others get all. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { type TestContext, test } from "node:test";
import { residentBytes } from "../../src/cli/bench/processes.js";
import { connectFrame, publishFrame, subscriber } from "../limits/slow-consumer.js";
import { startNodes, type TestNode, until } from "../support/nodes.js";

const messages = 4096;
/** The first ones make the nodes as large as they are at work. */
const firstMessages = 512;
/** Publishes that the quick one has not got, at most. */
const ahead = 16;
/** The garbage of some turns; not the 256 MiB that pass. */
const growthMax = 96 * 2 ** 20;
/** limits.session_queue_bytes, which QoS 1 may fill. */
const queueMax = 16 * 2 ** 20;

/** What has been dropped at the slow one's node, for either reason. */
async function dropped(node: TestNode): Promise<number> {
  const names = ["session.dropped_output_full", "session.dropped_queue_full"];
  const counts = await Promise.all(names.map((name) => node.metric(name)));
  return counts.reduce((sum, count) => sum + count, 0);
}

async function passAcross(t: TestContext, qos: 0 | 1): Promise<void> {
  const patience = ["limits.connection_output_grace=1h"];
  const [a, b] = await startNodes(t, { nodes: 2, settings: patience });
  assert.ok(a !== undefined && b !== undefined);
  const quick = await subscriber(b.mqttPort, "quick", qos);
  const slow = await subscriber(b.mqttPort, "slow", qos);
  const publisher = connect({ port: a.mqttPort, host: "127.0.0.1", noDelay: true });
  t.after(() => {
    for (const socket of [publisher, quick.socket, slow.socket]) socket.destroy();
  });
  publisher.on("data", () => undefined);
  publisher.write(connectFrame("publisher"));
  slow.socket.pause();
  const before = [0, 0];
  const growth = [0, 0];
  for (let sent = 1; sent <= messages; sent++) {
    publisher.write(publishFrame(qos, sent - 1));
    await quick.until(() => quick.received > sent - ahead || quick.isClosed, `message ${sent}`);
    if (sent < firstMessages || sent % 128 !== 0) continue;
    for (const [i, { pid }] of [a, b].entries()) {
      const bytes = residentBytes([pid]);
      if (sent === firstMessages) before[i] = bytes;
      growth[i] = Math.max(growth[i] ?? 0, bytes - (before[i] ?? 0));
    }
  }
  await quick.until(() => quick.received === messages || quick.isClosed, "the last message");
  assert.equal(quick.received, messages);
  const mebibytes = growth.map((bytes) => Math.round(bytes / 2 ** 20));
  assert.ok(Math.max(...growth) < growthMax + qos * queueMax, `grown by ${mebibytes} MiB`);
  // The slow one goes on: what it gets and what was dropped are all that was published.
  slow.socket.resume();
  let lost = 0;
  await until(
    "the slow one's rest",
    async () => {
      lost = await dropped(b);
      return slow.received + lost === messages ? true : undefined;
    },
    () => `${slow.received} received, ${lost} dropped`,
  );
  assert.ok(lost > messages / 2);
  assert.equal(await dropped(a), 0);
}

test("QoS 0: 256 MiB pass a subscriber at another node that does not read", (t) =>
  passAcross(t, 0));

test("QoS 1: 256 MiB pass a subscriber at another node that does not read", (t) =>
  passAcross(t, 1));
