/** MQTT over WebSocket [MQTT-6], also encrypted: what is upgraded, what is refused, and what passes. */
import assert from "node:assert/strict";
import { request } from "node:http";
import { type TestContext, test } from "node:test";
import mqttPacket from "mqtt-packet";
import type { WebSocket } from "ws";
import { type Settings, type TestBroker, testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import {
  Authority,
  onlyAddress,
  openTcp,
  openWebSocket,
  portOf,
  webSocketClient,
} from "./support.js";

async function start(
  t: TestContext,
  settings: object = {},
  limits: Settings["limits"] = {},
): Promise<{ broker: TestBroker; url: string; port: number }> {
  const listeners = { ws: { enabled: true, port: 0, ...settings } };
  const broker = await testBroker(t, { settings: { listeners, limits } });
  const port = portOf(broker, "ws");
  return { broker, port, url: `ws://127.0.0.1:${port}/mqtt` };
}

const connectBytes = mqttPacket.generate({
  ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 0 },
  clientId: "c",
});
const ping = Buffer.of(0xc0, 0);

/** All bytes that came so far. */
function received(webSocket: WebSocket): () => string {
  const chunks: Buffer[] = [];
  webSocket.on("message", (data: Buffer) => chunks.push(data));
  return () => Buffer.concat(chunks).toString("hex");
}

test("both subprotocols are taken, the one without a version first, and nothing is compressed [MQTT-6.0.0-4]", async (t) => {
  const { broker, url } = await start(t);
  const offers: [string[], string][] = [
    [["mqtt"], "mqtt"],
    [["mqttv3.1"], "mqttv3.1"],
    [["mqttv3.1", "chat", "mqtt"], "mqtt"],
  ];
  for (const [offered, chosen] of offers) {
    const webSocket = await openWebSocket(t, `${url}?token=x`, offered);
    assert.equal(webSocket.protocol, chosen);
    assert.equal(webSocket.extensions, "");
    const client = webSocketClient(t, webSocket);
    await client.handshake({ version: 5 });
    client.destroy();
  }
  assert.equal(broker.frontEnd.counters.connectionsOpened, 3);
});

