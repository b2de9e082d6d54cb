/** PUBLISH, SUBSCRIBE and their answers, byte by byte, in both versions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { MqttClient } from "../../support/mqtt-client.js";
import { both, type Edition, field, kept, none, packet } from "./both.js";

const hexOf = (bytes: readonly number[]): string => Buffer.from(bytes).toString("hex");

/** PUBACK when nobody subscribes: MQTT 5.0 has a code for it, which PUBREC may leave out. */
const alone = (version: Edition): string => (version === 5 ? "10" : "");

async function take(client: MqttClient, count: number): Promise<string[]> {
  const found: string[] = [];
  for (let i = 0; i < count; i++) found.push((await client.expect("publish")).payload.toString());
  return found;
}

both(
  "each QoS has its answer, with the id it came with, and then is free [MQTT-3.3.4-1, 2.2.1-5, 3.4.2-1, 3.5.2-1, 3.7.2-1, 4.3.2-4, 4.3.2-5, 4.3.3-8, 4.3.3-11, 4.3.3-12]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const client = await MqttClient.connect(t, port, { version });
    const code = alone(version);
    const ack = (type: string, id: string, reason: string): string =>
      `${type}0${2 + reason.length / 2}${id}${reason}`;
    for (let round = 0; round < 2; round++) {
      client.hex = "";
      client.raw(packet(0x30, field("t"), none(version), [1]));
      client.raw(packet(0x32, field("t"), [0x12, 0x34], none(version), [1]));
      client.raw(packet(0x34, field("t"), [0xff, 0xff], none(version), [1]));
      await client.expect("puback");
      await client.expect("pubrec");
      client.raw(packet(0x62, [0xff, 0xff]));
      await client.expect("pubcomp");
      assert.equal(
        client.hex,
        ack("40", "1234", code) + ack("50", "ffff", "") + ack("70", "ffff", ""),
      );
    }
  },
);

both(
  "the server's PUBLISH: unused ids, no DUP, open until it is answered [MQTT-2.2.1-4, 2.2.2-1, 3.3.1-2, 4.3.1-1, 4.3.2-1..3, 4.3.3-1..5, 3.6.2-1]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const client = await MqttClient.connect(t, port, { version });
    const publisher = await MqttClient.connect(t, port);
    await client.subscribe("#", 2);
    client.hex = "";
    for (const qos of [0, 1, 2, 1] as const) {
      publisher.publish("t", "x", { qos, messageId: 1 + qos });
      await client.expect("publish");
    }
    const sent = (first: number, id: number): string =>
      hexOf(packet(first, field("t"), first === 0x30 ? [] : [0, id], none(version), [0x78]));
    assert.equal(client.hex, sent(0x30, 0) + sent(0x32, 1) + sent(0x34, 2) + sent(0x32, 3));
    client.hex = "";
    client.raw([...packet(0x40, [0, 1]), ...packet(0x50, [0, 2])]);
    await client.expect("pubrel");
    client.raw(packet(0x70, [0, 2]));
    await client.quiet();
    assert.equal(client.hex, "62020002" + "d000");
  },
);

both(
  "on resume what is open goes out again with DUP, its id and order, and else never [MQTT-3.3.1-1, 4.4.0-1, 4.3.2-3, 4.3.3-3, 4.3.3-5, 4.3.3-6]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port);
    const first = await MqttClient.connect(t, port, kept(version, "c"));
    await first.subscribe("t", 2);
    for (const qos of [1, 2, 2] as const) {
      publisher.publish("t", "x", { qos, messageId: 1 + qos });
      await first.expect("publish");
      await publisher.next();
      if (qos === 2) {
        publisher.ack("pubrel", 3);
        await publisher.expect("pubcomp");
      }
    }
    first.ack("pubrec", 2);
    await first.expect("pubrel");
    await first.quiet();
    first.destroy();
    const back = await MqttClient.connect(t, port, kept(version, "c"));
    const all = [await back.next(), await back.next(), await back.next()];
    // Which kind goes first is open; within each the order holds.
    const publishes = all.flatMap((one) =>
      one.cmd === "publish" ? [[one.messageId, one.qos, one.dup]] : [],
    );
    assert.deepEqual(publishes, [
      [1, 1, true],
      [3, 2, true],
    ]);
    const pubrels = all.flatMap((one) => (one.cmd === "pubrel" ? [one.messageId] : []));
    assert.deepEqual(pubrels, [2]);
    await back.quiet();
  },
);

