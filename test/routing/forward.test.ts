/** Forwards: what they carry, and that message expiry counts down while they wait for their link. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Link } from "../../src/cluster/link.js";
import { StreamSender } from "../../src/cluster/stream.js";
import { forwardHeaderBytes } from "../../src/cluster/wire/frames.js";
import { expiryAt } from "../../src/protocol/properties.js";
import { countDownForward, decodeForward, encodeForward } from "../../src/routing/forward.js";
import { Message } from "../../src/routing/message.js";
import { Router } from "../../src/routing/router.js";
import { TopicTable } from "../../src/routing/topic.js";
import { deliveryTo, ManualClock } from "../session/support.js";
import { LoneCluster } from "../support/front-end.js";

const topics = new TopicTable();
/** Content type "t", expiry 10 s, format 1. */
const properties = [0x03, 0, 1, 0x74, 0x02, 0, 0, 0, 10, 0x01, 1];

function messageOf(clock: ManualClock, expires: boolean): Message {
  const bytes = Buffer.from([...properties, ...Buffer.from("hello")]);
  const topic = topics.internName("a/b");
  const message = new Message(topic, 1, true, "client", bytes, 0, 11, 11, 16);
  message.user = "ann";
  message.stamp = 5;
  if (expires) message.expireIn(10, clock.monotonicMs());
  return message;
}

function decode(frame: Buffer, clock: ManualClock): Message {
  return decodeForward(topics, Buffer.from(frame), forwardHeaderBytes, frame.length, clock);
}

test("a forward carries every field there and back", () => {
  const clock = new ManualClock();
  for (const expires of [false, true]) {
    const message = messageOf(clock, expires);
    const got = decode(encodeForward(message, 1, clock), clock);
    const { topic, qos, retain, publisher, user, stamp, expiresMs } = got;
    assert.deepEqual([topic.name, qos, retain, publisher], ["a/b", 1, true, "client"]);
    assert.deepEqual([user, stamp, expiresMs], ["ann", 5, message.expiresMs]);
    const raw = got.bytes.subarray(got.propertiesStart, got.propertiesEnd);
    assert.deepEqual([...raw], properties);
    assert.equal(got.bytes.toString("utf8", got.payloadStart, got.payloadEnd), "hello");
  }
});

test("the receiver writes the time that is left into the properties", () => {
  const clock = new ManualClock();
  const message = messageOf(clock, true);
  clock.advance(3500);
  const frame = encodeForward(message, 1, clock);
  const got = decode(frame, clock);
  const at = expiryAt(got.bytes, got.propertiesStart, got.propertiesEnd);
  assert.equal(got.bytes.readUInt32BE(at), 7);
  assert.equal(got.expiresMs, clock.monotonicMs() + 7000);
  // It waits on this side for two seconds more.
  clock.advance(2100);
  countDownForward(frame, message.expiresMs, clock);
  assert.equal(decode(frame, clock).expiresMs, clock.monotonicMs() + 5000);
});

test("a stream counts down what waited for its link, and repeats", () => {
  const clock = new ManualClock();
  const sent: number[] = [];
  const link = {
    dataBufferedBytes: 0,
    sendData: (frame: Buffer) => sent.push(decode(frame, clock).expiresMs - clock.monotonicMs()),
  } as unknown as Link; // all that a stream uses of it
  const limits = { outputBytes: 1000, outboxMessages: 10, outboxBytes: 10_000 };
  const stream = new StreamSender(1, limits, (frame, expiresMs) =>
    countDownForward(frame, expiresMs, clock),
  );
  stream.setLive();
  const message = messageOf(clock, true);
  message.pending = 1;
  stream.send(1, encodeForward(message, 1, clock), true, message);
  clock.advance(4000);
  stream.resume(link);
  stream.pause();
  clock.advance(4000);
  stream.resume(link);
  clock.advance(4000);
  stream.pause();
  stream.resume(link);
  assert.deepEqual(sent, [6000, 2000, 0]);
});

test("a forward that comes too late is accepted and goes to nobody; its retained message is over", () => {
  const clock = new ManualClock();
  const retained = { messages: 10, bytes: 1000, forgetAfterMs: 1000, ttlMs: 0 };
  const router = new Router(new LoneCluster(), retained, clock);
  let delivered = 0;
  const subscriber = {
    ...deliveryTo(null, 1).subscriber,
    deliver: () => {
      delivered++;
      return true;
    },
  };
  const options = { qos: 1, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  router.subscribe(subscriber, "a/b", options, false);
  const frame = encodeForward(messageOf(clock, true), 1, clock);
  const forward = (left: number): boolean => {
    const copy = Buffer.from(frame);
    copy.writeUInt32BE(left, forwardHeaderBytes + 9);
    copy.writeDoubleBE(left, forwardHeaderBytes + 1);
    return router.onForward(0, 1, 1, copy, forwardHeaderBytes, copy.length);
  };
  assert.equal(forward(3), true);
  assert.deepEqual([delivered, router.retained.size], [1, 1]);
  // A newer one takes its place and is over.
  const late = Buffer.from(frame);
  late.writeUInt32BE(0, forwardHeaderBytes + 9);
  late.writeDoubleBE(9, forwardHeaderBytes + 1);
  assert.equal(router.onForward(0, 1, 2, late, forwardHeaderBytes, late.length), true);
  assert.deepEqual([delivered, router.counters.expired, router.retained.size], [1, 1, 0]);
});

test("a forward cut off anywhere is refused", () => {
  const clock = new ManualClock();
  const frame = encodeForward(messageOf(clock, true), 1, clock);
  for (let end = forwardHeaderBytes; end < frame.length - 5; end++) {
    const cut = Buffer.from(frame.subarray(0, end));
    assert.throws(() => decodeForward(topics, cut, forwardHeaderBytes, end, clock), `${end}`);
  }
});
