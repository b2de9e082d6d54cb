/** The packets that go through mqtt-packet, with our own strict check before it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import {
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
  parseConnect,
  parseControl,
} from "../../src/protocol/packets.js";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import { connectVersion } from "../../src/protocol/strict.js";

/** Where the variable header of a whole packet starts. */
function bodyStart(bytes: Buffer): number {
  let at = 1;
  while ((bytes[at] ?? 0) >= 0x80) at++;
  return at + 1;
}
const parseWhole = (bytes: Buffer, start: number, end: number) =>
  parseConnect(bytes, 0, start, end, connectVersion(bytes[0] ?? 0, bytes, start, end), 64);
const connectOf = (bytes: Buffer) => parseWhole(bytes, bodyStart(bytes), bytes.length);
const controlOf = (bytes: Buffer, version: number) =>
  parseControl(bytes[0] ?? 0, bytes, bodyStart(bytes), bytes.length, version, 64);

function refused(reason: number): (error: unknown) => boolean {
  return (error) => error instanceof ProtocolError && error.reason === reason;
}

test("a full MQTT 5 CONNECT", () => {
  const bytes = mqttPacket.generate({
    cmd: "connect",
    protocolVersion: 5,
    clientId: "id",
    clean: false,
    keepalive: 77,
    username: "ann",
    password: Buffer.from([0, 255]),
    properties: {
      sessionExpiryInterval: 0xffff_ffff,
      receiveMaximum: 9,
      maximumPacketSize: 1000,
      topicAliasMaximum: 12,
      requestResponseInformation: true,
      userProperties: { a: ["1", "2"] },
    },
    will: {
      topic: "w/x",
      payload: Buffer.from("bye"),
      qos: 2,
      retain: true,
      properties: { willDelayInterval: 5, contentType: "t", userProperties: { b: "c" } },
    },
  });
  const { will, ...packet } = connectOf(bytes);
  assert.deepEqual(packet, {
    version: 5,
    clean: false,
    keepAliveSeconds: 77,
    clientId: "id",
    user: "ann",
    sessionExpirySeconds: 0xffff_ffff,
    receiveMaximum: 9,
    packetMax: 1000,
    topicAliasMax: 12,
    wantsResponseInformation: true,
    authenticationMethod: null,
    authenticationData: null,
    password: Buffer.of(0, 255),
  });
  assert.ok(will);
  assert.deepEqual(
    [will.topic, will.payload.toString(), will.qos, will.retain],
    ["w/x", "bye", 2, true],
  );
  assert.equal(will.delaySeconds, 5);
  // The delay is the server's business; the others go out with the will.
  const raw = Buffer.from([3, 0, 1, 0x74, 0x26, 0, 1, 0x62, 0, 1, 0x63]);
  assert.deepEqual(will.properties, raw);
});

test("defaults of an MQTT 3.1.1 CONNECT", () => {
  const bytes = mqttPacket.generate({ cmd: "connect", protocolVersion: 4, clientId: "x" });
  const packet = connectOf(bytes);
  assert.equal(packet.version, 4);
  assert.equal(packet.will, null);
  assert.equal(packet.user, "");
  assert.equal(packet.receiveMaximum, 65_535);
  assert.equal(packet.packetMax, Number.POSITIVE_INFINITY);
});