test("without a subprotocol of MQTT, at another path, or without an upgrade: refused [MQTT-6.0.0-3]", async (t) => {
  const { broker, url, port } = await start(t);
  await assert.rejects(openWebSocket(t, url, []), /Unexpected server response: 400/);
  await assert.rejects(openWebSocket(t, url, ["mqtt5", "chat"]), /response: 400/);
  await assert.rejects(openWebSocket(t, url.replace("/mqtt", "/"), ["mqtt"]), /response: 404/);
  await assert.rejects(openWebSocket(t, `${url}/x`), /response: 404/);
  const status = (path: string): Promise<number | undefined> =>
    new Promise((resolve, reject) => {
      const call = request({ port, host: "127.0.0.1", path }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      call.on("error", reject);
      call.end();
    });
  assert.equal(await status("/mqtt"), 426);
  assert.equal(await status("/"), 404);
  assert.equal(broker.frontEnd.doors.counters.webSocketsRefused, 6);
  assert.equal(broker.frontEnd.counters.connectionsOpened, 0);
});

test("several packets in one message, and one packet over several [MQTT-6.0.0-2]", async (t) => {
  const { url } = await start(t);
  const together = await openWebSocket(t, url);
  const first = received(together);
  together.send(Buffer.concat([connectBytes, ping, ping]));
  await eventually(() => first() === "20020000d000d000", "three answers");
  const apart = await openWebSocket(t, url);
  const second = received(apart);
  for (const byte of Buffer.concat([connectBytes, ping])) apart.send(Buffer.of(byte));
  await eventually(() => second() === "20020000d000", "two answers");
});

test("a message may come in fragments, with pings of WebSocket between them", async (t) => {
  const { url } = await start(t);
  const webSocket = await openWebSocket(t, url);
  const answers = received(webSocket);
  let pongs = 0;
  webSocket.on("pong", () => pongs++);
  webSocket.send(connectBytes.subarray(0, 3), { fin: false });
  webSocket.ping("x");
  webSocket.send(Buffer.alloc(0), { fin: false });
  webSocket.send(connectBytes.subarray(3), { fin: true });
  await eventually(() => answers() === "20020000" && pongs === 1, "CONNACK and pong");
});

test("a text message closes the connection with 1003 [MQTT-6.0.0-1]", async (t) => {
  const { broker, url } = await start(t);
  const webSocket = await openWebSocket(t, url);
  webSocket.send(connectBytes);
  await eventually(() => broker.frontEnd.sessions.size === 1, "the session");
  const code = new Promise((resolve) => webSocket.once("close", resolve));
  webSocket.send("text");
  webSocket.send(ping);
  assert.equal(await code, 1003);
  await eventually(() => broker.frontEnd.connected === 0, "the end");
  assert.equal(broker.frontEnd.doors.counters.webSocketsFailed, 1);
  assert.equal(broker.frontEnd.counters.closedBy["connection lost"], 1);
});

test("a message over the limit closes with 1009, whole or in fragments", async (t) => {
  const { broker, url } = await start(t, { max_message: "64KiB" });
  const half = Buffer.alloc(40_000);
  for (const send of [
    (webSocket: WebSocket) => webSocket.send(Buffer.alloc(70_000)),
    (webSocket: WebSocket) => {
      webSocket.send(half, { fin: false });
      webSocket.send(half, { fin: true });
    },
  ]) {
    const webSocket = await openWebSocket(t, url);
    webSocket.send(connectBytes);
    const code = new Promise((resolve) => webSocket.once("close", resolve));
    send(webSocket);
    assert.equal(await code, 1009);
  }
  await eventually(() => broker.frontEnd.connected === 0, "the end");
  assert.equal(broker.frontEnd.doors.counters.webSocketsFailed, 2);
});

test("very many fragments close the connection, small as they are", async (t) => {
  const { broker, url } = await start(t);
  const webSocket = await openWebSocket(t, url);
  webSocket.send(connectBytes);
  webSocket.on("error", () => undefined);
  const closed = new Promise((resolve) => webSocket.once("close", resolve));
  for (let i = 0; i < 5000; i++) webSocket.send(Buffer.of(0xc0), { fin: false });
  await closed;
  assert.equal(broker.frontEnd.doors.counters.webSocketsFailed, 1);
});

test("before CONNECT a stranger cannot send a large message", async (t) => {
  const { broker, url } = await start(t, {}, { max_packet_before_connect: 10_000 });
  const webSocket = await openWebSocket(t, url);
  webSocket.on("error", () => undefined);
  const closed = new Promise((resolve) => webSocket.once("close", resolve));
  webSocket.send(Buffer.alloc(500_000));
  await closed;
  await eventually(() => broker.frontEnd.connected === 0, "the end");
  assert.equal(broker.frontEnd.doors.counters.webSocketsFailed, 1);
});

test("large messages pass both ways, to a reader that is slow as well", async (t) => {
  const { url } = await start(t);
  const client = webSocketClient(t, await openWebSocket(t, url));
  await client.handshake();
  await client.subscribe("t", 1);
  client.pause();
  for (let id = 1; id <= 20; id++) {
    client.publish("t", Buffer.alloc(300_000, id), { qos: 1, messageId: id });
  }
  client.resume();
  let publishes = 0;
  while (publishes < 20) {
    const packet = await client.next();
    if (packet.cmd !== "publish") continue;
    publishes++;
    assert.equal(packet.payload.length, 300_000);
    assert.equal(packet.payload[299_999], publishes);
    client.ack("puback", packet.messageId ?? 0);
  }
});

test("a client that publishes faster than it is answered is paused, and loses nothing", async (t) => {
  const { broker, url } = await start(t, {}, { receive_maximum: 4, inflight_bytes: 65_536 });
  const holder = await MqttClient.connect(t, broker.port, { clientId: "slow", clean: true });
  await holder.subscribe("t", 1);
  const client = webSocketClient(t, await openWebSocket(t, url));
  await client.handshake();
  for (let id = 1; id <= 200; id++) client.publish("t", `${id}`, { qos: 1, messageId: id });
  for (let id = 1; id <= 200; id++) {
    const packet = await holder.expect("publish");
    assert.equal(packet.payload.toString(), `${id}`);
    holder.ack("puback", packet.messageId ?? 0);
  }
  for (let id = 1; id <= 200; id++) assert.equal((await client.expect("puback")).messageId, id);
});

test("a client that just goes leaves its will; DISCONNECT closes the WebSocket in order", async (t) => {
  const { broker, url } = await start(t);
  const watcher = await MqttClient.connect(t, broker.port);
  await watcher.subscribe("gone");
  const will = { topic: "gone", payload: Buffer.from("x"), qos: 0, retain: false } as const;
  const lost = await openWebSocket(t, url);
  await webSocketClient(t, lost).handshake({ will });
  lost.terminate();
  await watcher.expect("publish");
  const polite = await openWebSocket(t, url);
  const client = webSocketClient(t, polite);
  await client.handshake({ will });
  const code = new Promise((resolve) => polite.once("close", resolve));
  client.send({ cmd: "disconnect" });
  assert.equal(await code, 1000);
  await watcher.quiet();
});

test("secure WebSocket: TLS with client certificates below, and the proxy's word for the address", async (t) => {
  const authority = new Authority(t);
  const wss = {
    ...{ enabled: true, port: 0, ...authority.issue("/CN=localhost"), ca: authority.certificate },
    ...{ client_certificates: "required", use_identity_as_username: true },
  };
  const broker = await testBroker(t, { settings: { listeners: { wss } } });
  const url = `wss://127.0.0.1:${portOf(broker, "wss")}/mqtt`;
  const options = authority.clientOptions(authority.issue("/CN=browser"));
  const client = webSocketClient(t, await openWebSocket(t, url, ["mqtt"], options));
  await client.handshake({ clientId: "c" });
  assert.equal(broker.frontEnd.sessions.get("c")?.user, "browser");
  await client.subscribe("t", 1);
  client.publish("t", Buffer.alloc(100_000), { qos: 1, messageId: 1 });
  const cmds = [(await client.next()).cmd, (await client.next()).cmd].sort();
  assert.deepEqual(cmds, ["puback", "publish"]);
  const nobody = openWebSocket(t, url, ["mqtt"], authority.clientOptions());
  await assert.rejects(nobody);
});

test("behind a proxy's header there may be WebSocket", async (t) => {
  const { broker, port } = await start(t, {
    proxy_protocol: true,
    trusted_proxies: ["127.0.0.1"],
  });
  const socket = await openTcp(t, port);
  const key = Buffer.alloc(16).toString("base64");
  socket.write(
    "PROXY TCP4 203.0.113.7 127.0.0.1 5000 8083\r\nGET /mqtt HTTP/1.1\r\nHost: x\r\n" +
      "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
      `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n`,
  );
  // A masked binary frame; the mask is 0.
  const head = Buffer.of(0x82, 0x80 | connectBytes.length, 0, 0, 0, 0);
  socket.write(Buffer.concat([head, connectBytes]));
  await eventually(() => broker.frontEnd.sessions.size === 1, "the session");
  assert.equal(onlyAddress(broker), "203.0.113.7:5000");
});

test("what is no HTTP, or has headers over 8 KiB, is cut off and counted", async (t) => {
  const { broker, port } = await start(t);
  for (const text of ["\x10\x0c\x00\x04MQTT", `GET /mqtt HTTP/1.1\r\nX: ${"x".repeat(9000)}`]) {
    const client = await MqttClient.open(t, port);
    client.raw(Buffer.from(text, "latin1"));
    await client.closed();
  }
  assert.equal(broker.frontEnd.doors.counters.webSocketsRefused, 2);
});

test("HTTP that never becomes a WebSocket is cut off in time", async (t) => {
  const { broker, port } = await start(t, {}, { connect_timeout: 100 });
  const client = await MqttClient.open(t, port);
  client.raw(Buffer.from("GET /mqtt HTTP/1.1\r\n"));
  await client.closed();
  assert.equal(broker.frontEnd.doors.counters.handshakesLate, 1);
});
