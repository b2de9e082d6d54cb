/** The generator's codec: what it encodes, and that every cut of a byte stream reads the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import {
  encodeConnect,
  encodePublish,
  encodeSubscribe,
  FrameReader,
  frameLength,
  publisherOf,
  readUint32,
  receiveMaximum,
  stampOf,
  tagOf,
  WireError,
  writeUint32,
} from "../../../src/cli/bench/wire.js";

/** Reads `stream` in pieces and gives back everything that was handed over, as text. */
function readAll(stream: Uint8Array, pieces: readonly number[], v5: boolean): string[] {
  const seen: string[] = [];
  const reader = new FrameReader(
    {
      publish(bytes, at, length, qos, packetId) {
        const payload = Buffer.from(bytes.subarray(at, at + length)).toString("latin1");
        seen.push(`publish ${qos} ${packetId} ${payload}`);
      },
      ack: (type, packetId, reason) => seen.push(`ack ${type} ${packetId} ${reason}`),
    },
    (type, body) => seen.push(`other ${type} ${Buffer.from(body).toString("hex")}`),
    v5,
  );
  // One buffer for all reads, as sockets have it: what is not kept is overwritten.
  const buffer = new Uint8Array(stream.length);
  let at = 0;
  for (const piece of [...pieces, stream.length]) {
    const part = stream.subarray(at, at + piece);
    buffer.fill(0xff);
    buffer.set(part);
    if (part.length > 0) reader.read(buffer, part.length);
    at += part.length;
  }
  return seen;
}

function generate(packet: mqttPacket.Packet, v5: boolean): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: v5 ? 5 : 4 });
}

function publish(payload: string, qos: 0 | 1 | 2, messageId: number, v5: boolean): Buffer {
  const properties = { userProperties: { key: "v".repeat(150) }, contentType: "text" };
  return generate(
    {
      cmd: "publish",
      topic: "a/b",
      payload,
      qos,
      dup: false,
      retain: false,
      messageId,
      ...(v5 && payload.length % 2 === 0 ? { properties } : {}),
    },
    v5,
  );
}

for (const v5 of [false, true]) {
  test(`a stream reads the same however it is cut, ${v5 ? "v5" : "v3"}`, () => {
    const long = "x".repeat(20_000);
    const stream = Buffer.concat([
      generate({ cmd: "connack", returnCode: 0, reasonCode: 0, sessionPresent: false }, v5),
      publish("first", 0, 0, v5),
      publish("second", 1, 7, v5),
      publish(long, 2, 65_535, v5),
      generate({ cmd: "puback", messageId: 258 }, v5),
      generate({ cmd: "pubrel", messageId: 3 }, v5),
      publish("", 0, 0, v5),
      generate({ cmd: "pingresp" }, v5),
    ]);
    const whole = readAll(stream, [], v5);
    assert.deepEqual(whole.slice(1), [
      "publish 0 0 first",
      "publish 1 7 second",
      `publish 2 65535 ${long}`,
      "ack 4 258 0",
      "ack 6 3 0",
      "publish 0 0 ",
      "other 13 ",
    ]);
    const cuts = fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 200 });
    fc.assert(
      fc.property(cuts, (pieces) => {
        assert.deepEqual(readAll(stream, pieces, v5), whole);
      }),
    );
    assert.deepEqual(readAll(stream, new Array<number>(stream.length).fill(1), v5), whole);
  });
}

test("an acknowledgement hands over its v5 reason code", () => {
  assert.deepEqual(readAll(Uint8Array.of(0x40, 3, 0, 9, 0x97), [], true), ["ack 4 9 151"]);
});

test("malformed packets are refused", () => {
  const refused: [string, number[]][] = [
    ["remaining length of five bytes", [0x30, 0xff, 0xff, 0xff, 0xff, 1]],
    ["QoS 3", [0x36, 3, 0, 1, 97]],
    ["no topic length", [0x30, 1, 0]],
    ["topic longer than the packet", [0x30, 3, 0, 9, 97]],
    ["no packet id", [0x32, 3, 0, 1, 97]],
    ["acknowledgement without packet id", [0x40, 1, 0]],
  ];
  for (const [name, bytes] of refused) {
    assert.throws(() => readAll(Uint8Array.from(bytes), [], false), WireError, name);
  }
  const properties: [string, number[]][] = [
    ["no properties", [0x30, 3, 0, 1, 97]],
    ["properties longer than the packet", [0x30, 4, 0, 1, 97, 9]],
    ["length of the properties is cut off", [0x30, 4, 0, 1, 97, 0x80]],
  ];
  for (const [name, bytes] of properties) {
    assert.throws(() => readAll(Uint8Array.from(bytes), [], true), WireError, name);
  }
});

