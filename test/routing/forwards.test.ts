/** Publishes that leave for a peer as they came: two routers with the stream between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameType } from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import { ForwardsReader, headOf } from "../../src/routing/forwards.js";
import { Publisher } from "../../src/routing/message.js";
import type { PublishRun } from "../../src/routing/publish-run.js";
import { TopicTable } from "../../src/routing/topic.js";
import { type Content, Origin, packet, Target } from "./two-routers.js";

const content: fc.Arbitrary<Content> = fc.record({
  topic: fc.constantFrom("a", "b/c", "ä"),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  payload: fc.string({ maxLength: 20 }),
  // A user property, or a response topic, or none.
  properties: fc.constantFrom([], [38, 0, 1, 120, 0, 1, 121], [8, 0, 1, 114]),
});
const publisher = fc
  .tuple(fc.string({ minLength: 1, maxLength: 10 }), fc.string({ maxLength: 10 }))
  .chain(([clientId, user]) =>
    fc.constantFrom(4, 5).map((version) => new Publisher(clientId, user, version)),
  );

test("whatever connections send comes out at the peer as it went in, in order, and is accepted once", () => {
  const reads = fc.array(fc.tuple(publisher, fc.array(content, { maxLength: 8 })), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(reads, (all) => {
      const origin = new Origin();
      const target = new Target(2);
      origin.router.setPeerRow(1, "#", 8 + 2);
      const sent: unknown[] = [];
      let numbered = 0;
      for (const [from, contents] of all) {
        const messages = origin.read(from, contents);
        const { clientId, user, version } = from;
        const waits = messages.filter(({ qos }) => qos > 0);
        assert.ok(waits.every(({ pending }) => pending === 1));
        numbered += waits.length;
        for (const one of contents) {
          const properties = version === 5 ? [...one.properties] : [];
          sent.push({ ...one, properties, publisher: clientId, user, version });
        }
      }
      origin.sender.closeRun();
      target.take(origin.frames);
      assert.deepEqual(target.got, sent);
      assert.equal(target.receiver.accepted, numbered);
      origin.sender.accepted(numbered);
      assert.equal(origin.accepted.length, numbered);
      assert.equal(target.router.counters.received, sent.length);
    }),
    { numRuns: 300 },
  );
});

const plain: Content = { topic: "t", qos: 1, payload: "x", properties: [] };
const one = new Publisher("p", "u", 5);

test("what came side by side leaves in one frame; a repeat of it is taken once", () => {
  const origin = new Origin();
  const target = new Target(1);
  origin.router.setPeerRow(1, "#", 8 + 1);
  origin.read(one, [plain, plain, plain]);
  origin.sender.closeRun();
  assert.equal(origin.frames.length, 1);
  target.take([...origin.frames, ...origin.frames]);
  assert.deepEqual([target.got.length, target.receiver.counters.duplicates], [3, 3]);
});

test("a run is acknowledged when the last of it is accepted", () => {
  const origin = new Origin();
  const target = new Target(1);
  origin.router.setPeerRow(1, "#", 8 + 1);
  origin.read(one, [plain, plain]);
  origin.sender.closeRun();
  target.accepting = false;
  target.take(origin.frames);
  assert.equal(target.receiver.accepted, 0);
  for (const message of target.parked) message.accept();
  assert.deepEqual(target.cluster.accepted, [1, 2]);
});

test("with an expiry that somebody waits for, a lower QoS or changed bytes it goes alone", () => {
  const origin = new Origin();
  origin.router.setPeerRow(1, "t", 8 + 1);
  origin.router.setPeerRow(1, "low", 8);
  const soon = [2, 0, 0, 0, 9];
  const [message] = origin.read(one, [plain]);
  assert.ok(message !== undefined);
  message.expireIn(9, 0);
  origin.router.publish(message);
  message.expiresMs = 0;
  message.shape = 0;
  origin.router.publish(message);
  origin.read(one, [{ ...plain, topic: "low" }]);
  const types = origin.frames.map((frame) => frame[4]);
  const { forward, forwards } = FrameType;
  assert.deepEqual(types, [forwards, forward, forward, forward]);
  // Where nobody waits it leaves in this turn, whole.
  const target = new Target(1);
  origin.frames.length = 0;
  origin.read(one, [{ ...plain, topic: "low", qos: 0, properties: soon }]);
  origin.sender.closeRun();
  target.take(origin.frames);
  assert.deepEqual(target.got[0]?.properties, soon);
});

test("random bytes, and bodies cut or changed anywhere, are counted and never read beyond", () => {
  const frames = Buffer.concat([headOf(one), packet(5, 1, plain), packet(5, 2, plain)]);
  const change = fc.tuple(fc.nat(frames.length - 1), fc.integer({ min: 0, max: 255 }));
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.nat(frames.length).map((end) => frames.subarray(0, end)),
    fc.array(change, { minLength: 1, maxLength: 3 }).map((changes) => {
      const changed = Uint8Array.from(frames);
      for (const [at, value] of changes) changed[at] = value;
      return changed;
    }),
  );
  const reader = new ForwardsReader(new TopicTable(), realClock);
  fc.assert(
    fc.property(bodies, (body) => {
      const bytes = Buffer.concat([Buffer.from(body), Buffer.alloc(40, 0x30)]);
      reader.open(bytes, 0, body.length);
      for (let message = reader.next(); message !== null; message = reader.next()) {
        assert.ok(message.payloadStart <= message.payloadEnd);
        assert.ok(message.payloadEnd <= body.length);
      }
    }),
    { numRuns: 2000 },
  );
  const target = new Target(1);
  const { receiver, router } = target;
  router.onForwards(1, 50, 1, 2, false, frames, 0, frames.length - 1, receiver);
  assert.deepEqual([target.got.length, router.counters.undecodable], [1, 1]);
});

test("a body that is not the run its sender says it is comes one by one", () => {
  const other = { ...plain, qos: 0 as const };
  const long = { ...plain, payload: "longer" };
  const head = headOf(one);
  const [a, b, c, d] = [
    packet(5, 1, plain),
    packet(5, 2, plain),
    packet(5, 1, other),
    packet(5, 3, long),
  ];
  const count = (target: Target, body: Buffer, promised: number): void =>
    target.router.onForwards(1, 50, 1, promised, true, body, 0, body.length, target.receiver);
  for (const [packets, promised, runs, messages] of [
    [[a, b, d], 3, 1, 0],
    [[a, b, d], 2, 0, 3],
    [[a, b, d], 4, 0, 3],
    [[a, c, b], 3, 0, 3],
    [[a, b, d.subarray(0, 5)], 3, 0, 2],
    [[packet(5, 1, { ...plain, properties: [8, 0, 1, 114] }), b], 2, 0, 2],
  ] as const) {
    const target = new Target(1);
    const taken: number[] = [];
    const withRuns = Object.assign(target, {
      deliverRun: (run: PublishRun) => {
        taken.push(run.count);
        assert.equal(run.longest, d.length);
        return true;
      },
    });
    count(withRuns, Buffer.concat([head, ...packets]), promised);
    assert.deepEqual([taken.length, target.got.length], [runs, messages]);
    assert.equal(target.receiver.accepted, runs > 0 ? promised : messages);
  }
});
