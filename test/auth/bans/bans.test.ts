/** Bans at one node: who is refused, with which code, who is closed, and when a ban is over. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MqttClient } from "../../support/mqtt-client.js";
import { type TestBroker, testBroker } from "../../support/front-end.js";
import { openTcp } from "../../net/listeners/support.js";
import { once } from "node:events";
import { testUsers } from "../support.js";
import { HandClock } from "../../store/support.js";
import { Bans } from "../../../src/auth/bans/bans.js";
import { CommonTable, commonEntriesMax } from "../../../src/cluster/common-table.js";
import { HybridClock } from "../../../src/lib/hlc.js";

const banned = 0x8a;
const administrative = 0x98;

/** What a CONNECT is answered with. */
async function answer(
  t: Parameters<typeof MqttClient.open>[0],
  broker: TestBroker,
  options: Parameters<MqttClient["handshake"]>[0],
): Promise<number | undefined> {
  const client = await MqttClient.open(t, broker.port);
  const { reasonCode, returnCode } = await client.handshake(options);
  return options?.version === 5 ? reasonCode : returnCode;
}

test("a banned client id gets 0x8A, MQTT 3 return code 5 [MQTT5 3.2.2.2]; others come in", async (t) => {
  const broker = await testBroker(t);
  broker.bans.add("client", "bad", 0, "");
  assert.equal(await answer(t, broker, { clientId: "bad", version: 5 }), banned);
  assert.equal(await answer(t, broker, { clientId: "bad" }), 5);
  assert.equal(await answer(t, broker, { clientId: "good", version: 5 }), 0);
  assert.equal(broker.bans.counters.refusedClients, 2);
  assert.equal(broker.frontEnd.counters.closedBy.banned, 2);
  broker.bans.delete("client", "bad");
  assert.equal(await answer(t, broker, { clientId: "bad" }), 0);
});

test("a banned user is refused under every client id", async (t) => {
  const users = await testUsers({ mallory: "x", anna: "y" });
  const broker = await testBroker(t, { users });
  broker.bans.add("user", "mallory", 0, "");
  const mallory = { username: "mallory", password: Buffer.from("x") } as const;
  const anna = { username: "anna", password: Buffer.from("y") } as const;
  assert.equal(await answer(t, broker, { clientId: "a", version: 5, ...mallory }), banned);
  assert.equal(await answer(t, broker, { clientId: "b", ...mallory }), 5);
  assert.equal(await answer(t, broker, { clientId: "c", ...anna }), 0);
  assert.equal(broker.bans.counters.refusedUsers, 2);
  // Who does not prove to be mallory learns nothing.
  const wrong = { username: "mallory", password: Buffer.from("z") } as const;
  assert.equal(await answer(t, broker, { clientId: "d", version: 5, ...wrong }), 0x86);
});

test("who is connected is closed when the ban comes: 0x98, for DISCONNECT has no 0x8A", async (t) => {
  const users = await testUsers({ mallory: "x", anna: "x" });
  const broker = await testBroker(t, { users });
  const connect = (clientId: string, username: string): Promise<MqttClient> => {
    const password = Buffer.from("x");
    return MqttClient.connect(t, broker.port, { version: 5, clientId, username, password });
  };
  const byId = await connect("bad", "anna");
  const byUser = await connect("x", "mallory");
  const stays = await connect("good", "anna");
  broker.bans.add("client", "bad", 0, "");
  assert.equal((await byId.expect("disconnect")).reasonCode, administrative);
  broker.bans.add("user", "mallory", 0, "");
  assert.equal((await byUser.expect("disconnect")).reasonCode, administrative);
  stays.send({ cmd: "pingreq" });
  await stays.expect("pingresp");
  assert.equal(broker.bans.counters.closed, 2);
  // The network that they all come from.
  broker.bans.add("address", "127.0.0.0/8", 0, "");
  assert.equal((await stays.expect("disconnect")).reasonCode, administrative);
  assert.equal(broker.bans.counters.closed, 3);
});

test("a banned address is closed when it is accepted, before anything is read", async (t) => {
  const broker = await testBroker(t);
  broker.bans.add("address", "127.0.0.1", 0, "");
  const opened = broker.frontEnd.counters.connectionsOpened;
  const socket = await openTcp(t, broker.port);
  socket.on("error", () => undefined);
  await once(socket, "close");
  const { refusedAddresses } = broker.bans.counters;
  assert.deepEqual([refusedAddresses, broker.frontEnd.counters.connectionsOpened - opened], [1, 0]);
  broker.bans.delete("address", "127.0.0.1/32");
  assert.equal(await answer(t, broker, { clientId: "c" }), 0);
});

test("behind a proxy it is the client's address that counts", async (t) => {
  const tcp = { port: 0, proxy_protocol: true, trusted_proxies: ["127.0.0.0/8"] };
  const broker = await testBroker(t, { settings: { listeners: { tcp } } });
  broker.bans.add("address", "203.0.113.0/24", 0, "");
  const bad = await openTcp(t, broker.port);
  bad.on("error", () => undefined);
  bad.write("PROXY TCP4 203.0.113.7 127.0.0.1 5000 1883\r\n");
  await once(bad, "close");
  assert.equal(broker.bans.counters.refusedAddresses, 1);
  const good = await MqttClient.open(t, broker.port);
  good.raw(Buffer.from("PROXY TCP4 203.0.114.7 127.0.0.1 5000 1883\r\n"));
  assert.equal((await good.handshake({ clientId: "c" })).returnCode, 0);
  broker.bans.add("address", "203.0.114.7", 0, "");
  await good.closed();
});

function table(clock: HandClock): { bans: Bans; common: CommonTable } {
  const common = new CommonTable({
    ...{ clock, stamps: new HybridClock(clock), forgetAfterMs: 60_000, commits: null },
    peers: () => [],
  });
  return { bans: new Bans(clock, common), common };
}

test("a ban with a duration is over when that is, and may be renewed or made for good", () => {
  const clock = new HandClock();
  const { bans } = table(clock);
  bans.add("client", "c", 1000, "for a while");
  bans.add("address", "10.0.0.0/8", 1000, "");
  assert.deepEqual([bans.hasClient("c"), bans.hasAddress("10.9.9.9"), bans.size], [true, true, 2]);
  clock.nowMs += 999;
  assert.equal(bans.hasClient("c"), true);
  bans.add("address", "10.0.0.0/8", 0, "");
  clock.nowMs += 1;
  assert.deepEqual([bans.hasClient("c"), bans.hasAddress("10.9.9.9"), bans.size], [false, true, 1]);
  assert.throws(() => bans.delete("client", "c"), /not banned/);
  bans.add("client", "c", 1000, "again");
  assert.deepEqual(
    bans.list().map(({ kind, what, reason }) => `${kind} ${what} ${reason}`),
    ["address 10.0.0.0/8 ", "client c again"],
  );
});

test("what cannot be banned is refused, and so is one ban too many", () => {
  const { bans, common } = table(new HandClock());
  assert.throws(() => bans.add("address", "example.org", 0, ""), /neither an address/);
  assert.throws(() => bans.add("client", "", 0, ""), /characters/);
  assert.throws(() => bans.add("client", "c", 0, "r".repeat(300)), /reason/);
  for (let i = 0; common.size < commonEntriesMax; i++) common.set(`ban client ${i}`, "", 0);
  assert.throws(() => bans.add("client", "one more", 0, ""), /too many/);
  assert.equal(common.counters.refusedFull, 1);
  bans.add("client", "17", 0, "one that there is");
  bans.delete("client", "18");
  bans.add("client", "one more", 0, "");
});
