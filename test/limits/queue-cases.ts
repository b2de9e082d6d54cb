/** Limits of what waits: in flight, in queues, in the output; and of what a session holds. */
import assert from "node:assert/strict";
import { eventually } from "../support/mqtt-client.js";
import type { LimitCase, Limits, LimitTest } from "./support.js";

export const queueCases = {
  receive_maximum: {
    counter: "net.reads_paused",
    settings: { receive_maximum: 2 },
    async run(one) {
      const waiting = one.stubborn("t");
      const four = await one.connect(4);
      for (let id = 1; id <= 3; id++) four.publish("t", "x", { qos: 1, messageId: id });
      await eventually(() => one.metric("net.reads_paused") === 1, "the read to be paused");
      assert.equal(waiting.length, 2);
      // MQTT 5 was told its Receive Maximum: one more is its mistake [MQTT-3.3.4-9].
      const five = await one.connect(5);
      for (let id = 1; id <= 3; id++) five.publish("t", "x", { qos: 1, messageId: id });
      await one.closed(five, 0x93);
      assert.equal(one.metric("net.closed_by.receive_maximum_exceeded"), 1);
      for (let i = 0; i < 5; i++) {
        await eventually(() => waiting.length > i, "a publish");
        waiting[i]?.();
      }
      for (let id = 1; id <= 3; id++) assert.equal((await four.expect("puback")).messageId, id);
      return 1;
    },
  },
  inflight_bytes: {
    counter: "net.reads_paused",
    settings: { inflight_bytes: 65_536 },
    async run(one) {
      const waiting = one.stubborn("t");
      const client = await one.connect(4);
      for (let id = 1; id <= 3; id++) {
        client.publish("t", Buffer.alloc(40_000), { qos: 1, messageId: id });
      }
      await eventually(() => one.metric("net.reads_paused") === 1, "the read to be paused");
      assert.equal(waiting.length, 2);
      for (let i = 0; i < 3; i++) {
        await eventually(() => waiting.length > i, "a publish");
        waiting[i]?.();
      }
      for (let id = 1; id <= 3; id++) assert.equal((await client.expect("puback")).messageId, id);
      await outgoingBytes(one);
      return 1;
    },
  },
  open_qos2: {
    counter: "net.closed_by.receive_maximum_exceeded",
    settings: { open_qos2: 2 },
    async run(one) {
      for (const version of [4, 5] as const) {
        const client = await one.connect(version);
        // In one read: the ids are taken before anything is answered.
        for (let id = 1; id <= 3; id++) client.publish("t", "x", { qos: 2, messageId: id });
        await client.expect("pubrec");
        await client.expect("pubrec");
        await one.closed(client, 0x93);
      }
      return 2;
    },
  },
  filters_per_client: {
    counter: "session.subscriptions_refused",
    settings: { filters_per_client: 2 },
    async run(one) {
      const { cluster } = one.broker;
      for (const version of [4, 5] as const) {
        const client = await one.connect(version);
        await client.subscribe("a");
        // Two requests for the last place, both before the first is answered.
        const refused = one.metric("session.subscriptions_refused");
        cluster.held = [];
        for (const [messageId, topic] of [
          [2, "b"],
          [3, "c"],
        ] as const) {
          client.send({ cmd: "subscribe", messageId, subscriptions: [{ topic, qos: 0 }] });
        }
        const held = cluster.held;
        await eventually(
          () => one.metric("session.subscriptions_refused") === refused + 1,
          "both requests",
        );
        // What is refused waits for nobody but the answers before it.
        assert.equal(held.length, 1);
        cluster.held = null;
        for (const answer of held) answer();
        assert.deepEqual((await client.expect("suback")).granted, [0]);
        assert.deepEqual((await client.expect("suback")).granted, [version === 5 ? 0x97 : 0x80]);
        assert.equal(await client.subscribe("a", 1), 1);
      }
      return 2;
    },
  },
  session_queue_messages: {
    counter: "session.dropped_queue_full",
    settings: { session_queue_messages: 3 },
    async run(one) {
      await away(one);
      for (let i = 1; i <= 5; i++) one.publish("t", `number ${i}`, 1);
      one.publish("t", "not for those who are away", 0);
      assert.equal(one.metric("session.dropped_offline"), 1);
      assert.deepEqual(await comesBack(one, 3), ["number 3", "number 4", "number 5"]);
      return 2;
    },
  },
  session_queue_bytes: {
    counter: "session.dropped_queue_full",
    settings: { session_queue_bytes: 1024 },
    async run(one) {
      await away(one);
      one.publish("t", "1".repeat(400), 1);
      one.publish("t", "2".repeat(400), 1);
      one.publish("t", "3".repeat(900), 1);
      one.publish("t", "4".repeat(1024), 1); // larger than the queue, with its topic
      assert.deepEqual(await comesBack(one, 1), ["3".repeat(900)]);
      return 3;
    },
  },
  connection_output_bytes: {
    counter: "session.dropped_output_full",
    settings: { connection_output_bytes: 65_536 },
    async run(one) {
      const { sessions } = one.broker.frontEnd;
      const slow = await one.connect(4);
      await slow.subscribe("t");
      slow.pause();
      const published = 500;
      for (let i = 0; i < published; i++) {
        one.publish("t", Buffer.alloc(20_000), 0);
        if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      const dropped = published - sessions.counters.sentQos0;
      assert.ok(dropped > 0);
      slow.resume();
      for (let i = 0; i < published - dropped; i++) await slow.expect("publish");
      await slow.quiet();
      return dropped;
    },
  },
  connection_output_grace: {
    counter: "net.closed_by.output_not_taken",
    settings: { connection_output_bytes: 65_536, connection_output_grace: 1000 },
    async run(one) {
      const slow = await one.connect(5);
      await slow.subscribe("t");
      slow.pause();
      for (let i = 0; i < 40; i++) {
        one.publish("t", Buffer.alloc(500_000), 0);
        await new Promise((resolve) => setImmediate(resolve));
      }
      await eventually(() => one.broker.frontEnd.connected === 0, "it to be cut off");
      return 1;
    },
  },
} satisfies Partial<Record<keyof Limits, LimitCase>>;

/** A persistent session without connection, subscribed to "t". */
async function away(one: LimitTest): Promise<void> {
  const client = await one.connect(4, { clientId: "away", clean: false });
  await client.subscribe("t", 1);
  client.destroy();
  const { sessions } = one.broker.frontEnd;
  await eventually(() => sessions.get("away")?.channel === null, "it to be away");
}

/** What waited for it. */
async function comesBack(one: LimitTest, count: number): Promise<string[]> {
  const client = await one.connect(4, { clientId: "away", clean: false });
  const payloads: string[] = [];
  for (let i = 0; i < count; i++) {
    const { payload, messageId } = await client.expect("publish");
    payloads.push(payload.toString());
    client.ack("puback", messageId ?? 0);
  }
  await client.quiet();
  return payloads;
}

/** Towards a persistent session: what is over the limit waits in the queue until PUBACK. */
async function outgoingBytes(one: LimitTest): Promise<void> {
  const client = await one.connect(4, { clientId: "out", clean: false });
  await client.subscribe("out", 1);
  for (let i = 0; i < 3; i++) one.publish("out", Buffer.alloc(40_000), 1);
  await client.expect("publish");
  await client.expect("publish");
  await client.quiet();
  assert.equal(one.broker.frontEnd.sessions.get("out")?.queued, 1);
  client.ack("puback", 1);
  await client.expect("publish");
}
