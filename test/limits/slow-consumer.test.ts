/** A subscriber that stops reading: bounded memory, exact counters, nothing to the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";
import { passBy } from "./slow-consumer.js";

const passing = 2 ** 30;
/** It is not to be cut off for being slow, however slow the machine is. */
const patient = { connection_output_grace: 3_600_000 };
const outputMax = 4 * 2 ** 20;
/** The garbage of a turn or two, here that of publisher and subscribers too; not what passes. */
const rssMax = 128 * 2 ** 20;

test("QoS 0: 1 GiB passes a subscriber that does not read", async (t) => {
  const { frontEnd, ...broker } = await testBroker(t, { settings: { limits: patient } });
  const result = await passBy({ frontEnd, ...broker }, 0, passing);
  const { counters } = frontEnd.sessions;
  assert.deepEqual(result.quick, [result.published, result.published]);
  assert.ok(counters.droppedOutputFull > result.published / 2);
  assert.equal(result.slow + counters.droppedOutputFull, result.published);
  assert.equal(counters.sentQos0, 2 * result.published + result.slow);
  assert.ok(result.waitingMax < outputMax + 2 ** 18, `${result.waitingMax} bytes waited`);
  assert.ok(result.rssGrowth < rssMax, `grown by ${result.rssGrowth}`);
  assert.equal(result.slowClosed, false);
});

test("QoS 1: 1 GiB passes a subscriber that neither reads nor acknowledges", async (t) => {
  const queueMax = 16 * 2 ** 20;
  const { frontEnd, ...broker } = await testBroker(t, { settings: { limits: patient } });
  const result = await passBy({ frontEnd, ...broker }, 1, passing);
  const { counters } = frontEnd.sessions;
  assert.deepEqual(result.quick, [result.published, result.published]);
  assert.ok(counters.droppedQueueFull > result.published / 2);
  assert.equal(result.slow + counters.droppedQueueFull, result.published);
  assert.equal(counters.sentQos1, 2 * result.published + result.slow);
  assert.equal(counters.droppedOutputFull, 0);
  assert.ok(result.waitingMax < outputMax + 2 ** 18, `${result.waitingMax} bytes waited`);
  assert.ok(result.rssGrowth < rssMax + queueMax, `grown by ${result.rssGrowth}`);
});

test("small messages, one a turn, pin no more than themselves", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const slow = await MqttClient.connect(t, port, { clientId: "slow" });
  await slow.subscribe("t");
  slow.pause();
  const publisher = await MqttClient.connect(t, port);
  const waiting = (): number => frontEnd.sessions.get("slow")?.channel?.info().waitingBytes ?? 0;
  // The kernel's buffers first.
  for (let sent = 0; waiting() < 2 ** 18; sent++) {
    assert.ok(sent < 5000);
    publisher.publish("t", Buffer.alloc(10_000));
    await publisher.quiet();
  }
  const { arrayBuffers } = process.memoryUsage();
  const before = waiting();
  for (let i = 0; i < 2000; i++) {
    publisher.publish("t", Buffer.alloc(100));
    await publisher.quiet();
  }
  assert.ok(waiting() - before >= 2000 * 100);
  const grown = process.memoryUsage().arrayBuffers - arrayBuffers;
  assert.ok(grown < 40 * 2 ** 20, `${grown} bytes for ${waiting() - before} that wait`);
  slow.resume();
  await eventually(() => waiting() === 0, "it to be taken");
});
