/** Publishes for a share group that leave for a peer as they came, many in a frame: two routers with the stream between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameType } from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import type { Qos } from "../../src/protocol/publish.js";
import { headOf, messagesOf, ForwardsReader } from "../../src/routing/forwards.js";
import { Publisher } from "../../src/routing/message.js";
import { OutboxReader } from "../../src/routing/outbox-messages.js";
import { sharedRowValue } from "../../src/routing/shared-row.js";
import { TopicTable } from "../../src/routing/topic.js";
import { Taker } from "./recording-cluster.js";
import { type Content, Origin, packet, Target } from "./two-routers.js";

const key = "$share/g/+";
const one = new Publisher("p", "u", 5);
const plain: Content = { topic: "t", qos: 1, payload: "x", properties: [] };

/** An origin with a member of its own, whose peer has `online` members: round robin. */
function pair(online: number, durable = false) {
  const origin = new Origin("round_robin");
  const own = new Taker("own");
  const options = { qos: 2, noLocal: false, retainAsPublished: false, subscriptionId: 0 } as const;
  origin.router.subscribe(own, key, options, false);
  origin.router.setPeerRow(1, key, sharedRowValue({ qos: 2, durable, online, waiting: 0 }));
  origin.router.onPeerState(1, "up");
  return { origin, own, target: new Target(2, key) };
}

const numbered = (payloads: string, qos: Qos = 1): Content[] =>
  [...payloads].map((payload) => ({ ...plain, qos, payload }));

const payloadsOf = (got: readonly { readonly payload: string }[]): string =>
  got.map(({ payload }) => payload).join("");

test("one frame has what a publisher sent to members at a peer, between what it sent to others", () => {
  const { origin, own, target } = pair(2);
  const messages = origin.read(one, numbered("abcdefgh"));
  assert.deepEqual([origin.frames.length, origin.sender.length], [0, 5]);
  origin.sender.closeRun();
  assert.deepEqual(
    origin.frames.map((frame) => frame[4]),
    [FrameType.forwardsSpread],
  );
  target.take([...origin.frames, ...origin.frames]);
  assert.deepEqual([payloadsOf(own.got), payloadsOf(target.got)], ["adg", "bcefh"]);
  assert.deepEqual([target.receiver.accepted, target.receiver.counters.duplicates], [8, 5]);
  assert.ok(target.got.every(({ user, publisher }) => `${publisher} ${user}` === "p u"));
  origin.sender.accepted(7);
  assert.equal(origin.accepted.length, 0, "accepted as one");
  origin.sender.accepted(8);
  assert.deepEqual(
    origin.accepted,
    [1, 2, 4, 5, 7].map((i) => messages[i]),
  );
  assert.equal(origin.sender.length, 0);
});

test("whatever publishers send reaches one member each, in the order of its publisher", () => {
  const qos = fc.constantFrom(0 as const, 1 as const, 2 as const);
  const publisher = fc
    .constantFrom(4, 5)
    .chain((version) => fc.constantFrom("p", "q").map((id) => new Publisher(id, "", version)));
  const reads = fc.array(fc.tuple(publisher, fc.array(qos, { maxLength: 8 })), { maxLength: 8 });
  fc.assert(
    fc.property(reads, (all) => {
      const { origin, own, target } = pair(3);
      let sent = 0;
      for (const [from, qualities] of all) {
        origin.read(
          from,
          qualities.map((qos) => ({ ...plain, qos, payload: `${sent++}` })),
        );
      }
      origin.sender.closeRun();
      target.take(origin.frames);
      const there = target.got.map(({ payload }) => Number(payload));
      const here = own.got.map(({ payload }) => Number(payload));
      assert.deepEqual(
        [there, here],
        [there.toSorted((a, b) => a - b), here.toSorted((a, b) => a - b)],
      );
      assert.deepEqual(
        [...there, ...here].sort((a, b) => a - b),
        Array.from({ length: sent }, (_, i) => i),
      );
    }),
    { numRuns: 200 },
  );
});

test("a message that waits for its member holds up the acknowledgement of those behind it alone", () => {
  const { origin, target } = pair(2);
  origin.read(one, numbered("abcdef"));
  origin.sender.closeRun();
  target.accepting = false;
  target.take(origin.frames);
  assert.equal(target.receiver.accepted, 0);
  for (const message of target.parked) message.accept();
  assert.deepEqual(target.cluster.accepted, [2, 3, 5, 6]);
});

test("a node that goes down with a frame: others get each message of QoS 1, and it is accepted then", () => {
  const { origin, own } = pair(2);
  const messages = origin.read(one, numbered("abcdef"));
  origin.sender.closeRun();
  own.got.length = 0;
  origin.router.onPeerState(1, "down");
  origin.sender.setDown();
  assert.deepEqual([payloadsOf(own.got), origin.sender.length], ["bcef", 0]);
  assert.ok(messages.every(({ pending }) => pending === 0));
  assert.deepEqual([origin.router.shared.counters.rerouted, origin.accepted.length], [4, 4]);
});

