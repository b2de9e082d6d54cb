/** Whatever bytes come: the connection closes or goes on, the node stays as it was. */
import assert from "node:assert/strict";
import { connect as connectSocket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

const v5 = { protocolVersion: 5 };
const samples: readonly Buffer[] = [
  mqttPacket.generate({
    cmd: "connect",
    protocolVersion: 5,
    clientId: "f",
    will: { topic: "w", payload: "x" },
  }),
  mqttPacket.generate({ cmd: "connect", protocolVersion: 4, clientId: "f", clean: false }),
  mqttPacket.generate(
    {
      cmd: "publish",
      topic: "a/b",
      payload: "x",
      qos: 1,
      dup: false,
      retain: true,
      messageId: 3,
      properties: { contentType: "x" },
    },
    v5,
  ),
  mqttPacket.generate(
    { cmd: "publish", topic: "a/b", payload: "x", qos: 2, dup: false, retain: false, messageId: 4 },
    v5,
  ),
  mqttPacket.generate(
    { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a/#", qos: 2 }] },
    v5,
  ),
  mqttPacket.generate({ cmd: "unsubscribe", messageId: 1, unsubscriptions: ["a/#"] }, v5),
  mqttPacket.generate({ cmd: "pubrel", messageId: 4, reasonCode: 0 }, v5),
  mqttPacket.generate({ cmd: "puback", messageId: 4, reasonCode: 0 }, v5),
  mqttPacket.generate({ cmd: "pingreq" }),
  mqttPacket.generate({ cmd: "disconnect", reasonCode: 4 }, v5),
];
const mutated = fc
  .tuple(
    fc.constantFrom(...samples),
    fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 2 }),
  )
  .map(([sample, changes]) => {
    const bytes = Buffer.from(sample);
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes;
  });
const random = fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes));

/** Sends bytes in some pieces, ends the stream, and waits until the broker has closed. */
function throwAt(port: number, pieces: readonly Buffer[]): Promise<void> {
  return new Promise((resolve) => {
    const socket = connectSocket({ port, host: "127.0.0.1" });
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
    for (const piece of pieces) socket.write(piece);
    socket.end();
  });
}

test("random bytes and changed packets never hurt the node", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const watcher = await MqttClient.connect(t, port, { clientId: "watcher" });
  const start = fc.constantFrom<readonly Buffer[]>([], samples.slice(0, 1), samples.slice(1, 2));
  const stream = fc.tuple(
    start,
    fc.array(fc.oneof(mutated, random), { minLength: 1, maxLength: 6 }),
  );
  await fc.assert(
    fc.asyncProperty(stream, async ([first, rest]) => {
      await throwAt(port, [...first, ...rest]);
      await watcher.quiet();
    }),
    { numRuns: 400, seed: 6 },
  );
  await eventually(() => frontEnd.connected === 1, "all others to be gone");
  assert.equal(frontEnd.counters.bugs, 0);
});

test("garbage before CONNECT is refused without waiting for more of it", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  for (const bytes of [
    "GET / HTTP/1.1\r\n\r\n",
    "\x16\x03\x01\x02\x00\x01",
    "\0\0\0\0",
    "\xff\xff",
  ]) {
    const client = await MqttClient.open(t, port);
    client.raw(Buffer.from(bytes, "latin1"));
    await client.closed();
    assert.deepEqual(client.packets, []);
  }
  assert.equal(frontEnd.counters.closedBy["protocol error"], 4);
  assert.equal(frontEnd.sessions.size, 0);
});

test("packets before CONNECT close the connection [MQTT-3.1.0-1]", async (t) => {
  const { port, router } = await testBroker(t);
  for (const sample of samples.slice(2)) {
    const client = await MqttClient.open(t, port);
    client.raw(sample);
    await client.closed();
  }
  assert.equal(router.retained.size, 0);
});

test("many half-sent packets hold no more than what was sent", async (t) => {
  const { port, frontEnd } = await testBroker(t);
  const before = process.memoryUsage().arrayBuffers;
  const clients: MqttClient[] = [];
  for (let i = 0; i < 200; i++) {
    const client = await MqttClient.connect(t, port, { version: 5 });
    // A PUBLISH of 1 MB is announced, ten bytes come.
    client.raw([0x30, 0xc0, 0x84, 0x3d, 0, 1, 0x74, 0, 1, 2, 3]);
    clients.push(client);
  }
  await eventually(() => frontEnd.counters.bytesIn > 200 * 11, "the bytes to come");
  assert.ok(process.memoryUsage().arrayBuffers - before < 64_000_000);
  for (const client of clients) client.destroy();
  await eventually(() => frontEnd.connected === 0, "all to be gone");
});
