/** Several listeners at once: each has its own limits, and they open together or not at all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { onlyAddress, openTcp, portOf } from "./support.js";

const small = { name: "small", kind: "tcp", port: 0, max_connections: 2 };

test("each listener has its own number of connections, and tells it", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { more: [small] } } });
  const port = portOf(broker, "small");
  const first = await MqttClient.connect(t, port);
  await MqttClient.connect(t, port);
  const third = await MqttClient.open(t, port);
  await third.closed();
  assert.equal(broker.frontEnd.counters.connectionsRefused, 1);
  await MqttClient.connect(t, broker.port);
  const numbers = (): unknown =>
    broker.frontEnd.listeners().map(({ name, connections }) => [name, connections]);
  assert.deepEqual(numbers(), [
    ["tcp", 1],
    ["small", 2],
  ]);
  first.destroy();
  await eventually(() => broker.frontEnd.connected === 2, "a place");
  await MqttClient.connect(t, port);
});

test("limits.connections holds over all, with those that are in a handshake", async (t) => {
  const proxied = { proxy_protocol: true, trusted_proxies: ["127.0.0.1"] };
  const more = [{ name: "proxied", kind: "tcp", port: 0, ...proxied }];
  const broker = await testBroker(t, { settings: { listeners: { more } }, connectionsMax: 2 });
  const waiting = await openTcp(t, portOf(broker, "proxied"));
  await eventually(() => broker.frontEnd.doors.pending === 1, "the handshake");
  await MqttClient.connect(t, broker.port);
  const third = await MqttClient.open(t, broker.port);
  await third.closed();
  waiting.destroy();
  await eventually(() => broker.frontEnd.doors.pending === 0, "the end");
  await MqttClient.connect(t, broker.port);
});

test("clients of all listeners meet in one broker", async (t) => {
  const more = [
    { name: "a", kind: "tcp", port: 0, bind: "::1" },
    { name: "b", kind: "ws", port: 0 },
  ];
  const broker = await testBroker(t, {
    settings: { listeners: { tcp: { enabled: false }, more } },
  });
  assert.deepEqual(
    broker.frontEnd.listeners().map(({ name, kind, address }) => [name, kind, address]),
    [
      ["a", "mqtt", "::1"],
      ["b", "ws", "127.0.0.1"],
    ],
  );
  await assert.rejects(MqttClient.connect(t, portOf(broker, "a")));
});

test("an address of IPv6 is told in brackets", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { tcp: { port: 0, bind: "::" } } } });
  await MqttClient.connect(t, broker.port);
  assert.match(onlyAddress(broker), /^\[::ffff:127\.0\.0\.1\]:\d+$/);
});

test("when one port is taken the node does not start, says which, and leaves nothing open", async (t) => {
  const taken = await testBroker(t);
  const free = await testBroker(t);
  const { port } = free;
  await free.stop();
  const listeners = { tcp: { port }, ws: { enabled: true, port: taken.port } };
  await assert.rejects(
    testBroker(t, { settings: { listeners } }),
    new RegExp(
      `the listener ws cannot listen on 127\\.0\\.0\\.1 port ${taken.port}: another program has ` +
        "this port, choose one with --set listeners\\.ws\\.port=N",
    ),
  );
  await assert.rejects(openTcp(t, port), /ECONNREFUSED/);
});