test("… of QoS 2 none that it may have sent on, each of a durable row waits by itself [MQTT-4.8.2-5]", () => {
  for (const durable of [false, true]) {
    const { origin, own } = pair(2, durable);
    origin.read(one, numbered("abcdef", 2));
    origin.sender.closeRun();
    own.got.length = 0;
    origin.router.onPeerState(1, "down");
    origin.sender.setDown();
    assert.equal(own.got.length, 0);
    assert.equal(origin.accepted.length, 4);
    const waiting = [...origin.sender.waiting()];
    assert.deepEqual(
      waiting.map(({ counter, count, frame }) => [
        counter,
        count,
        frame[4],
        frame.readDoubleBE(13),
      ]),
      durable ? [2, 3, 5, 6].map((counter) => [counter, 1, FrameType.forward, counter]) : [],
    );
    assert.equal(origin.router.shared.counters.lostWithNode, durable ? 0 : 4);
  }
  const { origin, own } = pair(2);
  origin.sender.pause();
  origin.read(one, numbered("abcdef", 2));
  own.got.length = 0;
  origin.router.onPeerState(1, "down");
  origin.sender.setDown();
  assert.equal(payloadsOf(own.got), "bcef", "never written to the link");
});

test("what has rows of its own there, too, or an expiry, or not its bytes, or several groups goes alone", () => {
  const { origin } = pair(10_000);
  const types = (): (number | undefined)[] => {
    origin.sender.closeRun();
    return origin.frames.splice(0).map((frame) => frame[4]);
  };
  const { forward, forwardsSpread } = FrameType;
  const [message] = origin.read(one, [plain, plain]);
  assert.ok(message !== undefined);
  types();
  message.shape = 0;
  origin.router.publish(message);
  assert.deepEqual(types(), [forward]);
  origin.router.setPeerRow(1, "t", 8 + 1);
  origin.read(one, [plain]);
  assert.deepEqual(types(), [forward]);
  origin.router.setPeerRow(1, "t", 0);
  origin.read(one, [plain]);
  assert.deepEqual(types(), [forwardsSpread]);
  const value = sharedRowValue({ qos: 1, durable: false, online: 10_000, waiting: 0 });
  origin.router.setPeerRow(1, "$share/h/t", value);
  origin.read(one, [plain]);
  assert.deepEqual(types(), [forward]);
  origin.router.setPeerRow(1, "$share/h/t", 0);
  const lowest = sharedRowValue({ qos: 0, durable: false, online: 10_000, waiting: 0 });
  origin.router.setPeerRow(1, key, lowest);
  origin.read(one, [plain, { ...plain, qos: 0 }]);
  assert.deepEqual(types(), [forward, forwardsSpread]);
});

test("a frame that waits is read as messages of the group", () => {
  const { origin } = pair(2);
  origin.read(one, numbered("abc"));
  origin.sender.closeRun();
  const [sent] = origin.sender.waiting();
  assert.ok(sent !== undefined);
  const found = new OutboxReader(new TopicTable(), realClock).read(sent);
  assert.deepEqual(
    found.map(({ message, shared }) => [message.counter, shared?.keys, shared?.only]),
    [2, 3].map((counter) => [counter, [key], true]),
  );
});

test("random bytes, and bodies cut or changed anywhere, are counted and never read beyond", () => {
  const name = Buffer.from(key);
  const packets = [1, 2].flatMap((id) => [Buffer.from([0, 0, 0, id]), packet(5, id, plain)]);
  const whole = Buffer.concat([Buffer.from([0, name.length]), name, headOf(one), ...packets]);
  const change = fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }));
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.nat(whole.length).map((end) => whole.subarray(0, end)),
    fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
      const changed = Uint8Array.from(whole);
      for (const [at, value] of changes) changed[at] = value;
      return changed;
    }),
  );
  const reader = new ForwardsReader(new TopicTable(), realClock);
  fc.assert(
    fc.property(bodies, (body) => {
      const frame = Buffer.concat([Buffer.alloc(29), Buffer.from(body)]);
      for (const { payloadStart, payloadEnd } of messagesOf(frame, reader)) {
        assert.ok(payloadStart <= payloadEnd && payloadEnd <= frame.length);
      }
    }),
    { numRuns: 1000 },
  );
  const { router, got, receiver } = new Target(1, key);
  router.onForwardsSpread(1, 50, 1, whole, 0, whole.length - 1, receiver);
  assert.deepEqual([got.length, router.counters.undecodable], [1, 1]);
  router.onForwardsSpread(1, 50, 9, Buffer.alloc(1), 0, 1, receiver);
  assert.deepEqual([got.length, router.counters.undecodable], [1, 2]);
});
