/** A client at one node whose session is at another: what it sees is what it would see with its session beside it. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type LinkedNode, linkedNodes } from "../support/linked-nodes.js";
import {
  type ConnectOptions,
  eventually,
  MqttClient,
  type Version,
} from "../support/mqtt-client.js";

const versions = [4, 5] as const;

/** A session at `a`, its client connected at `b`. */
interface Pair {
  readonly a: LinkedNode;
  readonly b: LinkedNode;
}

const kept = (version: Version, more: ConnectOptions = {}): ConnectOptions => ({
  ...{ version, clean: false, clientId: "c" },
  ...more,
  ...(version === 5 ? { properties: { sessionExpiryInterval: 600, ...more.properties } } : {}),
});

async function pair(t: TestContext): Promise<Pair> {
  const [a, b] = await linkedNodes(t, 2);
  assert.ok(a !== undefined && b !== undefined);
  return { a, b };
}

/** The client connects to `a`, subscribes, and comes back at `b`. */
async function moved(
  t: TestContext,
  { a, b }: Pair,
  version: Version,
  options: ConnectOptions = {},
): Promise<MqttClient> {
  const first = await MqttClient.connect(t, a.port, kept(version, options));
  await first.subscribe("t/#", 2);
  first.destroy();
  await eventually(
    () => a.frontEnd.sessions.get("c")?.channel === null,
    "the connection to be gone",
  );
  const second = await MqttClient.open(t, b.port);
  const connack = await second.handshake(kept(version, options));
  assert.equal(connack.sessionPresent, true);
  assert.equal(b.remote.nearSize, 1);
  assert.equal(a.remote.farSize, 1);
  assert.equal(b.frontEnd.sessions.size, 0);
  return second;
}

for (const version of versions) {
  test(`every QoS reaches a client whose session is elsewhere, in order, MQTT ${version}`, async (t) => {
    const nodes = await pair(t);
    const client = await moved(t, nodes, version);
    for (const node of [nodes.a, nodes.b]) {
      const publisher = await MqttClient.connect(t, node.port, { version });
      for (const qos of [0, 1, 2] as const) {
        publisher.publish("t/x", `m${qos}`, { qos, messageId: qos + 1 });
        const packet = await client.expect("publish");
        assert.equal(packet.payload.toString(), `m${qos}`);
        assert.equal(packet.qos, qos);
        const id = packet.messageId ?? 0;
        if (qos === 1) client.ack("puback", id);
        if (qos === 2) {
          client.ack("pubrec", id);
          await client.expect("pubrel");
          client.ack("pubcomp", id);
        }
      }
    }
    await eventually(
      () => nodes.a.frontEnd.sessions.get("c")?.window.inFlight === 0,
      "all to be acknowledged",
    );
  });
}