test("any CONNECT without will and properties comes out as it went in, in every version", () => {
  const text = fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 30 });
  const any = fc.record({
    version: fc.constantFrom(3 as const, 4 as const, 5 as const),
    clientId: text,
    user: fc.option(text),
    password: fc.option(fc.uint8Array({ maxLength: 20 })),
    clean: fc.boolean(),
    keepalive: fc.integer({ min: 0, max: 65_535 }),
  });
  fc.assert(
    fc.property(any, ({ version, clientId, user, clean, keepalive, ...rest }) => {
      const password = user === null || rest.password === null ? null : Buffer.from(rest.password);
      const bytes = mqttPacket.generate({
        ...{ cmd: "connect", protocolVersion: version, clientId, clean, keepalive },
        protocolId: version === 3 ? "MQIsdp" : "MQTT",
        ...(user === null ? {} : { username: user }),
        ...(password === null ? {} : { password }),
      });
      const got = connectOf(bytes);
      bytes.fill(0);
      assert.deepEqual(
        [got.version, got.clientId, got.user, got.password, got.clean, got.keepAliveSeconds],
        [version, clientId, user ?? "", password, clean, keepalive],
      );
      assert.deepEqual([got.will, got.sessionExpirySeconds, got.receiveMaximum], [null, 0, 65_535]);
    }),
  );
});

test("SUBSCRIBE, UNSUBSCRIBE and DISCONNECT", () => {
  const subscriptions = [
    { topic: "a/+", qos: 2 as const, nl: true, rap: true, rh: 1 },
    { topic: "b", qos: 0 as const, nl: false, rap: false, rh: 2 },
  ];
  const properties = { subscriptionIdentifier: 70_000 };
  const subscribe = mqttPacket.generate(
    { cmd: "subscribe", messageId: 3, subscriptions, properties },
    { protocolVersion: 5 },
  );
  assert.deepEqual(controlOf(subscribe, 5), {
    cmd: "subscribe",
    packetId: 3,
    subscriptionId: 70_000,
    requests: [
      { filter: "a/+", qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 1 },
      { filter: "b", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 2 },
    ],
  });
  const unsubscribe = mqttPacket.generate(
    { cmd: "unsubscribe", messageId: 4, unsubscriptions: ["a", "b"] },
    { protocolVersion: 4 },
  );
  assert.deepEqual(controlOf(unsubscribe, 4), {
    cmd: "unsubscribe",
    packetId: 4,
    filters: ["a", "b"],
  });
  const disconnect = mqttPacket.generate(
    { cmd: "disconnect", reasonCode: 4, properties: { sessionExpiryInterval: 9 } },
    { protocolVersion: 5 },
  );
  assert.deepEqual(controlOf(disconnect, 5), {
    cmd: "disconnect",
    reason: 4,
    sessionExpirySeconds: 9,
  });
  const short = { cmd: "disconnect", reason: 0, sessionExpirySeconds: undefined };
  assert.deepEqual(controlOf(Buffer.from([0xe0, 0]), 5), short);
  assert.deepEqual(controlOf(Buffer.from([0xe0, 0]), 4), short);
  assert.deepEqual(controlOf(Buffer.from([0xe0, 1, 4]), 5), { ...short, reason: 4 });
});

test("what no client may send is refused with the right code", () => {
  const cases: [number, number, number[]][] = [
    [0x82, 4, [0x10, 0]], // a second CONNECT
    [0x82, 4, [0x20, 2, 0, 0]], // CONNACK
    [0x82, 4, [0xd0, 0]], // PINGRESP
    [0x81, 4, [0xd1, 0]], // PINGRESP with flags
    [0x82, 4, [0x00, 0]], // a type that does not exist
    [0x81, 4, [0xe1, 0]], // DISCONNECT with flags
    [0x81, 5, [0xe0, 2, 0, 5]], // a property table that is not there
    [0x82, 5, [0xe0, 1, 0x8e]], // a reason that only a server gives
    [0x82, 5, [0x82, 7, 0, 1, 0, 0, 1, 0x74, 0x30]], // retain handling 3
    [0x81, 5, [0x82, 7, 0, 1, 0, 0, 1, 0x74, 0x40]], // reserved option bit
    [0x82, 5, [0x82, 9, 0, 1, 2, 0x0b, 0, 0, 1, 0x74, 0]], // subscription identifier 0
    [0x81, 5, [0x82, 11, 0, 1, 4, 0x0b, 0x80, 0x80, 0x00, 0, 1, 0x74, 0]], // not its shortest form
    [0x81, 5, [0xa2, 8, 0, 1, 2, 0x0b, 1, 0, 1, 0x74]], // no such property in UNSUBSCRIBE
    [0x81, 4, [0x82, 6, 0, 1, 0, 1, 0xc0, 0]], // not UTF-8
    [0x81, 4, [0xa2, 6, 0, 1, 0, 2, 0x61, 0]], // U+0000
  ];
  for (const [reason, version, bytes] of cases) {
    assert.throws(() => controlOf(Buffer.from(bytes), version), refused(reason), `${bytes}`);
  }
});

