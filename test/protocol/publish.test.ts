/** The hot-path codec against mqtt-packet, and against what it must refuse. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import mqttPacket from "mqtt-packet";
import { ack, decodeAck, writeAck } from "../../src/protocol/acks.js";
import { FrameReader } from "../../src/protocol/framing.js";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import {
  decodePublish,
  headerBytes,
  PublishView,
  publishRemaining,
  writePublishHead,
} from "../../src/protocol/publish.js";
import { topicName } from "../../src/protocol/topics.js";

const validText = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 30 })
  .filter((value) => !/[\0+#]|\p{Surrogate}/u.test(value));
const publish = fc.record({
  topic: validText,
  payload: fc.uint8Array({ maxLength: 300 }),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  retain: fc.boolean(),
  dup: fc.boolean(),
  messageId: fc.integer({ min: 1, max: 65_535 }),
});
const properties = fc.record(
  {
    payloadFormatIndicator: fc.boolean(),
    messageExpiryInterval: fc.integer({ min: 0, max: 0xffff_ffff }),
    contentType: validText,
    responseTopic: validText,
    correlationData: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    userProperties: fc.record({
      a: validText,
      b: fc.array(validText, { minLength: 2, maxLength: 3 }),
    }),
  },
  { requiredKeys: [] },
);

/** Decodes one whole PUBLISH. */
function decode(bytes: Buffer, version: number): PublishView {
  const view = new PublishView();
  const reader = new FrameReader(
    {
      onFrame: (all, first, start, end) => {
        decodePublish(all, all[first] ?? 0, start, end, version, 64, view);
        return true;
      },
    },
    1_000_000,
  );
  reader.connectOnly = false;
  reader.push(bytes);
  return view;
}

/** What mqtt-packet makes of one whole packet. */
function parse(bytes: Buffer, version: number): mqttPacket.Packet {
  const parser = mqttPacket.parser({ protocolVersion: version });
  const found: mqttPacket.Packet[] = [];
  parser.on("packet", (packet) => found.push(packet));
  parser.on("error", (error: Error) => assert.fail(error));
  parser.parse(bytes);
  assert.equal(found.length, 1);
  return found[0] as mqttPacket.Packet; // counted above
}

test("what mqtt-packet writes is decoded, and what we write mqtt-packet reads", () => {
  fc.assert(
    fc.property(publish, properties, fc.constantFrom(4, 5), (given, props, version) => {
      const dup = given.dup && given.qos > 0;
      const sent = { ...given, dup, payload: Buffer.from(given.payload) };
      const packet = version === 5 ? { ...sent, properties: props } : sent;
      const bytes = mqttPacket.generate(
        { cmd: "publish", ...packet },
        { protocolVersion: version },
      );
      const view = decode(bytes, version);
      assert.equal(topicName(bytes, view.topicStart, view.topicEnd), given.topic);
      assert.deepEqual([view.qos, view.retain, view.dup], [given.qos, given.retain, dup]);
      assert.equal(view.packetId, given.qos === 0 ? 0 : given.messageId);
      assert.deepEqual(bytes.subarray(view.payloadStart, view.payloadEnd), sent.payload);

      const ids = version === 5 ? [1, 200, 300_000] : null;
      const topic = Buffer.from(given.topic);
      const raw = view.propertiesEnd - view.propertiesStart;
      const { qos } = given;
      const payloadBytes = sent.payload.length;
      const remaining = publishRemaining(topic.length, qos, version, raw, ids, payloadBytes);
      const out = Buffer.alloc(headerBytes(remaining) + remaining);
      const at = writePublishHead(
        out,
        0,
        0x30 | (qos << 1),
        remaining,
        topic,
        view.packetId,
        version,
        bytes,
        view.propertiesStart,
        view.propertiesEnd,
        ids,
      );
      assert.equal(out.length - at, payloadBytes);
      sent.payload.copy(out, at);
      const read = parse(out, version);
      assert.ok(read.cmd === "publish");
      assert.equal(read.topic, given.topic);
      assert.deepEqual(Buffer.from(read.payload), sent.payload);
      if (version !== 5) return;
      assert.deepEqual(read.properties?.subscriptionIdentifier, ids);
      const { subscriptionIdentifier: _ids, ...others } = read.properties ?? {};
      const before = parse(bytes, version);
      assert.deepEqual(others, { ...(before.cmd === "publish" ? before.properties : {}) });
    }),
    { numRuns: 300, seed: 2 },
  );
});

