/** Clients whose sessions are stored, while others may have those sessions: nothing leaves to them, from the very turn on. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { Backoff } from "../../src/lib/backoff.js";
import { realClock } from "../../src/lib/clock.js";
import { silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { Commits } from "../../src/store/commits.js";
import { MemoryStore } from "../../src/store/memory.js";
import { testBroker, type TestBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";

interface Scene {
  readonly broker: TestBroker;
  readonly stored: MqttClient;
  readonly other: MqttClient;
  readonly publisher: MqttClient;
}

async function scene(t: TestContext): Promise<Scene> {
  const store = new MemoryStore();
  const commits = new Commits({
    ...{ store, clock: realClock, intervalMs: 0, slowMs: 10_000 },
    backoff: new Backoff(realRandom, 10, 20),
    onStalled: () => undefined,
    onBroken: ({ why }) => assert.fail(why),
  });
  t.after(() => commits.close());
  const parts = { store, commits, clock: realClock, log: silentLog };
  const broker = await testBroker(t, { journals: { ...parts, incarnation: () => 1 } });
  const follow = async (clientId: string, clean: boolean): Promise<MqttClient> => {
    const client = await MqttClient.connect(t, broker.port, { clientId, clean });
    await client.subscribe("t", 1);
    return client;
  };
  const stored = await follow("stored", false);
  const other = await follow("other", true);
  const publisher = await MqttClient.connect(t, broker.port, { clientId: "publisher" });
  return { broker, stored, other, publisher };
}

const publishesTo = ({ packets }: MqttClient): string[] =>
  packets.flatMap((packet) => (packet.cmd === "publish" ? [packet.payload.toString()] : []));

async function got(client: MqttClient, payloads: readonly string[]): Promise<void> {
  await eventually(() => publishesTo(client).length >= payloads.length, payloads.join());
  assert.deepEqual(publishesTo(client), payloads);
}

test("what was made for them in the turn in which that is found out does not leave", async (t) => {
  const { broker, stored, other, publisher } = await scene(t);
  const { frontEnd } = broker;
  frontEnd.beforeFlush = () => frontEnd.silenceStored(true);
  publisher.publish("t", "0", { qos: 0 });
  publisher.publish("t", "1", { qos: 1, messageId: 1 });
  await got(other, ["0", "1"]);
  frontEnd.beforeFlush = () => undefined;
  publisher.publish("t", "dropped", { qos: 0 });
  publisher.publish("t", "2", { qos: 1, messageId: 2 });
  await got(other, ["0", "1", "dropped", "2"]);
  assert.deepEqual(publishesTo(stored), []);
  frontEnd.silenceStored(false);
  await got(stored, ["0", "1", "2"]);
});

test("a large message that the socket holds back at that moment does not leave either", async (t) => {
  const { broker, stored, other, publisher } = await scene(t);
  const { frontEnd } = broker;
  const large = "x".repeat(40_000);
  frontEnd.beforeFlush = () => frontEnd.silenceStored(true);
  publisher.publish("t", large, { qos: 1, messageId: 1 });
  await got(other, [large]);
  await eventually(() => stored.isClosed, "the close");
  assert.deepEqual(publishesTo(stored), []);
});

test("a connection that ends meanwhile is told nothing of what was kept back", async (t) => {
  const { broker, stored, other, publisher } = await scene(t);
  const { frontEnd } = broker;
  frontEnd.silenceStored(true);
  publisher.publish("t", "1", { qos: 1, messageId: 1 });
  await got(other, ["1"]);
  frontEnd.sessions.get("stored")?.channel?.close(0x8b);
  await eventually(() => stored.isClosed, "the close");
  assert.deepEqual(publishesTo(stored), []);
  frontEnd.silenceStored(false);
  const again = await MqttClient.connect(t, broker.port, { clientId: "stored", clean: false });
  await got(again, ["1"]);
});

test("what is kept back has a limit: the connection ends at it", async (t) => {
  const { broker, stored } = await scene(t);
  broker.frontEnd.silenceStored(true);
  const ping = Buffer.from([0xc0, 0]);
  for (let i = 0; i < 60 && !stored.isClosed; i++) {
    stored.raw([...Buffer.concat(Array(10_000).fill(ping))]);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await eventually(() => stored.isClosed, "the close");
});
