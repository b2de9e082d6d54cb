/** A client that brings much leaves off at times; whoever brings little never does. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FairReads } from "../../src/net/fair-reads.js";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

const chunk = 65_536;

test("one that is read again and again leaves off after 256 KiB, and then may go on", () => {
  const reads = new FairReads();
  const loud = {};
  const yields = Array.from({ length: 8 }, () => reads.mustYield(loud, chunk));
  assert.deepEqual(yields, [false, false, false, true, false, false, false, true]);
});

test("what came before another's turn does not count", () => {
  const reads = new FairReads();
  const [one, two] = [{}, {}];
  for (let i = 0; i < 100; i++) {
    for (const reader of [one, one, one, two]) assert.ok(!reads.mustYield(reader, chunk));
  }
  reads.forget(two);
  assert.ok(!reads.mustYield(one, chunk));
});

test("a connection that leaves off goes on at the next turn: nothing of it is lost", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const loud = await MqttClient.connect(t, port);
  const subscriber = await MqttClient.connect(t, port);
  await subscriber.subscribe("t");
  const payload = Buffer.alloc(10_000, 1);
  for (let i = 0; i < 200; i++) loud.publish("t", payload, { qos: 1, messageId: i + 1 });
  for (let i = 0; i < 200; i++) assert.equal((await loud.expect("puback")).messageId, i + 1);
  await eventually(() => frontEnd.counters.readsYielded > 0, "a pause");
  for (let i = 0; i < 200; i++) await subscriber.expect("publish");
});

test("a flood that has arrived whole makes others wait for a bounded part of it", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port);
  await watcher.subscribe("#");
  const loud = await MqttClient.connect(t, port);
  const quiet: MqttClient[] = [];
  for (let i = 0; i < 20; i++) quiet.push(await MqttClient.connect(t, port));
  const payload = Buffer.alloc(8192, 1);
  const floods = 256;
  // All of it is sent in one turn, before the broker, which is in this process, reads any.
  for (let i = 0; i < floods; i++) loud.publish("loud", payload);
  for (const [i, client] of quiet.entries()) client.publish("quiet", String(i));
  let before = 0;
  const waited: number[] = [];
  for (let i = 0; i < floods + quiet.length; i++) {
    const { topic } = await watcher.expect("publish");
    if (topic === "loud") before += payload.length;
    else waited.push(before);
  }
  // A turn of the loud one, and the read with which it passes the limit; a second, if a client was ready too late.
  const turnMax = 262_144 + chunk;
  assert.equal(waited.length, quiet.length);
  assert.ok(Math.max(...waited) <= 2 * turnMax, `one waited for ${Math.max(...waited)} bytes`);
  assert.ok(frontEnd.counters.readsYielded > 0);
});