test("a PUBLISH cut short or with bytes changed throws a ProtocolError or stays within its bytes", () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(
      publish,
      properties,
      fc.array(change, { maxLength: 4 }),
      fc.nat(),
      (given, props, changes, cut) => {
        const payload = Buffer.from(given.payload);
        const packet = {
          cmd: "publish" as const,
          ...given,
          dup: false,
          payload,
          properties: props,
        };
        const bytes = mqttPacket.generate(packet, { protocolVersion: 5 });
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        const view = new PublishView();
        const end = 2 + (cut % (bytes.length - 1));
        try {
          decodePublish(bytes, bytes[0] ?? 0, 2, end, 5, 64, view);
        } catch (error) {
          assert.ok(error instanceof ProtocolError, String(error));
          return;
        }
        assert.ok(view.topicStart < view.topicEnd && view.topicEnd <= view.propertiesStart);
        assert.ok(view.propertiesStart <= view.propertiesEnd);
        assert.ok(view.propertiesEnd <= view.payloadStart && view.payloadStart <= view.payloadEnd);
        assert.equal(view.payloadEnd, end);
      },
    ),
    { numRuns: 1000, seed: 3 },
  );
});

const ackTypes = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

test("acknowledgements are the same for us and for mqtt-packet", () => {
  for (const [cmd, type] of Object.entries(ackTypes)) {
    for (const reason of [0, type >= 0x62 ? 0x92 : 0x97]) {
      const out = Buffer.alloc(5);
      const length = writeAck(out, 0, type, 513, reason);
      const bytes = out.subarray(0, length);
      const packet = parse(bytes, 5);
      assert.deepEqual([packet.cmd, packet.messageId], [cmd, 513]);
      assert.ok("reasonCode" in packet && packet.reasonCode === reason);
      decodeAck(type, bytes, 2, length, 5, 64);
      assert.deepEqual(ack, { packetId: 513, reason });
    }
    const properties = { reasonString: "because", userProperties: { a: "b" } };
    const long = mqttPacket.generate(
      { cmd: cmd as keyof typeof ackTypes, messageId: 7, reasonCode: 0, properties },
      { protocolVersion: 5 },
    );
    decodeAck(type, long, 2, long.length, 5, 64);
    assert.deepEqual(ack, { packetId: 7, reason: 0 });
  }
});

test("acknowledgements of the wrong length, id or properties are refused", () => {
  const cases: [number, number, number[]][] = [
    [4, 0x81, [1]],
    [4, 0x81, [0, 1, 0]],
    [4, 0x82, [0, 0]],
    [5, 0x81, []],
    [5, 0x82, [0, 0, 0]],
    [5, 0x81, [0, 1, 0, 9]],
    [5, 0x82, [0, 1, 0, 3, 0x23, 0, 1]],
    [5, 0x81, [0, 1, 0, 0, 0]],
    [5, 0x82, [0, 1, 0xff]],
    [5, 0x82, [0, 1, 0x92]], // of PUBREL and PUBCOMP only
  ];
  for (const [version, reason, body] of cases) {
    const bytes = Buffer.from([0x40, body.length, ...body]);
    assert.throws(
      () => decodeAck(ackTypes.puback, bytes, 2, bytes.length, version, 64),
      (error: unknown) => error instanceof ProtocolError && error.reason === reason,
      `${body}`,
    );
  }
});
