/** A message on its way to a peer: what goes in comes out, and what is broken is an error, no more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { forwardHeaderBytes } from "../../src/cluster/wire/frames.js";
import type { Qos } from "../../src/protocol/publish.js";
import { realClock } from "../../src/lib/clock.js";
import { decodeForward, encodeForward } from "../../src/routing/forward.js";
import { Message } from "../../src/routing/message.js";
import { PeerOrigins } from "../../src/routing/origins.js";
import { TopicTable } from "../../src/routing/topic.js";

interface Content {
  readonly topic: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly publisher: string;
  readonly user: string;
  readonly stamp: number;
  readonly properties: Buffer;
  readonly payload: Buffer;
}

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const text = fc.string({ unit: "grapheme", maxLength: 40 });
const content: fc.Arbitrary<Content> = fc.record({
  topic: fc.stringMatching(/^[a-z/ä€𝄞]{1,30}$/u),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  retain: fc.boolean(),
  publisher: text,
  user: text,
  stamp: fc.maxSafeNat(),
  properties: bytes,
  payload: bytes,
});

/** The message in a slab with other bytes around it. */
function messageOf(topics: TopicTable, one: Content): Message {
  const slab = Buffer.concat([Buffer.alloc(7, 1), one.properties, one.payload, Buffer.alloc(3, 2)]);
  const payloadStart = 7 + one.properties.length;
  const topic = topics.internName(one.topic);
  const end = payloadStart + one.payload.length;
  const { qos, retain, publisher } = one;
  const message = new Message(
    topic,
    qos,
    retain,
    publisher,
    slab,
    7,
    payloadStart,
    payloadStart,
    end,
  );
  message.user = one.user;
  message.stamp = one.stamp;
  return message;
}

const contentOf = (message: Message): Content => ({
  topic: message.topic.name,
  qos: message.qos,
  retain: message.retain,
  publisher: message.publisher,
  user: message.user,
  stamp: message.stamp,
  properties: Buffer.from(message.bytes.subarray(message.propertiesStart, message.propertiesEnd)),
  payload: Buffer.from(message.bytes.subarray(message.payloadStart, message.payloadEnd)),
});

test("any message comes out as it went in, at the QoS that the frame was made for", () => {
  fc.assert(
    fc.property(content, fc.constantFrom(0 as const, 1 as const, 2 as const), (one, qos) => {
      const frame = encodeForward(messageOf(new TopicTable(), one), qos, realClock);
      const topics = new TopicTable();
      const received = Buffer.concat([Buffer.alloc(5, 3), frame, Buffer.alloc(5, 4)]);
      const start = 5 + forwardHeaderBytes;
      const decoded = decodeForward(topics, received, start, 5 + frame.length, realClock);
      assert.deepEqual(contentOf(decoded), { ...one, qos });
      decoded.own();
      received.fill(0);
      assert.deepEqual(contentOf(decoded), { ...one, qos });
    }),
    { numRuns: 500 },
  );
});

test("cut off anywhere it is an error, or a message within its bytes; never more", () => {
  fc.assert(
    fc.property(content, fc.nat(), (one, cut) => {
      const frame = encodeForward(messageOf(new TopicTable(), one), one.qos, realClock);
      const end = forwardHeaderBytes + (cut % (frame.length - forwardHeaderBytes));
      tryDecode(frame, end);
      // The rest of the chunk may hold another frame: it must not be read as part of this one.
      tryDecode(frame.subarray(0, end), end);
    }),
    { numRuns: 2000 },
  );
});

test("with any bytes changed it is an error, or a message within its bytes; never more", () => {
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(content, fc.array(change, { maxLength: 4 }), (one, changes) => {
      const frame = encodeForward(messageOf(new TopicTable(), one), one.qos, realClock);
      for (const [at, value] of changes) {
        frame[forwardHeaderBytes + (at % (frame.length - forwardHeaderBytes))] = value;
      }
      tryDecode(frame, frame.length);
    }),
    { numRuns: 2000 },
  );
});

test("random bytes are an error, or a message within its bytes; never more", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (array) => {
      tryDecode(
        Buffer.concat([Buffer.alloc(forwardHeaderBytes), array]),
        forwardHeaderBytes + array.length,
      );
    }),
    { numRuns: 2000 },
  );
});

