/** Clients that go while their CONNECT waits for its grant: that is seen, and the grant then displaces nobody. */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { DirectoryService } from "../../src/cluster/directory.js";
import type { Claim, ClaimResult, Directory } from "../../src/cluster/directory-types.js";
import { realClock } from "../../src/lib/clock.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { testBroker, type TestBroker } from "../support/front-end.js";
import { eventually, MqttClient } from "../support/mqtt-client.js";
import {
  Authority,
  openWebSocket,
  portOf,
  tlsClient,
  webSocketClient,
} from "./listeners/support.js";

interface Held {
  readonly claim: Claim;
  readonly grant: () => void;
  readonly refuse: () => void;
}

interface Scene {
  readonly broker: TestBroker;
  readonly authority: Authority;
  /** Claims that wait, by their client ids. */
  readonly held: Map<string, Held>;
}

/** A broker whose directory grants claims when it is told to. */
async function scene(t: TestContext): Promise<Scene> {
  const held = new Map<string, Held>();
  const stamps = new HybridClock(realClock);
  const directory: Directory = new DirectoryService({
    ...{ self: "own@h", clock: realClock, stamps, takeoverTimeoutMs: 2000 },
    ...{ liveMembers: () => ["own@h"], linkTo: () => null },
  });
  const slow: Directory = {
    claim: (claim: Claim, done: (result: ClaimResult) => void) => {
      const grant = (): void => directory.claim(claim, done);
      const refuse = (): void => done({ granted: false, why: "superseded" });
      held.set(claim.clientId, { claim, grant, refuse });
    },
    isOutdated: (...claim) => directory.isOutdated(...claim),
    attached: (...claim) => directory.attached(...claim),
    released: (...claim) => directory.released(...claim),
    changed: (...claim) => directory.changed(...claim),
  };
  const authority = new Authority(t);
  const pair = authority.issue("/CN=localhost");
  const listeners = {
    ws: { enabled: true, port: 0 },
    tls: { enabled: true, port: 0, ...pair },
  };
  const broker = await testBroker(t, { settings: { listeners }, directory: slow });
  return { broker, authority, held };
}

/** A client over each transport. */
async function everyTransport(t: TestContext, { broker, authority }: Scene) {
  const url = `ws://127.0.0.1:${portOf(broker, "ws")}/mqtt`;
  return {
    tcp: await MqttClient.open(t, broker.port),
    tls: await tlsClient(t, portOf(broker, "tls"), authority.clientOptions()),
    ws: webSocketClient(t, await openWebSocket(t, url)),
  };
}

async function waiting({ held }: Scene, client: MqttClient, clientId: string): Promise<Held> {
  client.sendConnect({ clientId });
  await eventually(() => held.has(clientId), "the claim");
  const claim = held.get(clientId);
  assert.ok(claim !== undefined);
  return claim;
}

test("a connection that ends before its CONNACK is seen to, over every transport", async (t) => {
  const all = await scene(t);
  const { broker } = all;
  for (const [clientId, client] of Object.entries(await everyTransport(t, all))) {
    const { claim, grant } = await waiting(all, client, clientId);
    assert.ok(claim.by.isOpen);
    client.destroy();
    await eventually(() => !claim.by.isOpen, `${clientId}: its end`);
    grant();
    assert.equal(broker.frontEnd.sessions.size, 0);
  }
  await eventually(() => broker.frontEnd.connected === 0, "all are gone");
});

test("what a client sends before its CONNACK is kept and handled after it, also when it goes at once", async (t) => {
  const all = await scene(t);
  const { broker, held } = all;
  const subscriber = await MqttClient.open(t, broker.port);
  (await waiting(all, subscriber, "subscriber")).grant();
  await subscriber.expect("connack");
  await subscriber.subscribe("t");
  const clients = await everyTransport(t, all);
  for (const [clientId, client] of Object.entries(clients)) {
    const { claim, grant } = await waiting(all, client, clientId);
    const bytesBefore = broker.frontEnd.counters.bytesIn;
    client.publish("t", "1");
    await eventually(() => broker.frontEnd.counters.bytesIn > bytesBefore, "the publish");
    client.publish("t", "2");
    client.send({ cmd: "disconnect" });
    client.end();
    await eventually(() => claim.by.hasLeft === true, `${clientId}: its end is seen`);
    assert.ok(claim.by.isOpen);
    grant();
    for (const payload of ["1", "2"]) {
      assert.equal((await subscriber.expect("publish")).payload.toString(), payload);
    }
    await eventually(() => !claim.by.isOpen, "its end");
  }
  await eventually(() => broker.frontEnd.connected === 1, "all are gone");
  assert.equal(held.size, 4);
});

test("who sends much before its CONNACK is not read on, and all of it is handled then", async (t) => {
  const all = await scene(t);
  const { broker } = all;
  const client = await MqttClient.open(t, broker.port);
  const { claim, grant } = await waiting(all, client, "early");
  for (let i = 0; i < 1_000; i++) client.publish("t", "x".repeat(1_000));
  client.send({ cmd: "pingreq" });
  await eventually(() => broker.frontEnd.counters.bytesIn > 16_384, "it is read");
  const { counters } = broker.frontEnd;
  await eventually(() => counters.readsPaused === 1, "it is not read any more");
  assert.notEqual(claim.by.hasLeft, true);
  grant();
  await client.expect("connack");
  await client.expect("pingresp");
  assert.ok(counters.bytesIn > 1_000_000);
});

test("a client that has gone before it is refused leaves nothing behind", async (t) => {
  const all = await scene(t);
  const { broker } = all;
  const client = await MqttClient.open(t, broker.port);
  const { claim, refuse } = await waiting(all, client, "early");
  client.publish("t", "1");
  client.end();
  await eventually(() => claim.by.hasLeft === true, "its end is seen");
  refuse();
  assert.equal(claim.by.isOpen, false);
  assert.equal(broker.frontEnd.connected, 0);
  assert.equal(broker.frontEnd.sessions.size, 0);
});
