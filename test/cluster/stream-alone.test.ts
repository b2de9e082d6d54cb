/** Forwards that a peer acknowledges by themselves, whatever is before them in the stream. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamSender } from "../../src/cluster/stream.js";
import { StreamReceiver } from "../../src/cluster/stream-receiver.js";
import { FrameType, forwardHeaderBytes } from "../../src/cluster/wire/frames.js";

const incarnation = 1_798_761_600_000;
const limits = { outputBytes: 1000, outboxMessages: 100, outboxBytes: 10_000 };

class Told {
  readonly expiresMs = 0;
  times = 0;
  constructor(readonly alone: boolean) {}
  accept(): void {
    this.times++;
  }
}

function live() {
  const sender = new StreamSender(incarnation, limits, () => assert.fail("nothing expires"));
  const frames: Buffer[] = [];
  const link = {
    dataBufferedBytes: 0,
    sendData: (frame: Buffer) => void frames.push(frame),
    scheduleData: () => undefined,
    sendRun: () => assert.fail("nothing leaves as it came"),
  };
  sender.setLive();
  sender.resume(link);
  const send = (counter: number, alone: boolean): Told => {
    const told = new Told(alone);
    assert.ok(sender.send(counter, Buffer.alloc(forwardHeaderBytes + 1), true, told));
    return told;
  };
  return { sender, frames, link, send };
}

test("one that is acknowledged by itself is told at once, once, and not repeated", () => {
  const { sender, frames, link, send } = live();
  const told = [send(1, false), send(2, true), send(3, false)];
  const types = frames.map((frame) => frame[4]);
  assert.deepEqual(types, [FrameType.forward, FrameType.forwardAlone, FrameType.forward]);
  const times = () => told.map((one) => one.times);
  sender.taken(2, incarnation - 1);
  sender.taken(9, incarnation);
  assert.deepEqual(times(), [0, 0, 0]);
  sender.taken(2, incarnation);
  sender.taken(2, incarnation);
  assert.deepEqual(times(), [0, 1, 0]);
  sender.pause();
  frames.length = 0;
  sender.resume(link);
  assert.deepEqual(
    frames.map((frame) => frame.readDoubleBE(13)),
    [1, 3],
  );
  sender.accepted(3);
  assert.deepEqual([times(), sender.length, sender.heldBytes], [[1, 1, 1], 0, 0]);
});

test("it is not due any more when the peer goes down", () => {
  const { sender, send } = live();
  const told = [send(1, false), send(2, true), send(3, true)];
  sender.taken(2, incarnation);
  sender.setDown();
  assert.deepEqual([told.map((one) => one.times), sender.length], [[1, 1, 1], 2]);
});

test("the receiver says which are to be acknowledged by themselves, also on a new link", () => {
  const receiver = new StreamReceiver();
  const take = (counter: number, accepted: boolean): boolean => {
    assert.ok(receiver.take(incarnation, counter));
    receiver.settle(counter, accepted);
    return receiver.settleAlone(counter, accepted);
  };
  assert.ok(!take(1, true), "it is acknowledged as ever");
  assert.ok(!take(2, false));
  assert.ok(take(4, true));
  assert.ok(!take(5, false));
  assert.ok(!receiver.acceptAlone(incarnation - 1, 5));
  assert.ok(!receiver.acceptAlone(incarnation, 3));
  assert.ok(!receiver.accept(incarnation, 5));
  assert.ok(receiver.acceptAlone(incarnation, 5));
  assert.deepEqual(
    [...receiver.acceptedAlone()],
    [
      [incarnation, 4],
      [incarnation, 5],
    ],
  );
  assert.ok(receiver.accept(incarnation, 2));
  assert.ok(!receiver.acceptAlone(incarnation, 2), "it is among all up to 5");
  assert.deepEqual([[...receiver.acceptedAlone()], receiver.accepted], [[], 5]);
});
