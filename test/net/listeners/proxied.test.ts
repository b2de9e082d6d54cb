/** Connections that a proxy hands on: whose they are, and who may say so. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { Authority, LogLines, onlyAddress, openTcp, openTls, portOf } from "./support.js";

const proxied = { port: 0, proxy_protocol: true, trusted_proxies: ["127.0.0.0/8"] };
const line = "PROXY TCP4 203.0.113.7 127.0.0.1 5000 1883\r\n";
const local = Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex");

test("the client's address is the one that the proxy gives, in listings and logs", async (t) => {
  const log = new LogLines();
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } }, log });
  const client = await MqttClient.open(t, broker.port);
  client.raw(Buffer.from(line));
  await client.handshake({ clientId: "c" });
  assert.equal(onlyAddress(broker), "203.0.113.7:5000");
  assert.ok(log.lines.some((entry) => /client connected.*203\.0\.113\.7:5000/.test(entry)));
  await client.subscribe("t");
  client.publish("t", "x");
  assert.equal((await client.expect("publish")).topic, "t");
});

test("header and CONNECT may come in one piece, or byte by byte", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } } });
  const packet = Buffer.from("100d00044d51545404020000000163", "hex");
  for (const size of [1000, 1]) {
    const socket = await openTcp(t, broker.port);
    const answers: Buffer[] = [];
    socket.on("data", (chunk) => answers.push(chunk));
    const bytes = Buffer.concat([Buffer.from(line), packet]);
    for (let at = 0; at < bytes.length; at += size) {
      socket.write(bytes.subarray(at, at + size));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(() => Buffer.concat(answers).length === 4, "CONNACK");
    assert.equal(Buffer.concat(answers).toString("hex"), "20020000");
    assert.equal(onlyAddress(broker), "203.0.113.7:5000");
    socket.destroy();
    await eventually(() => broker.frontEnd.connected === 0, "the client to be gone");
  }
});

test("a health check leaves no error, whether it says LOCAL or nothing", async (t) => {
  const log = new LogLines();
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } }, log });
  for (const bytes of [local, Buffer.alloc(0)]) {
    const socket = await openTcp(t, broker.port);
    socket.end(bytes);
    await new Promise((resolve) => socket.once("close", resolve));
  }
  await eventually(() => broker.frontEnd.doors.pending + broker.frontEnd.connected === 0, "end");
  const { proxyMalformed, proxyUntrusted, handshakesLate } = broker.frontEnd.doors.counters;
  assert.deepEqual([proxyMalformed, proxyUntrusted, handshakesLate], [0, 0, 0]);
  assert.deepEqual(
    log.lines.filter((entry) => !entry.startsWith("debug")),
    [],
  );
});

test("LOCAL leaves the proxy's own address", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } } });
  const client = await MqttClient.open(t, broker.port);
  client.raw(local);
  await client.handshake();
  assert.match(onlyAddress(broker), /^127\.0\.0\.1:\d+$/);
});

test("no header, or a wrong one, is refused and counted", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } } });
  for (const bytes of ["\x10\x0c\x00\x04MQTT", "PROXY TCP4 a b 1 2\r\n"]) {
    const client = await MqttClient.open(t, broker.port);
    client.raw(Buffer.from(bytes, "latin1"));
    await client.closed();
  }
  assert.equal(broker.frontEnd.doors.counters.proxyMalformed, 2);
  assert.equal(broker.frontEnd.counters.connectionsOpened, 0);
});

test("whoever is no trusted proxy is refused and counted, with a right header too", async (t) => {
  const tcp = { ...proxied, trusted_proxies: ["10.0.0.0/8", "::1"] };
  const broker = await testBroker(t, { settings: { listeners: { tcp } } });
  const client = await MqttClient.open(t, broker.port);
  client.raw(Buffer.from(line));
  await client.closed();
  assert.equal(broker.frontEnd.doors.counters.proxyUntrusted, 1);
});

test("a header that does not come in time is not waited for", async (t) => {
  const settings = { listeners: { tcp: proxied }, limits: { connect_timeout: 100 } };
  const broker = await testBroker(t, { settings });
  const client = await MqttClient.open(t, broker.port);
  client.raw(Buffer.from("PROXY"));
  await client.closed();
  assert.equal(broker.frontEnd.doors.counters.handshakesLate, 1);
  assert.equal(broker.frontEnd.doors.pending, 0);
});

test("behind a header there may be TLS, also with its first bytes right after it", async (t) => {
  const authority = new Authority(t);
  const tls = { ...proxied, ...authority.issue("/CN=localhost"), enabled: true };
  const broker = await testBroker(t, { settings: { listeners: { tls } } });
  const socket = await openTcp(t, portOf(broker, "tls"));
  socket.cork();
  socket.write(line);
  // With no time between them, header and ClientHello leave in one segment.
  process.nextTick(() => process.nextTick(() => setImmediate(() => socket.uncork())));
  const secure = await openTls(t, 0, { socket, ...authority.clientOptions() });
  const client = MqttClient.on(t, secure);
  await client.handshake();
  assert.equal(onlyAddress(broker), "203.0.113.7:5000");
});

test("a node that stops does not wait for handshakes", async (t) => {
  const broker = await testBroker(t, { settings: { listeners: { tcp: proxied } } });
  await openTcp(t, broker.port);
  await eventually(() => broker.frontEnd.doors.pending === 1, "the connection");
  await broker.stop();
});
