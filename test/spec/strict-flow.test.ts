/** Exchanges of several packets, byte by byte. */
import { test } from "node:test";
import { testBroker } from "../support/front-end.js";
import { connectPacket, Wire } from "./strict-wire.js";

const versions = [3, 4, 5] as const;

for (const version of versions) {
  test(`v${version} packet ids count 1, 2, 3 over QoS 1 and 2`, async (t) => {
    const { port } = await testBroker(t);
    const subscriber = await Wire.connected(t, port, version);
    await subscriber.exchange("82[04d2 {} 'q/#' 02]", "90[04d2 {} 02]");
    const publisher = await Wire.connected(t, port, 4);
    await publisher.exchange("32['q/1' ffff 61]", "40[ffff]");
    await publisher.exchange("34['q/2' 0007 62] 62[0007]", "50[0007] 70[0007]");
    await publisher.exchange("30['q/0' 63]", "");
    await publisher.exchange("32['q/1' 0007 64]", "40[0007]");
    await subscriber.expect("32['q/1' 0001 {} 61] 34['q/2' 0002 {} 62]");
    await subscriber.expect("30['q/0' {} 63] 32['q/1' 0003 {} 64]");
    await subscriber.exchange("40[0001] 50[0002] 40[0003]", "62[0002]");
    await subscriber.exchange("70[0002]", "");
    await publisher.exchange("32['q/1' 0001 65]", "40[0001]");
    await subscriber.expect("32['q/1' 0004 {} 65]");
  });

  test(`v${version} a client that publishes to itself gets its PUBREC first`, async (t) => {
    const { port } = await testBroker(t);
    const client = await Wire.connected(t, port, version);
    await client.exchange("82[0001 {} 't' 02]", "90[0001 {} 02]");
    await client.exchange("34['t' 012d {} 6d]", "50[012d] 34['t' 0001 {} 6d]");
    await client.exchange("62[012d]", "70[012d]");
    await client.exchange("50[0001]", "62[0001]");
    await client.exchange("50[0001]", "62[0001]"); // again
    await client.exchange("70[0001]", "");
  });

  const mistakes = [
    ["PUBREC for QoS 1", "01", "32", "50[0001]"],
    ["PUBCOMP for QoS 1", "01", "32", "70[0001]"],
    ["PUBACK for QoS 2", "02", "34", "40[0001]"],
    ["PUBCOMP before PUBREC", "02", "34", "70[0001]"],
    ["PUBACK after PUBREC", "02", "34", "50[0001] 40[0001]"],
  ] as const;
  for (const [name, qos, first, wrong] of mistakes) {
    test(`v${version} ${name} closes the connection [MQTT5 4.13]`, async (t) => {
      const { port } = await testBroker(t);
      const client = await Wire.connected(t, port, version);
      await client.exchange(`82[0001 {} 't' ${qos}]`, `90[0001 {} ${qos}]`);
      const publisher = await Wire.connected(t, port, 4);
      publisher.send(`${first}['t' 0009 6d]`);
      await client.expect(`${first}['t' 0001 {} 6d]`);
      client.send(wrong);
      if (wrong.startsWith("50[0001] 40")) await client.expect("62[0001]");
      await client.closedAfter(version === 5 ? "e0[82]" : "");
    });
  }

  test(`v${version} retained messages and their flag [MQTT-3.3.1-6..9]`, async (t) => {
    const { port } = await testBroker(t);
    const client = await Wire.connected(t, port, version);
    await client.exchange("31['r' {} 61] 31['r' {} 62]", "");
    await client.exchange("82[0001 {} 'r' 00]", "90[0001 {} 00] 31['r' {} 62]");
    await client.exchange("31['r' {} 63]", "30['r' {} 63]");
    await client.exchange("82[0002 {} 'r' 01]", "90[0002 {} 01] 31['r' {} 63]");
    await client.exchange("31['r' {}]", "30['r' {}]");
    await client.exchange("82[0003 {} '#' 01]", "90[0003 {} 01]");
  });

  test(`v${version} overlapping subscriptions: one copy, at the highest QoS`, async (t) => {
    const { port } = await testBroker(t);
    const client = await Wire.connected(t, port, version);
    await client.exchange("82[0001 {} 'a/#' 02 'a/+' 01]", "90[0001 {} 02 01]");
    await client.exchange("34['a/b' 0001 {} 78]", "50[0001] 34['a/b' 0001 {} 78]");
  });

  test(`v${version} $-topics match no leading wildcard [MQTT-4.7.2-1]`, async (t) => {
    const { port } = await testBroker(t);
    const client = await Wire.connected(t, port, version);
    await client.exchange("82[0001 {} '#' 00 '+/b' 00]", "90[0001 {} 00 00]");
    await client.exchange("30['$a/b' {} 78]", "");
    await client.exchange("82[0002 {} '$a/#' 00]", "90[0002 {} 00]");
    await client.exchange("30['$a/b' {} 78]", "30['$a/b' {} 78]");
  });

  test(`v${version} a message in flight comes again with DUP and its id [MQTT-4.4.0-1]`, async (t) => {
    const { port } = await testBroker(t);
    const kept = connectPacket(version, "kept", "11 0000003c").replace(" 02 0000 ", " 00 0000 ");
    const first = await Wire.open(t, port, version);
    first.send(kept);
    first.send("82[0001 {} 't' 02]");
    const publisher = await Wire.connected(t, port, 4);
    await publisher.exchange("", "");
    await first.until(
      () => first.hex.endsWith(version === 5 ? "9004000100" + "02" : "9003000102"),
      "SUBACK",
    );
    first.hex = "";
    publisher.send("32['t' 0001 61] 34['t' 0002 62]");
    await first.expect("32['t' 0001 {} 61] 34['t' 0002 {} 62]");
    await first.exchange("50[0002]", "62[0002]");
    first.destroy();
    const again = await Wire.open(t, port, version);
    again.send(kept);
    const connack = version === 3 ? "20[00 00]" : "20[01 00]";
    if (version !== 5) await again.expect(connack);
    else {
      await again.until(() => again.hex.length >= 4, "CONNACK");
      again.hex = again.hex.slice(4 + 2 * Number.parseInt(again.hex.slice(2, 4), 16));
    }
    await again.expect("3a['t' 0001 {} 61] 62[0002]");
    await again.exchange("40[0001] 70[0002]", "");
    // Its PUBCOMP may have been lost, so that this is no mistake.
    await again.exchange("62[0009]", "70[0009]");
  });

  test(`v${version} a connection that is taken over, and a node that stops`, async (t) => {
    const { port, stop } = await testBroker(t);
    const first = await Wire.connected(t, port, version, "c");
    const second = await Wire.connected(t, port, version, "c");
    await first.closedAfter(version === 5 ? "e0[8e]" : ""); // [MQTT-3.1.4-3]
    await stop();
    await second.closedAfter(version === 5 ? "e0[8b]" : "");
  });
}