test("frameLength knows when it is too early to tell", () => {
  assert.equal(frameLength(Uint8Array.of(0x30), 0, 1), 0);
  assert.equal(frameLength(Uint8Array.of(0x30, 0x80), 0, 2), 0);
  assert.equal(frameLength(Uint8Array.of(0x30, 0x80, 0x01), 0, 3), 131);
  assert.equal(frameLength(Uint8Array.of(0xff, 0x30, 5), 1, 3), 7);
});

test("a session that is kept: clean start 0 in MQTT 3.1.1, an expiry in MQTT 5", () => {
  const read = (version: 4 | 5): mqttPacket.IConnectPacket => {
    const packets: mqttPacket.Packet[] = [];
    const parser = mqttPacket.parser();
    parser.on("packet", (packet) => packets.push(packet));
    parser.parse(encodeConnect("me", version, null, true));
    const [connect] = packets;
    assert.ok(connect?.cmd === "connect");
    return connect;
  };
  assert.equal(read(4).clean, false);
  assert.equal(read(5).clean, true);
  assert.equal(read(5).properties?.sessionExpiryInterval, 300);
});

test("what the generator encodes is what another codec reads", () => {
  for (const v5 of [false, true]) {
    const packets: mqttPacket.Packet[] = [];
    const parser = mqttPacket.parser({ protocolVersion: v5 ? 5 : 4 });
    parser.on("packet", (packet) => packets.push(packet));
    const frame = encodePublish("bench/1", 2, 200, v5);
    writeUint32(frame.bytes, frame.payloadAt, 0x04030201);
    frame.bytes[frame.packetIdAt] = 1;
    frame.bytes[frame.packetIdAt + 1] = 2;
    parser.parse(encodeConnect("me", v5 ? 5 : 4));
    parser.parse(encodeSubscribe("bench/#", 1, v5));
    parser.parse(frame.bytes);
    const [connect, subscribe, message] = packets;
    assert.ok(connect?.cmd === "connect" && connect.clientId === "me" && connect.clean === true);
    assert.equal(connect.protocolVersion, v5 ? 5 : 4);
    assert.ok(subscribe?.cmd === "subscribe" && subscribe.subscriptions[0]?.topic === "bench/#");
    assert.equal(subscribe.subscriptions[0].qos, 1);
    assert.ok(message?.cmd === "publish" && message.topic === "bench/1" && message.qos === 2);
    assert.equal(message.messageId, 258);
    assert.equal(message.payload.length, 200);
    assert.deepEqual([...Buffer.from(message.payload).subarray(0, 4)], [1, 2, 3, 4]);
  }
});

test("numbers of four bytes come back as they were written", () => {
  const bytes = new Uint8Array(6);
  for (const value of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    writeUint32(bytes, 1, value);
    assert.equal(readUint32(bytes, 1), value);
  }
  assert.equal(tagOf(stampOf(0xfff, 0xf_ffff)), 0xfff);
  assert.equal(publisherOf(stampOf(0xfff, 0xf_ffff)), 0xf_ffff);
  assert.equal(tagOf(stampOf(1, 0)), 1);
});

test("the receive maximum is found among other properties", () => {
  const connack = (properties: mqttPacket.IConnackPacket["properties"]): Uint8Array =>
    generate(
      {
        cmd: "connack",
        reasonCode: 0,
        sessionPresent: false,
        ...(properties === undefined ? {} : { properties }),
      },
      true,
    ).subarray(2);
  assert.equal(receiveMaximum(connack(undefined)), 65_535);
  const others = { reasonString: "hello", userProperties: { a: "b" }, topicAliasMaximum: 32 };
  assert.equal(receiveMaximum(connack({ ...others, receiveMaximum: 20 })), 20);
  assert.equal(receiveMaximum(connack({ ...others, sessionExpiryInterval: 5 })), 65_535);
  assert.throws(() => receiveMaximum(Uint8Array.of(0, 0, 2, 99, 1)), WireError);
});