const samples: readonly [number, Buffer][] = [
  [
    5,
    mqttPacket.generate({
      cmd: "connect",
      protocolVersion: 5,
      clientId: "id",
      username: "u",
      password: Buffer.from("p"),
      properties: { receiveMaximum: 3, userProperties: { a: "b" } },
      will: { topic: "t", payload: "x", properties: { willDelayInterval: 1 } },
    }),
  ],
  [
    4,
    mqttPacket.generate({
      cmd: "connect",
      protocolVersion: 4,
      clientId: "id",
      will: { topic: "t", payload: "x" },
    }),
  ],
  [
    5,
    mqttPacket.generate(
      {
        cmd: "subscribe",
        messageId: 1,
        subscriptions: [{ topic: "a", qos: 1, nl: true, rap: false, rh: 1 }],
        properties: { subscriptionIdentifier: 8, userProperties: { a: "b" } },
      },
      { protocolVersion: 5 },
    ),
  ],
  [
    5,
    mqttPacket.generate(
      { cmd: "unsubscribe", messageId: 1, unsubscriptions: ["a"] },
      { protocolVersion: 5 },
    ),
  ],
  [
    5,
    mqttPacket.generate(
      {
        cmd: "disconnect",
        reasonCode: 0,
        properties: { sessionExpiryInterval: 1, reasonString: "x" },
      },
      { protocolVersion: 5 },
    ),
  ],
];

test("changed and cut control packets throw nothing but ProtocolErrors", () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(
      fc.constantFrom(...samples),
      fc.array(change, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      ([version, sample], changes, cut) => {
        const bytes = Buffer.from(sample);
        for (const [at, value] of changes) bytes[2 + (at % (bytes.length - 2))] = value;
        const end = cut % 3 === 0 ? 2 + (cut % (bytes.length - 1)) : bytes.length;
        bytes[1] = end - 2;
        const whole = bytes.subarray(0, end);
        try {
          if (bytes[0] === 0x10) parseWhole(whole, 2, end);
          else parseControl(bytes[0] ?? 0, whole, 2, end, version, 64);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
        }
      },
    ),
    { numRuns: 3000, seed: 4 },
  );
});

test("answers in the client's version", () => {
  assert.deepEqual(encodeConnack(4, true, 0, {}), Buffer.from([0x20, 2, 1, 0]));
  assert.deepEqual(encodeConnack(4, false, 0x87, {}), Buffer.from([0x20, 2, 0, 5]));
  assert.deepEqual(encodeConnack(5, false, 0x87, {}), Buffer.from([0x20, 3, 0, 0x87, 0]));
  assert.deepEqual(encodeSuback(4, 258, [1, 0x8f]), Buffer.from([0x90, 4, 1, 2, 1, 0x80]));
  assert.deepEqual(encodeSuback(5, 258, [1, 0x8f]), Buffer.from([0x90, 5, 1, 2, 0, 1, 0x8f]));
  assert.deepEqual(encodeUnsuback(4, 258, [0]), Buffer.from([0xb0, 2, 1, 2]));
  assert.deepEqual(encodeUnsuback(5, 258, [0x11]), Buffer.from([0xb0, 4, 1, 2, 0, 0x11]));
  assert.deepEqual(encodeDisconnect(0x8e, ""), Buffer.from([0xe0, 1, 0x8e]));
});
