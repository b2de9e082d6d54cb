/**
 * Every limit of the configuration: what happens at it, to MQTT 3 and 5, and that its counter says exactly
 * how often. docs/limits.md lists the same, and is held to it here.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { configSchema } from "../../src/config/schema.js";
import { rowValue } from "../../src/routing/leaf.js";
import { eventually } from "../support/mqtt-client.js";
import { type LimitCase, LimitTest, type Limits } from "./support.js";
import { channelCases } from "./channel-cases.js";
import { queueCases } from "./queue-cases.js";

const versions = [4, 5] as const;
const long = (count: number): string => "x".repeat(count);

const packetCases = {
  max_packet: {
    counter: "net.closed_by.packet_too_large",
    settings: { max_packet: 2048, max_packet_before_connect: 1024 },
    async run(one) {
      for (const version of versions) {
        const client = await one.connect(version);
        client.publish("t", Buffer.alloc(2048 - 3 - 3 - (version === 5 ? 1 : 0)));
        await client.quiet();
        client.publish("t", Buffer.alloc(2048));
        await one.closed(client, 0x95);
      }
      return 2;
    },
  },
  max_packet_before_connect: {
    counter: "net.closed_by.packet_too_large",
    settings: { max_packet_before_connect: 1024 },
    async run(one) {
      const client = await one.open();
      client.sendConnect({ clientId: "c", username: long(2000) });
      await client.closed();
      assert.deepEqual(client.packets, []);
      return 1;
    },
  },
  connect_timeout: {
    counter: "net.closed_by.no_connect_in_time",
    settings: { connect_timeout: 150 },
    async run(one) {
      const silent = await one.open();
      await silent.closed();
      return 1;
    },
  },
  keep_alive_max: {
    counter: "session.keep_alive_shortened",
    settings: { keep_alive_max: 1 },
    async run(one) {
      const five = await one.open();
      const { properties } = await five.handshake({ version: 5, keepalive: 60 });
      assert.equal(properties?.serverKeepAlive, 1);
      const four = await one.connect(4, { keepalive: 0 });
      await four.closed();
      await one.closed(five, 0x8d);
      assert.equal(one.metric("net.closed_by.keep_alive_timeout"), 2);
      await one.connect(4, { keepalive: 1 });
      return 2;
    },
  },
  client_id_bytes: {
    counter: "net.closed_by.client_id_not_valid",
    settings: { client_id_bytes: 23 },
    async run(one) {
      for (const version of versions) {
        await one.connect(version, { clientId: long(23) });
        const refused = await one.open();
        const { returnCode, reasonCode } = await refused.handshake({ version, clientId: long(24) });
        assert.equal(version === 5 ? reasonCode : returnCode, version === 5 ? 0x85 : 2);
      }
      return 2;
    },
  },
  topic_bytes: {
    counter: "net.closed_by.topic_name_invalid",
    settings: { topic_bytes: 16 },
    async run(one) {
      for (const version of versions) {
        const client = await one.connect(version);
        client.publish(long(16), "x");
        await client.quiet();
        assert.equal(await client.subscribe(long(17)), version === 5 ? 0x8f : 0x80);
        client.publish(long(17), "x");
        await one.closed(client, 0x90);
      }
      assert.equal(one.metric("session.subscriptions_refused"), 2);
      return 2;
    },
  },
  topic_levels: {
    counter: "net.closed_by.topic_name_invalid",
    settings: { topic_levels: 3 },
    async run(one) {
      for (const version of versions) {
        const client = await one.connect(version);
        client.publish("a/b/c", "x");
        await client.quiet();
        assert.equal(await client.subscribe("a/b/c/#"), version === 5 ? 0x8f : 0x80);
        client.publish("a/b/c/d", "x");
        await one.closed(client, 0x90);
      }
      return 2;
    },
  },
  user_properties: {
    counter: "net.closed_by.quota_exceeded",
    settings: { user_properties: 2 },
    async run(one) {
      const client = await one.connect(5);
      const publish = (count: number): void => {
        const names = Array.from({ length: count }, (_, i) => [`name${i}`, "value"]);
        client.publish("t", "x", { properties: { userProperties: Object.fromEntries(names) } });
      };
      publish(2);
      await client.quiet();
      publish(3);
      await one.closed(client, 0x97);
      return 1;
    },
  },
  topic_aliases: {
    counter: "net.closed_by.topic_alias_invalid",
    settings: { topic_aliases: 2 },
    async run(one) {
      const client = await one.connect(5);
      client.publish("t", "x", { properties: { topicAlias: 2 } });
      await client.quiet();
      client.publish("t", "x", { properties: { topicAlias: 3 } });
      await one.closed(client, 0x94);
      return 1;
    },
  },
  max_qos: {
    counter: "net.closed_by.qos_not_supported",
    settings: { max_qos: 1 },
    async run(one) {
      for (const version of versions) {
        const client = await one.connect(version);
        assert.equal(await client.subscribe("t", 2), 1);
        client.publish("t", "x", { qos: 2, messageId: 1 });
        await one.closed(client, 0x9b);
      }
      return 2;
    },
  },
  retain_available: {
    counter: "net.closed_by.retain_not_supported",
    settings: { retain_available: false },
    async run(one) {
      for (const version of versions) {
        const client = await one.connect(version);
        client.publish("t", "x", { retain: true });
        await one.closed(client, 0x9a);
      }
      assert.equal(one.broker.router.retained.size, 0);
      return 2;
    },
  },
} satisfies Partial<Record<keyof Limits, LimitCase>>;

const otherCases = {
  outbox_messages: {
    counter: "net.publishes_refused",
    async run(one) {
      // How the room is counted: outbox.test.ts.
      const { cluster, router } = one.broker;
      router.setPeerRow(1, "away", rowValue(1, true));
      cluster.hasRoom = () => false;
      const four = await one.connect(4);
      const five = await one.connect(5);
      for (const client of [four, five]) client.publish("away", "x", { qos: 1, messageId: 7 });
      assert.equal((await five.expect("puback")).reasonCode, 0x97);
      await four.quiet();
      five.publish("away", "x", { qos: 2, messageId: 8 });
      assert.equal((await five.expect("pubrec")).reasonCode, 0x97);
      five.publish("away", "x");
      five.publish("elsewhere", "x", { qos: 1, messageId: 9 });
      assert.equal((await five.expect("puback")).reasonCode, 0x10);
      return 3;
    },
  },
  outbox_bytes: {
    counter: "net.publishes_refused",
    async run(one) {
      const { cluster, router } = one.broker;
      router.setPeerRow(1, "away", rowValue(1, true));
      cluster.hasRoom = (_peer?: number, bytes = 0) => bytes <= 100;
      const five = await one.connect(5);
      five.publish("away", long(50), { qos: 1, messageId: 1 });
      assert.equal((await five.expect("puback")).reasonCode ?? 0, 0);
      five.publish("away", long(101), { qos: 1, messageId: 2 });
      assert.equal((await five.expect("puback")).reasonCode, 0x97);
      return 1;
    },
  },
  retained_messages: {
    counter: "retained.refused_full",
    settings: { retained_messages: 1 },
    run: retainedFull,
  },
  retained_bytes: {
    counter: "retained.refused_full",
    settings: { retained_bytes: 1024 },
    run: retainedFull,
  },
  retained_ttl: {
    counter: "retained.expired",
    settings: { retained_ttl: 50 },
    async run(one) {
      const client = await one.connect(4);
      client.publish("t", "x", { retain: true });
      await client.quiet();
      await eventually(() => one.broker.router.retained.get("t")?.message === null, "its end");
      await client.subscribe("t");
      await client.quiet();
      return 1;
    },
  },
  session_expiry: {
    counter: "session.expiry_shortened",
    settings: { session_expiry: 60_000 },
    async run(one) {
      const ask = async (seconds: number): Promise<number | undefined> => {
        const five = await one.open();
        const properties = { sessionExpiryInterval: seconds };
        return (await five.handshake({ version: 5, properties })).properties?.sessionExpiryInterval;
      };
      assert.equal(await ask(61), 60);
      assert.equal(await ask(60), undefined);
      await one.connect(4, { clientId: "four", clean: false });
      assert.equal(one.broker.frontEnd.sessions.get("four")?.expiryMs, 60_000);
      return 1;
    },
  },
  connections: {
    counter: "net.connections_refused",
    connectionsMax: 2,
    async run(one) {
      // Both ask at once for the last place; none waits for a CONNECT to be counted.
      await one.connect(4);
      const [a, b] = await Promise.all([one.open(), one.open()]);
      await eventually(() => a.isClosed !== b.isClosed, "one of two to be closed");
      const third = await one.open();
      await third.closed();
      (a.isClosed ? b : a).destroy();
      await eventually(() => one.broker.frontEnd.connected === 1, "a place to be free");
      await one.connect(5);
      return 2;
    },
  },
} satisfies Partial<Record<keyof Limits, LimitCase>>;

/** The first message fills the store; both come in one read, so that a late reservation would show. */
async function retainedFull(one: LimitTest): Promise<number> {
  const watcher = await one.connect(4);
  await watcher.subscribe("#");
  for (const version of versions) {
    const client = await one.connect(version);
    const options = { qos: 1, retain: true } as const;
    client.publish("first", long(900), { ...options, messageId: 1 });
    client.publish("second", long(900), { ...options, messageId: 2 });
    assert.equal((await client.expect("puback")).reasonCode ?? 0, 0);
    assert.equal((await client.expect("puback")).reasonCode ?? 0, version === 5 ? 0x97 : 0);
    assert.equal((await watcher.expect("publish")).topic, "first");
    // MQTT 3 cannot be told that it was refused, so it is delivered; MQTT 5 may send it again.
    if (version === 4) assert.equal((await watcher.expect("publish")).topic, "second");
    await watcher.quiet();
    client.publish("second", long(900), { retain: true });
    assert.equal((await watcher.expect("publish")).topic, "second");
    assert.equal(one.broker.router.retained.get("second"), undefined);
  }
  assert.equal(one.metric("net.publishes_refused"), 1);
  return 4;
}

const cases: Record<keyof Limits, LimitCase> = {
  ...{ ...packetCases, ...queueCases, ...otherCases, ...channelCases },
};

for (const [name, limit] of Object.entries(cases)) {
  test(`limits.${name}`, async (t) => {
    const one = await LimitTest.begin(t, limit);
    const expected = await limit.run(one);
    assert.equal(one.metric(limit.counter), expected, limit.counter);
  });
}

test("docs/limits.md lists every limit, its default and its counter", () => {
  const text = readFileSync(new URL("../../docs/limits.md", import.meta.url), "utf8");
  const rows = new Map<string, string>();
  for (const line of text.split("\n")) {
    const name = /^\| `limits\.(\w+)` \|/.exec(line)?.[1];
    if (name !== undefined) rows.set(name, line);
  }
  assert.deepEqual([...rows.keys()], Object.keys(configSchema.parse({}).limits));
  for (const [name, { counter }] of Object.entries(cases)) {
    assert.ok(rows.get(name)?.includes(`\`${counter}\``), `limits.${name}: ${counter}`);
  }
});