function tryDecode(frame: Buffer, end: number): void {
  let message: Message;
  try {
    message = decodeForward(new TopicTable(), frame, forwardHeaderBytes, end, realClock);
  } catch (error) {
    assert.ok(error instanceof Error);
    return;
  }
  const { propertiesStart, propertiesEnd, payloadStart, payloadEnd } = message;
  assert.ok(forwardHeaderBytes <= propertiesStart && propertiesStart <= propertiesEnd);
  assert.ok(propertiesEnd === payloadStart && payloadStart <= payloadEnd && payloadEnd === end);
}

test("the frame is the message's own: the slab may change behind it", () => {
  const topics = new TopicTable();
  const one: Content = {
    ...{ topic: "t", qos: 1, retain: false, publisher: "p", user: "", stamp: 0 },
    ...{ properties: Buffer.from([1, 0]), payload: Buffer.from("payload") },
  };
  const message = messageOf(topics, one);
  const frame = encodeForward(message, 1, realClock);
  message.bytes.fill(0);
  const decoded = decodeForward(topics, frame, forwardHeaderBytes, frame.length, realClock);
  assert.deepEqual(contentOf(decoded), one);
});

test("what a message was committed under goes with it, and peers' names come before it", () => {
  const topics = new TopicTable();
  const one = messageOf(topics, {
    ...{ topic: "t", qos: 2, retain: false, publisher: "p", user: "u", stamp: 0 },
    ...{ properties: Buffer.from([1, 1]), payload: Buffer.from("x") },
  });
  const origins = new PeerOrigins(
    (peer) => `n${peer}@h`,
    () => "self@h",
  );
  for (const name of ["/qos2", "/wills", "/given"]) {
    one.origin = { name, incarnation: 1_800_000_000_000 };
    one.identity = 77;
    const frame = encodeForward(one, 2, realClock);
    const taken = decodeForward(topics, frame, forwardHeaderBytes, frame.length, realClock);
    assert.deepEqual([taken.origin, taken.identity], [one.origin, 77]);
    assert.equal(taken.bytes.toString("utf8", taken.payloadStart, taken.payloadEnd), "x");
    assert.equal(taken.user, "u");
    origins.set(taken, 3, 5, 9);
    assert.deepEqual(taken.origin, { name: `n3@h${name}`, incarnation: 1_800_000_000_000 });
    assert.equal(taken.identity, 77);
    // On its way on to another node it keeps that name, and comes home without it.
    for (const [own, here] of [
      ["self@h", `n3@h${name}`],
      ["n3@h", name],
    ] as const) {
      const further = encodeForward(taken, 2, realClock);
      const there = decodeForward(topics, further, forwardHeaderBytes, further.length, realClock);
      assert.equal(there.bytes.toString("utf8", there.payloadStart, there.payloadEnd), "x");
      new PeerOrigins(
        () => "n4@h",
        () => own,
      ).set(there, 4, 6, 10);
      assert.deepEqual(there.origin, { name: here, incarnation: 1_800_000_000_000 });
      assert.equal(there.identity, 77);
    }
    const unknown = Buffer.from(frame);
    // The kind is behind flags, stamp, expiry, topic, publisher and user.
    unknown.writeUInt8(9, forwardHeaderBytes + 13 + 3 + 3 + 3);
    assert.throws(() => {
      decodeForward(topics, unknown, forwardHeaderBytes, unknown.length, realClock);
    }, /unknown origin/);
  }
  // The stream through which it had come before a session gave it away is the same everywhere.
  one.origin = { name: "n5@h", incarnation: 6 };
  const given = encodeForward(one, 2, realClock);
  const got = decodeForward(topics, given, forwardHeaderBytes, given.length, realClock);
  origins.set(got, 3, 5, 9);
  assert.deepEqual([got.origin, got.identity], [one.origin, 77]);
  one.origin = null;
  const plain = encodeForward(one, 2, realClock);
  const taken = decodeForward(topics, plain, forwardHeaderBytes, plain.length, realClock);
  assert.equal(taken.origin, null);
  origins.set(taken, 3, 5, 9);
  assert.deepEqual(
    [taken.origin, taken.identity],
    [{ name: "n3@h", incarnation: 5, isStream: true }, 9],
  );
});