test("v5 subscription identifiers follow the publisher's properties [MQTT-3.3.4-3..5]", async (t) => {
  const { port } = await testBroker(t);
  const client = await Wire.connected(t, port, 5);
  await client.exchange("82[0001 {0b 01} 't' 00]", "90[0001 {} 00]");
  await client.exchange("30['t' {} 78]", "30['t' {0b 01} 78]");
  await client.exchange("30['t' {01 01 26 'a' 'b'} 78]", "30['t' {01 01 26 'a' 'b' 0b 01} 78]");
  await client.exchange("30['t' {23 0001} 78]", "30['t' {0b 01} 78]");
});

test("v5 properties reach a subscriber as they came, an alias does not [MQTT-3.3.2-15..20]", async (t) => {
  const { port } = await testBroker(t);
  const client = await Wire.connected(t, port, 5);
  await client.exchange("82[0001 {} 't' 01]", "90[0001 {} 01]");
  for (const table of [
    "01 01",
    "02 00000064",
    "03 'p'",
    "08 'p'",
    "09 'p'",
    "26 'p' 'q' 26 'p' 'q'",
  ]) {
    await client.exchange(`30['t' {${table}} 78]`, `30['t' {${table}} 78]`);
  }
  await client.exchange("30['t' {23 0001} 78]", "30['t' {} 78]");
  await client.exchange("30['' {23 0001} 79]", "30['t' {} 79]");
});

test("v5 a packet maximum: larger messages are left out, others come [MQTT-3.1.2-24, 3.1.2-25]", async (t) => {
  const { port } = await testBroker(t);
  const client = await Wire.connected(t, port, 5, "small", "27 00000014");
  await client.exchange("82[04d2 {} 'topic' 00]", "90[04d2 {} 00]");
  const fits = `30['topic' {} "payload"]`;
  await client.exchange(`30['topic' {} "payloadpayload"] ${fits}`, fits);
});
