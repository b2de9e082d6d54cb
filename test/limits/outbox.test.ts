/** What may wait for a peer that is away: counted in messages and bytes, and free again when it is accepted. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamSender } from "../../src/cluster/stream.js";
import { forwardHeaderBytes } from "../../src/cluster/wire/frames.js";

const frame = (bytes: number): Buffer => Buffer.alloc(Math.max(bytes, forwardHeaderBytes));
const receipt = { accept: () => undefined, expiresMs: 0 };

function sender(outboxMessages: number, outboxBytes: number): StreamSender {
  const limits = { outputBytes: 1e6, outboxMessages, outboxBytes };
  return new StreamSender(1, limits, () => undefined);
}

test("limits.outbox_messages: full at that many, free again when the peer has accepted", () => {
  const stream = sender(2, 1e6);
  assert.ok(stream.hasRoom(100));
  for (const counter of [1, 2]) stream.send(counter, frame(100), true, receipt);
  assert.equal(stream.hasRoom(1), false);
  assert.deepEqual([stream.length, stream.heldBytes, stream.counters.outboxed], [2, 200, 2]);
  stream.accepted(1);
  assert.ok(stream.hasRoom(1));
});

test("limits.outbox_bytes: what would go over it has no room", () => {
  const stream = sender(100, 1000);
  stream.send(1, frame(900), true, receipt);
  assert.deepEqual([stream.hasRoom(100), stream.hasRoom(101)], [true, false]);
  stream.discard();
  assert.deepEqual([stream.heldBytes, stream.counters.droppedDown], [0, 1]);
  assert.ok(stream.hasRoom(1000));
});

test("cluster.forget_after: what has waited so long for a peer that is down goes, and is counted", () => {
  const limits = { outputBytes: 1e6, outboxMessages: 100, outboxBytes: 1e6, outboxAgeMs: 1000 };
  const stream = new StreamSender(1, limits, () => undefined);
  const told = [0, 0, 0];
  const send = (counter: number): void => {
    const waiter = { accept: () => void (told[counter] = (told[counter] ?? 0) + 1), expiresMs: 0 };
    stream.send(counter, frame(100), true, waiter);
  };
  stream.setTime(5000);
  send(1);
  stream.setTime(5900);
  send(2);
  assert.deepEqual([stream.length, stream.oldestMs, stream.counters.outboxExpired], [2, 5000, 0]);
  stream.setTime(6000);
  assert.deepEqual([stream.length, stream.oldestMs, stream.counters.outboxExpired], [1, 5900, 1]);
  // A peer that is not down gets it, however old it is.
  stream.setLive();
  stream.setTime(60_000);
  assert.deepEqual([stream.length, stream.counters.outboxExpired], [1, 1]);
  assert.throws(() => stream.giveUp([...stream.waiting()]), /live peer/);
});

test("what is given up is gone, those who waited are told, and what was sent since stays", () => {
  const stream = sender(100, 1e6);
  for (const counter of [1, 2]) stream.send(counter, frame(100), true, receipt);
  const both = [...stream.waiting()];
  stream.send(3, frame(100), true, receipt);
  assert.equal(stream.giveUp(both), 2);
  assert.deepEqual([stream.length, stream.heldBytes], [1, 100]);
  // They are gone already.
  assert.equal(stream.giveUp(both), 0);
  assert.equal(stream.length, 1);
});
