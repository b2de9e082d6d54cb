/** A client that subscribes to everything that is retained and reads slowly: what it costs, and the others. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type TestBroker, testBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

const count = 100_000;
const outputMax = 4 * 2 ** 20;

async function retainMany(publisher: MqttClient): Promise<void> {
  for (let i = 0; i < count; i++) {
    publisher.publish(`r/${i % 100}/${i}`, Buffer.alloc(200), { retain: true });
    if (i % 2000 === 0) await publisher.quiet();
  }
  await publisher.quiet();
}

const waitingOf = ({ frontEnd }: TestBroker, clientId: string): number =>
  frontEnd.sessions.get(clientId)?.channel?.info().waitingBytes ?? 0;

test("a slow replay of 100,000 messages waits in the index, not in memory, and nobody waits for it", async (t) => {
  const broker = await testBroker(t);
  const { port, frontEnd, router } = broker;
  const publisher = await MqttClient.connect(t, port);
  await retainMany(publisher);
  assert.equal(router.retained.size, count);
  const slow = await MqttClient.connect(t, port, { clientId: "slow" });
  await slow.subscribe("#");
  slow.pause();
  await eventually(() => waitingOf(broker, "slow") > outputMax, "its output to be full");
  const sent = frontEnd.sessions.counters.replayed;
  assert.ok(sent < count, `${sent} were sent to a client that does not read`);
  const other = await MqttClient.connect(t, port);
  await other.subscribe("live/+");
  for (let i = 0; i < 100; i++) {
    publisher.publish(`live/${i}`, String(i), { retain: true });
    assert.equal((await other.expect("publish")).payload.toString(), String(i));
  }
  await other.subscribe("r/7/+");
  for (let i = 0; i < count / 100; i++) assert.equal((await other.expect("publish")).retain, true);
  await other.quiet();
  assert.ok(waitingOf(broker, "slow") < outputMax + 2 ** 18);
  assert.equal(frontEnd.sessions.get("slow")?.queued, 0);
  // What is changed behind the replay's place is seen.
  publisher.publish("r/99/99999", "new", { retain: true });
  publisher.publish("r/99/99899", "", { retain: true });
  await publisher.quiet();
  slow.resume();
  const { counters } = frontEnd.sessions;
  await eventually(() => frontEnd.sessions.get("slow")?.replaying.length === 0, "the rest", 30_000);
  slow.raw([0xc0, 0]);
  await eventually(() => slow.packets.at(-1)?.cmd === "pingresp", "all to be read", 30_000);
  const topics = new Map<string, string>();
  for (const packet of slow.packets) {
    if (packet.cmd !== "publish" || !packet.retain) continue;
    assert.ok(!topics.has(packet.topic), `${packet.topic} came twice`);
    topics.set(packet.topic, packet.payload.toString());
  }
  assert.equal(topics.get("r/99/99999"), "new");
  assert.equal(topics.has("r/99/99899"), false);
  // 100 live ones came too and are retained now; those were dropped live, and counted.
  assert.equal(topics.size, count - 1 + 100);
  assert.equal(counters.droppedOutputFull, 102);
});
