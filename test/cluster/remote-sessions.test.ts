/** Real nodes: a persistent client leaves one and comes back at another, and finds its session as it was. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { type TestContext, test } from "node:test";
import { MqttClient } from "../support/mqtt-client.js";
import { startNodes, type TestNode, until } from "../support/nodes.js";

const options = {
  ...({ version: 5, clientId: "c", clean: false } as const),
  properties: { sessionExpiryInterval: 3600 },
};
const mosquittoMissing: string | false =
  spawnSync("mosquitto_sub", ["--help"]).error === undefined
    ? false
    : "mosquitto_sub is not installed";

async function three(
  t: TestContext,
  placement: "stay" | "follow" = "stay",
): Promise<[TestNode, TestNode, TestNode]> {
  const [a, b, c] = await startNodes(t, { nodes: 3, settings: [`session.placement=${placement}`] });
  assert.ok(a !== undefined && b !== undefined && c !== undefined);
  return [a, b, c];
}

/** Waits until no connection of the client is left at that node. */
async function left(node: TestNode): Promise<void> {
  await until("the end of the connection", async () => {
    return (await node.metric("net.connected")) === 0 || undefined;
  });
}

for (const placement of ["stay", "follow"] as const) {
  test(`QoS 2 in the midst of which the client moved is completed, the queue is in order: ${placement}`, async (t) => {
    const [a, b, c] = await three(t, placement);
    const first = await MqttClient.connect(t, a.mqttPort, options);
    await first.subscribe("t/#", 2);
    const publisher = await c.connect();
    await publisher.publish("t", "held", { qos: 2 });
    const held = await first.expect("publish");
    first.ack("pubrec", held.messageId ?? 0);
    await first.expect("pubrel");
    first.publish("own", "mine", { qos: 2, messageId: 77 });
    await first.expect("pubrec");
    first.destroy();
    await left(a);
    for (let i = 0; i < 100; i++)
      await publisher.publish("t", `${i}`, { qos: i % 2 === 0 ? 1 : 2 });

    const second = await MqttClient.open(t, b.mqttPort);
    assert.equal((await second.handshake(options)).sessionPresent, true);
    assert.equal((await second.expect("pubrel")).messageId, held.messageId);
    second.ack("pubcomp", held.messageId ?? 0);
    second.ack("pubrel", 77);
    const byQos: Record<number, string[]> = { 1: [], 2: [] };
    let isCompleted = false;
    while ((byQos[1]?.length ?? 0) + (byQos[2]?.length ?? 0) < 100 || !isCompleted) {
      const packet = await second.next();
      if (packet.cmd === "pubcomp") isCompleted = packet.messageId === 77;
      else if (packet.cmd === "pubrel") second.ack("pubcomp", packet.messageId ?? 0);
      else if (packet.cmd === "publish") {
        byQos[packet.qos]?.push(packet.payload.toString());
        second.ack(packet.qos === 1 ? "puback" : "pubrec", packet.messageId ?? 0);
      } else assert.fail(`unexpected ${packet.cmd}`);
    }
    const numbers = (rest: number) => Array.from({ length: 50 }, (_, i) => `${2 * i + rest}`);
    assert.deepEqual(byQos[1], numbers(0));
    assert.deepEqual(byQos[2], numbers(1));
    const over = placement === "follow" ? 0 : 1;
    assert.equal(await a.metric("remote.far"), over);
    assert.equal(await b.metric("remote.near"), over);
    const owner = placement === "follow" ? b : a;
    for (const node of [a, b]) {
      await until("where the session is", async () => {
        const { total } = await node.ctl<{ total: number }>("sessions list");
        return total === (node === owner ? 1 : 0) || undefined;
      });
    }
  });
}

test("its connection's node dies: the session goes on queueing; its own node dies: the client is closed", async (t) => {
  const [a, b, c] = await three(t);
  const first = await a.connect({ ...options, protocolVersion: 5 });
  await first.subscribe("t/#", 1);
  await first.mqtt.endAsync();
  const away = await MqttClient.connect(t, b.mqttPort, options);
  const publisher = await c.connect();
  await b.kill();
  await away.closed();
  await publisher.publish("t/1", "while b was down");
  const back = await MqttClient.open(t, c.mqttPort);
  assert.equal((await back.handshake(options)).sessionPresent, true);
  const waited = await back.expect("publish");
  assert.equal(waited.payload.toString(), "while b was down");
  back.ack("puback", waited.messageId ?? 0);
  await a.kill();
  assert.equal((await back.expect("disconnect")).reasonCode, 0x9c);
  await back.closed();
  const anew = await MqttClient.open(t, c.mqttPort);
  assert.equal((await anew.handshake(options)).sessionPresent, false);
});

test("mosquitto_sub comes back at another node", { skip: mosquittoMissing }, async (t) => {
  const [a, b, c] = await three(t);
  const sub = (node: TestNode, count: number): Promise<string> => {
    const words = ["-h", "127.0.0.1", "-p", `${node.mqttPort}`, "-c", "-i", "mosq", "-q", "2"];
    const child = spawn("mosquitto_sub", [...words, "-t", "m/#", "-C", `${count}`, "-W", "20"]);
    t.after(() => child.kill("SIGKILL"));
    let output = "";
    child.stdout.on("data", (bytes) => {
      output += bytes;
    });
    return new Promise((resolve) => child.once("close", () => resolve(output)));
  };
  const publisher = await c.connect();
  const first = sub(a, 1);
  await until("its subscription", async () => {
    return (
      (await c.ctl<{ total: number }>("routes list", { filter: "m/#" })).total > 0 || undefined
    );
  });
  await publisher.publish("m/1", "one", { qos: 2 });
  assert.equal(await first, "one\n");
  for (let i = 0; i < 20; i++) await publisher.publish("m/1", `${i}`, { qos: 2 });
  const expected = Array.from({ length: 20 }, (_, i) => `${i}\n`).join("");
  assert.equal(await sub(b, 20), expected);
});
