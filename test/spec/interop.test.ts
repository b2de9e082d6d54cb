/** MQTT.js, as it comes, against the front end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import { testBroker } from "../support/front-end.js";
import { eventually } from "../support/mqtt-client.js";

interface Peer {
  readonly client: MqttClient;
  readonly got: string[];
  readonly sessionPresent: boolean;
}

async function open(port: number, options: IClientOptions): Promise<Peer> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0, ...options });
  const got: string[] = [];
  client.on("error", () => undefined);
  client.on("message", (topic, payload, packet) => {
    got.push(`${topic} ${payload} q${packet.qos}${packet.retain ? " retain" : ""}`);
  });
  const connack = await new Promise<{ sessionPresent: boolean }>((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
  });
  return { client, got, sessionPresent: connack.sessionPresent };
}

for (const protocolVersion of [4, 5] as const) {
  const name = protocolVersion === 5 ? "MQTT 5" : "MQTT 3.1.1";

  test(`${name}: QoS 0, 1 and 2, retained messages and wills`, async (t) => {
    const { port, frontEnd } = await testBroker(t);
    const subscriber = await open(port, { protocolVersion });
    t.after(() => subscriber.client.end(true));
    const granted = await subscriber.client.subscribeAsync({ "a/#": { qos: 2 }, will: { qos: 1 } });
    assert.deepEqual(
      granted.map(({ qos }) => qos),
      [2, 1],
    );
    const publisher = await open(port, {
      protocolVersion,
      will: { topic: "will", payload: Buffer.from("gone"), qos: 1, retain: false },
    });
    for (const qos of [0, 1, 2] as const) {
      await publisher.client.publishAsync(`a/${qos}`, "x".repeat(qos * 100), { qos, retain: true });
    }
    publisher.client.stream.destroy();
    await eventually(() => subscriber.got.length === 4, "four messages");
    assert.deepEqual(subscriber.got, [
      "a/0  q0",
      `a/1 ${"x".repeat(100)} q1`,
      `a/2 ${"x".repeat(200)} q2`,
      "will gone q1",
    ]);
    const late = await open(port, { protocolVersion });
    t.after(() => late.client.end(true));
    await late.client.subscribeAsync("a/+", { qos: 1 });
    await eventually(() => late.got.length === 2, "the retained messages");
    assert.deepEqual(late.got.sort(), [
      `a/1 ${"x".repeat(100)} q1 retain`,
      `a/2 ${"x".repeat(200)} q1 retain`,
    ]);
    const unsubscribed = await late.client.unsubscribeAsync("a/+");
    assert.ok(unsubscribed !== undefined || protocolVersion === 4);
    assert.equal(frontEnd.counters.receivedQos2, 1);
  });

  test(`${name}: a persistent session`, async (t) => {
    const { port } = await testBroker(t);
    const options: IClientOptions = {
      protocolVersion,
      clientId: "kept",
      clean: false,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}),
    };
    const first = await open(port, options);
    assert.equal(first.sessionPresent, false);
    await first.client.subscribeAsync("t", { qos: 2 });
    await first.client.endAsync();
    const publisher = await open(port, { protocolVersion });
    t.after(() => publisher.client.end(true));
    for (let i = 0; i < 50; i++)
      await publisher.client.publishAsync("t", `${i}`, { qos: i % 2 ? 1 : 2 });
    const again = await open(port, options);
    t.after(() => again.client.end(true));
    assert.equal(again.sessionPresent, true);
    await eventually(() => again.got.length === 50, "fifty messages");
    // MQTT.js hands out a QoS 2 message at its PUBREL; the order within each QoS is kept.
    for (const qos of [1, 2]) {
      const expected = Array.from({ length: 25 }, (_, i) => `t ${2 * i + (qos % 2)} q${qos}`);
      assert.deepEqual(
        again.got.filter((one) => one.endsWith(`q${qos}`)),
        expected,
      );
    }
  });
}