both(
  "SUBACK and UNSUBACK: the id, a code for each filter in order, granted QoS [MQTT-2.2.1-6, 3.8.4-1, 3.8.4-2, 3.8.4-5..7, 3.9.3-1, 3.9.3-2, 3.10.4-4..6, 3.11.3-1, 3.11.3-2]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const client = await MqttClient.connect(t, port, { version });
    client.hex = "";
    const filters = [field("a"), [2], field("b/+"), [0], field("a"), [1], field("#"), [1]];
    client.raw(packet(0x82, [0x12, 0x34], none(version), ...filters));
    await client.expect("suback");
    assert.equal(client.hex, hexOf(packet(0x90, [0x12, 0x34], none(version), [2, 0, 1, 1])));
    client.hex = "";
    const names = [field("a"), field("A"), field("b/+"), field("b/#")];
    client.raw(packet(0xa2, [0xab, 0xcd], none(version), ...names));
    await client.expect("unsuback");
    const codes = version === 5 ? [0, 0x11, 0, 0x11] : [];
    assert.equal(client.hex, hexOf(packet(0xb0, [0xab, 0xcd], none(version), codes)));
  },
);

both(
  "UNSUBSCRIBE: nothing new, but what is under way is completed [MQTT-3.10.4-1..3]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port);
    const client = await MqttClient.connect(t, port, { version });
    await client.subscribe("t", 2);
    publisher.publish("t", "before", { qos: 2, messageId: 1 });
    const { messageId = 0 } = await client.expect("publish");
    client.send({ cmd: "unsubscribe", messageId: 5, unsubscriptions: ["t"] });
    await client.expect("unsuback");
    publisher.publish("t", "after", { qos: 1, messageId: 2 });
    await publisher.expect("pubrec");
    await publisher.expect("puback");
    client.ack("pubrec", messageId);
    await client.expect("pubrel");
    client.ack("pubcomp", messageId);
    await client.quiet();
  },
);

both(
  "an equal filter again: retained messages again, one copy of the others [MQTT-3.8.4-3, 3.8.4-4, 3.3.1-9]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port);
    publisher.publish("t", "kept", { retain: true });
    await publisher.quiet();
    const client = await MqttClient.connect(t, port, { version });
    for (let round = 0; round < 2; round++) {
      await client.subscribe("t", 1);
      const got = await client.expect("publish");
      assert.deepEqual([got.payload.toString(), got.retain], ["kept", true]);
    }
    publisher.publish("t", "live", { qos: 1, messageId: 1 });
    const live = await client.expect("publish");
    assert.deepEqual([live.payload.toString(), live.retain, live.qos], ["live", false, 1]);
    await client.quiet();
  },
);

both(
  "an empty retained publish passes, removes and is not kept; one without RETAIN changes nothing [MQTT-3.3.1-5..8]",
  async (t, version) => {
    const { port, router } = await testBroker(t);
    const watcher = await MqttClient.connect(t, port);
    await watcher.subscribe("t");
    const client = await MqttClient.connect(t, port, { version });
    const steps: [string, boolean, number][] = [
      ["", true, 0],
      ["one", true, 1],
      ["two", true, 1],
      ["", false, 1],
      ["three", false, 1],
    ];
    for (const [payload, retain, size] of steps) {
      client.publish("t", payload, { retain });
      assert.deepEqual(await take(watcher, 1), [payload]);
      assert.equal(router.retained.size, size);
    }
    const late = await MqttClient.connect(t, port, { version });
    await late.subscribe("t");
    assert.deepEqual(await take(late, 1), ["two"]);
    client.publish("t", "", { retain: true });
    assert.deepEqual(await take(watcher, 1), [""]);
    assert.equal(router.retained.size, 0);
  },
);

