/** Durable sessions over sockets: a node that starts on what another one had committed when it was gone. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Backoff } from "../../src/lib/backoff.js";
import { realClock } from "../../src/lib/clock.js";
import { silentLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { Commits } from "../../src/store/commits.js";
import { CrashStore } from "../session/crash-store.js";
import { type TestBroker, testBroker } from "../support/front-end.js";
import { MqttClient } from "../support/mqtt-client.js";

let incarnations = 0;

/** A node on a store; it has taken up what is there. */
async function nodeOn(t: TestContext, store: CrashStore): Promise<TestBroker> {
  const commits = new Commits({
    ...{ store, clock: realClock, intervalMs: 0, slowMs: 10_000 },
    backoff: new Backoff(realRandom, 10, 100),
    onStalled: () => undefined,
    onBroken: () => undefined,
  });
  const incarnation = ++incarnations;
  const journals = {
    ...{ store, commits, clock: realClock, log: silentLog },
    incarnation: () => incarnation,
  };
  const broker = await testBroker(t, { journals });
  await broker.frontEnd.sessions.load(() => undefined);
  await broker.frontEnd.sessions.publishRecovered();
  return broker;
}

const kept = { clientId: "c", clean: false } as const;

test("what was acknowledged reaches a client that comes to the next process [MQTT-4.1.0-1]", async (t) => {
  const store = new CrashStore();
  const before = await nodeOn(t, store);
  const client = await MqttClient.open(t, before.port);
  assert.equal((await client.handshake(kept)).sessionPresent, false);
  assert.equal(await client.subscribe("t/#", 2), 2);
  client.destroy();
  const publisher = await MqttClient.open(t, before.port);
  await publisher.handshake({ clientId: "p" });
  for (const [id, qos] of [
    [1, 1],
    [2, 2],
    [3, 1],
  ] as const) {
    publisher.publish(`t/${id}`, `m${id}`, { qos, messageId: id });
    await publisher.expect(qos === 1 ? "puback" : "pubrec");
  }
  const after = await nodeOn(t, store.copy());
  const back = await MqttClient.open(t, after.port);
  assert.equal((await back.handshake(kept)).sessionPresent, true);
  const got = [
    await back.expect("publish"),
    await back.expect("publish"),
    await back.expect("publish"),
  ];
  // QoS 2 leaves a commit later than QoS 1.
  got.sort((one, other) => (one.messageId ?? 0) - (other.messageId ?? 0));
  for (const [index, { topic, payload, messageId }] of got.entries()) {
    const id = index + 1;
    assert.deepEqual([topic, payload.toString(), messageId], [`t/${id}`, `m${id}`, id]);
  }
});

test("QoS 2 both ways over a crash: the same ids, each message once [MQTT-4.3.3-1]", async (t) => {
  const store = new CrashStore();
  const before = await nodeOn(t, store);
  const client = await MqttClient.open(t, before.port);
  await client.handshake(kept);
  assert.equal(await client.subscribe("own", 2), 2);
  client.publish("own", "m1", { qos: 2, messageId: 7 });
  const answers = [await client.next(), await client.next()];
  assert.deepEqual(answers.map(({ cmd }) => cmd).sort(), ["publish", "pubrec"]);
  const after = await nodeOn(t, store.copy());
  const back = await MqttClient.open(t, after.port);
  assert.equal((await back.handshake(kept)).sessionPresent, true);
  const again = await back.expect("publish");
  assert.deepEqual([again.payload.toString(), again.messageId, again.dup], ["m1", 1, true]);
  // Sent once more, as its PUBREC could have been lost: it is answered, and not published again.
  back.publish("own", "m1", { qos: 2, messageId: 7, dup: true });
  await back.expect("pubrec");
  back.send({ cmd: "pubrel", messageId: 7 });
  await back.expect("pubcomp");
  back.send({ cmd: "pubrec", messageId: 1 });
  await back.expect("pubrel");
  back.send({ cmd: "pubcomp", messageId: 1 });
  back.publish("own", "m2", { qos: 2, messageId: 7 });
  const next = [await back.next(), await back.next()].find(({ cmd }) => cmd === "publish");
  assert.equal(next?.messageId, 2);
});

test("a new DISCONNECT expiry holds after a crash; 0 ends the session for good", async (t) => {
  const store = new CrashStore();
  const before = await nodeOn(t, store);
  for (const [clientId, sessionExpiryInterval] of [
    ["short", 1],
    ["none", 0],
  ] as const) {
    const client = await MqttClient.open(t, before.port);
    await client.handshake({
      clientId,
      version: 5,
      clean: true,
      properties: { sessionExpiryInterval: 1000 },
    });
    client.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval } });
    await client.closed();
  }
  const after = await nodeOn(t, store.copy());
  const { sessions } = after.frontEnd;
  assert.deepEqual(
    [...sessions.all()].map(({ clientId, expiryMs }) => [clientId, expiryMs]),
    [["short", 1000]],
  );
});
