/** Packet ids and states of messages in flight. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Awaiting, OutgoingWindow } from "../../src/session/window.js";
import { deliveryTo, message } from "./support.js";

const some = message("t", "x", 1);
const delivery = deliveryTo(null, 2);

test("ids count up, wrap after 65535, and are never used twice while in flight", () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 40 }), qos: fc.constantFrom(1, 2) }),
    fc.record({ ack: fc.nat() }),
    fc.record({ pass: fc.integer({ min: 1, max: 40 }) }),
    fc.record({ run: fc.integer({ min: 1, max: 60 }), qos: fc.constantFrom(1, 2) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 65_535 }),
      fc.array(step, { maxLength: 200 }),
      (first, steps) => {
        const window = new OutgoingWindow(100, 1_000_000, false);
        window.restoreNext(first);
        const model = new Map<number, Awaiting>();
        let next = first;
        for (const one of steps) {
          if ("take" in one) {
            for (let i = 0; i < one.take && window.hasRoom; i++) {
              assert.equal(window.nextId, next);
              assert.ok(!model.has(next), `id ${next} twice`);
              window.take(one.qos, some, delivery);
              model.set(next, one.qos === 1 ? Awaiting.Puback : Awaiting.Pubrec);
              next = next === 65_535 ? 1 : next + 1;
            }
            continue;
          }
          if ("run" in one) {
            if (next + one.run > 65_535 || !window.hasRoomFor(one.run)) continue;
            window.takeRun(one.qos, one.run);
            for (const end = next + one.run; next < end; next++) {
              model.set(next, one.qos === 1 ? Awaiting.Puback : Awaiting.Pubrec);
            }
            continue;
          }
          if ("pass" in one) {
            for (let i = 0; i < one.pass && window.hasRoom; i++) {
              window.pass();
              next = next === 65_535 ? 1 : next + 1;
            }
            continue;
          }
          const ids = [...model.keys()];
          const id = ids[one.ack % Math.max(1, ids.length)];
          if (id === undefined) continue;
          if (model.get(id) === Awaiting.Pubrec) {
            window.received(id);
            model.set(id, Awaiting.Pubcomp);
          } else {
            window.complete(id);
            model.delete(id);
          }
        }
        assert.equal(window.inFlight, model.size);
        assert.deepEqual([...window.ids()], [...model.keys()]);
        for (let id = 0; id <= 65_535; id += 97)
          assert.equal(window.stateOf(id), model.get(id) ?? 0);
        for (const [id, state] of model) assert.equal(window.stateOf(id), state);
        assert.equal(window.hasRoom, model.size < 100);
      },
    ),
    { numRuns: 200, seed: 5 },
  );
});

test("ids that are not in flight wait for nothing", () => {
  const window = new OutgoingWindow(10, 1000, false);
  for (const id of [0, 1, 2, 65_535]) assert.equal(window.stateOf(id), Awaiting.Nothing);
  window.take(1, some, delivery);
  assert.equal(window.stateOf(1), Awaiting.Puback);
  assert.equal(window.stateOf(2), Awaiting.Nothing);
  assert.equal(window.stateOf(17), Awaiting.Nothing);
});

test("one that is never acknowledged stops the ids before they meet", () => {
  const window = new OutgoingWindow(65_535, 1_000_000, false);
  window.take(1, some, delivery);
  let sent = 1;
  while (window.hasRoom) {
    const id = window.nextId;
    window.take(1, some, delivery);
    window.complete(id);
    sent++;
  }
  assert.equal(sent, 65_000);
  window.complete(1);
  assert.equal(window.hasRoom, true);
});

test("a kept window counts the bytes of its messages and is full at the limit", () => {
  const window = new OutgoingWindow(100, 40, true);
  const big = message("t", "x".repeat(20), 2);
  window.take(2, big, delivery);
  assert.equal(window.keptBytes, 21);
  assert.equal(window.hasRoom, true);
  window.take(2, big, delivery);
  assert.equal(window.hasRoom, false);
  window.received(1);
  assert.equal(window.keptBytes, 21);
  assert.equal(window.messageOf(1), null);
  window.complete(2);
  assert.equal(window.keptBytes, 0);
});

test("after a restart everything is sent again in order, within the new Receive Maximum", () => {
  const window = new OutgoingWindow(100, 1_000_000, true);
  for (let i = 0; i < 6; i++) window.take(i % 2 === 0 ? 1 : 2, some, delivery);
  window.received(2);
  window.complete(3);
  window.restart(3, true);
  assert.equal(window.hasRoom, false);
  // Id 2 waits for PUBCOMP and counts; two PUBLISHes fit beside it.
  assert.deepEqual([window.nextResend(), window.nextResend(), window.nextResend()], [1, 4, 0]);
  // Acknowledged before it was sent again: makes no room.
  window.complete(6);
  assert.equal(window.nextResend(), 0);
  window.complete(1);
  assert.deepEqual([window.nextResend(), window.nextResend()], [5, 0]);
  window.complete(2);
  assert.equal(window.nextResend(), 0);
  assert.equal(window.resending, false);
  assert.equal(window.hasRoom, true);
  assert.equal(window.nextId, 7);
});

test("ids that are restored with gaps between them are the only ones in flight", () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 65_535 }), gaps, (first, steps) => {
      const window = new OutgoingWindow(100, 1_000_000, true);
      const ids: number[] = [];
      const after = (id: number, step: number): number => ((id - 1 + step) % 65_535) + 1;
      let id = first;
      for (const step of steps) {
        window.restore(id, Awaiting.Pubrec, null, null);
        ids.push(id);
        id = after(id, step);
      }
      window.restoreNext(after(id, 200));
      assert.deepEqual([...window.ids()], ids);
      assert.equal(window.inFlight, ids.length);
    }),
  );
});