both(
  "a client gets what matches its filters, as it is written [MQTT-3.3.2-3, 4.7.3-4, 4.7.2-1, 1.5.4-3]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port, { version });
    // Equal to the eye: composed and decomposed, upper and lower case, with a byte order mark, with a space.
    const topics = [
      "caf\u00e9",
      "cafe\u0301",
      "Caf\u00e9",
      "\ufeffcaf\u00e9",
      "caf\u00e9 ",
      "/x",
      "x",
      "x/",
      "$x/y",
    ];
    for (const filter of [...topics, "+", "+/x", "x/+", "#", "+/y", "$x/#"]) {
      const client = await MqttClient.connect(t, port, { version });
      await client.subscribe(filter);
      for (const topic of topics) publisher.publish(topic, "x");
      await publisher.quiet();
      client.raw([0xc0, 0]);
      const got: string[] = [];
      for (let one = await client.next(); one.cmd === "publish"; one = await client.next()) {
        got.push(one.topic);
      }
      assert.deepEqual(
        got,
        topics.filter((topic) => matches(filter, topic)),
        filter,
      );
      client.destroy();
    }
  },
);

/** What the specification says, of these filters. */
function matches(filter: string, topic: string): boolean {
  if (/^[+#]/.test(filter) && topic.startsWith("$")) return false;
  const escaped = filter.replace(/[$]/g, "\\$&").replace(/\+/g, "[^/]*").replace(/\/#$/, "(/.*)?");
  return new RegExp(`^${escaped.replace(/^#$/, ".*")}$`, "s").test(topic);
}

both(
  "messages of one client, topic and QoS arrive in their order [MQTT-4.6.0-5, 4.6.0-6]",
  async (t, version) => {
    const { port } = await testBroker(t);
    const publisher = await MqttClient.connect(t, port, { version });
    const client = await MqttClient.connect(t, port, { version });
    await client.subscribe("#", 2);
    const count = 30;
    for (let i = 0; i < count; i++) {
      const qos = (i % 3) as 0 | 1 | 2; // 0 to 2
      publisher.publish("any/topic", `${i}`, { qos, messageId: 1 + i });
    }
    const got = (await take(client, count)).map(Number);
    for (const qos of [0, 1, 2]) {
      const mine = got.filter((i) => i % 3 === qos);
      assert.deepEqual(
        mine,
        [...mine].sort((a, b) => a - b),
      );
      assert.equal(mine.length, count / 3);
    }
  },
);

test("v5: the payload format and all other properties go on as they came [MQTT-3.3.2-4, 3.3.2-15..18, 3.3.2-20]", async (t) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port, { version: 5 });
  const client = await MqttClient.connect(t, port, { version: 5 });
  await client.subscribe("t");
  const user = [0x26, ...field("b"), ...field("1"), 0x26, ...field("a"), ...field("2")];
  const more = [0x01, 1, 0x03, ...field("text"), 0x08, ...field("r"), 0x09, ...field([0, 255])];
  const properties = [...more, ...user];
  const bytes = packet(0x30, field("t"), [properties.length, ...properties], [0x78]);
  client.hex = "";
  publisher.raw(bytes);
  await client.expect("publish");
  assert.equal(client.hex, hexOf(bytes));
});

both("a share group's member gets the QoS it was granted [MQTT-4.8.2-3]", async (t, version) => {
  const { port } = await testBroker(t);
  const publisher = await MqttClient.connect(t, port);
  for (const qos of [0, 1, 2] as const) {
    const client = await MqttClient.connect(t, port, { version });
    assert.equal(await client.subscribe(`$share/g${qos}/t`, qos), qos);
    publisher.publish("t", "x", { qos: 2, messageId: 9 });
    assert.equal((await client.expect("publish")).qos, qos);
    client.destroy();
    await publisher.expect("pubrec");
    publisher.ack("pubrel", 9);
    await publisher.expect("pubcomp");
  }
});
