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
