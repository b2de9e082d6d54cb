/** The stream from one origin to one peer: order, repeats, outbox, back-pressure, and who is told when. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type StreamLink, StreamSender } from "../../src/cluster/stream.js";
import { StreamReceiver } from "../../src/cluster/stream-receiver.js";
import { forwardHeaderBytes, forwardsHeaderBytes } from "../../src/cluster/wire/frames.js";

const limits = { outputBytes: 1000, outboxMessages: 100, outboxBytes: 10_000 };
const incarnation = 1_798_761_600_000;

/** The data connection: keeps what was written. */
class Wire implements StreamLink {
  dataBufferedBytes = 0;
  /** How often the end of the turn was asked for. */
  scheduled = 0;
  readonly counters: number[] = [];
  readonly frames: Buffer[] = [];
  sendData(frame: Buffer): void {
    assert.equal(frame.readDoubleBE(5), incarnation);
    this.counters.push(frame.readDoubleBE(13));
    this.frames.push(frame);
  }
  sendRun(run: Parameters<StreamLink["sendRun"]>[0]): void {
    const frame = Buffer.alloc(run.frameBytes);
    run.encode(incarnation, frame, 0);
    this.sendData(frame);
  }
  scheduleData(): void {
    this.scheduled++;
  }
}

/** No forward here expires. */
const countDown = (): void => assert.fail("nothing expires");

class Told {
  readonly expiresMs = 0;
  times = 0;
  accept(): void {
    this.times++;
  }
}

const frameOf = (bytes = 100): Buffer => Buffer.alloc(forwardHeaderBytes + bytes);

function live(): { sender: StreamSender; wire: Wire } {
  const sender = new StreamSender(incarnation, limits, countDown);
  const wire = new Wire();
  sender.setLive();
  sender.resume(wire);
  return { sender, wire };
}

/** Sends a durable forward (or another) and returns who waits for it. */
function send(sender: StreamSender, counter: number, durable = true, bytes = 10): Told {
  const told = new Told();
  assert.ok(sender.send(counter, frameOf(bytes), durable, told));
  return told;
}

test("forwards leave in order, are acknowledged cumulatively, and each is told once", () => {
  const { sender, wire } = live();
  const told = [1, 4, 9].map((counter) => send(sender, counter));
  assert.deepEqual(wire.counters, [1, 4, 9]);
  sender.accepted(4);
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 0],
  );
  sender.accepted(3);
  sender.accepted(9);
  sender.accepted(9);
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 1],
  );
  assert.deepEqual([sender.length, sender.heldBytes], [0, 0]);
  assert.equal(sender.counters.forwards, 3);
});

test("on a new link everything unaccepted is repeated from the first, and goes on behind it", () => {
  const { sender } = live();
  for (const counter of [1, 2, 3]) send(sender, counter, counter === 2);
  sender.accepted(1);
  sender.pause();
  send(sender, 4);
  const second = new Wire();
  sender.resume(second);
  send(sender, 5);
  assert.deepEqual(second.counters, [2, 3, 4, 5]);
  assert.equal(sender.counters.repeated, 2);
});

test("what the peer accepted on the old link is not repeated on the new one", () => {
  const { sender } = live();
  const told = [1, 2, 3].map((counter) => send(sender, counter));
  sender.pause();
  // The first frame on a link says where the peer stands.
  sender.accepted(2);
  const second = new Wire();
  sender.resume(second);
  assert.deepEqual(second.counters, [3]);
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 0],
  );
});

test("beyond the output limit the stream pauses, and goes on when the link drains", () => {
  const { sender, wire } = live();
  send(sender, 1);
  wire.dataBufferedBytes = limits.outputBytes + 1;
  send(sender, 2);
  send(sender, 3);
  assert.ok(!sender.isReady);
  assert.deepEqual(wire.counters, [1]);
  wire.dataBufferedBytes = 0;
  sender.pump();
  assert.deepEqual(wire.counters, [1, 2, 3]);
});

test("an acknowledgement sends on what was held back", () => {
  const { sender, wire } = live();
  send(sender, 1);
  wire.dataBufferedBytes = limits.outputBytes + 1;
  send(sender, 2);
  wire.dataBufferedBytes = 0;
  sender.accepted(1);
  assert.deepEqual(wire.counters, [1, 2]);
});

test("QoS 0 is dropped and counted without a link, beyond the limit, and never takes a number", () => {
  const { sender, wire } = live();
  assert.ok(sender.sendPlain(frameOf()));
  wire.dataBufferedBytes = limits.outputBytes + 1;
  assert.ok(!sender.sendPlain(frameOf()));
  sender.pause();
  assert.ok(!sender.sendPlain(frameOf()));
  assert.deepEqual(wire.counters, [0]);
  assert.equal(sender.counters.droppedQos0, 2);
  assert.equal(sender.length, 0);
});

test("when the peer goes down all are told; what is durable is kept, the rest dropped and counted", () => {
  const { sender } = live();
  const told = [1, 2, 3, 4].map((counter) => send(sender, counter, counter % 2 === 0));
  sender.pause();
  sender.setDown();
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 1, 1],
  );
  assert.deepEqual(
    [sender.length, sender.counters.droppedDown, sender.counters.outboxed],
    [2, 2, 2],
  );
  sender.setDown();
  assert.equal(sender.counters.outboxed, 2);
  const nobody = new Told();
  assert.ok(!sender.send(5, frameOf(), false, nobody), "dropped");
  assert.ok(!sender.send(6, frameOf(), true, nobody), "taken by the outbox");
  assert.deepEqual([sender.counters.droppedDown, sender.counters.outboxed], [3, 3]);
  sender.setLive();
  const wire = new Wire();
  sender.resume(wire);
  assert.deepEqual(wire.counters, [2, 4, 6], "the outbox goes first, under its numbers");
  send(sender, 7);
  sender.accepted(7);
  assert.deepEqual([sender.length, sender.heldBytes, nobody.times], [0, 0, 0]);
});

test("one that is told may publish at once: order and numbers stay", () => {
  const { sender, wire } = live();
  let next = 10;
  const again = {
    accept: () => void (next < 13 && sender.send(next++, frameOf(), true, again)),
    expiresMs: 0,
  };
  sender.send(1, frameOf(), true, again);
  sender.send(2, frameOf(), true, again);
  sender.accepted(2);
  assert.deepEqual(wire.counters, [1, 2, 10, 11]);
  sender.accepted(10);
  sender.setDown();
  assert.equal(sender.length, 2);
});

test("what is durable and not accepted for one time-out is left to the outbox, later ones are not", () => {
  const { sender } = live();
  const told = [1, 2].map((counter) => send(sender, counter, counter === 2));
  sender.tick();
  const late = send(sender, 3);
  sender.tick();
  assert.deepEqual(
    told.map(({ times }) => times),
    [0, 0],
  );
  sender.tick();
  assert.deepEqual(
    told.map(({ times }) => times),
    [0, 1],
    "only what is durable",
  );
  assert.equal(late.times, 0);
  sender.tick();
  assert.equal(late.times, 1);
  assert.equal(sender.counters.outboxed, 2);
  assert.equal(sender.length, 3, "it stays in the stream");
  sender.accepted(3);
  assert.deepEqual(
    [...told, late].map(({ times }) => times),
    [1, 1, 1],
  );
});

test("the outbox has room for so many messages and bytes", () => {
  const sender = new StreamSender(
    incarnation,
    { ...limits, outboxMessages: 3, outboxBytes: 500 },
    countDown,
  );
  const nobody = new Told();
  assert.ok(sender.hasRoom(500));
  assert.ok(!sender.hasRoom(501));
  for (const counter of [1, 2, 3]) sender.send(counter, frameOf(10), true, nobody);
  assert.equal(sender.heldBytes, 3 * (forwardHeaderBytes + 10));
  assert.ok(!sender.hasRoom(1));
  sender.setLive();
  sender.accepted(1);
  assert.ok(sender.hasRoom(100));
});

test("discard: nothing is due any more, and everybody is told", () => {
  const { sender } = live();
  const told = [1, 2].map((counter) => send(sender, counter));
  sender.discard();
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1],
  );
  assert.deepEqual([sender.length, sender.heldBytes], [0, 0]);
});

/** The read of a connection, and what precedes its forwards. */
const chunk = Buffer.from("aabbccddeeff");
const head = Buffer.from("head");

/** Sends the pair of bytes at `index` of the chunk. */
function sendPart(
  sender: StreamSender,
  index: number,
  counter: number,
  durable = true,
  kind = 0,
): Told {
  const told = new Told();
  const at = 2 * index;
  assert.ok(sender.sendPart(head, counter, chunk, at, at + 2, kind, durable, told));
  return told;
}

const wordsOf = (wire: Wire): string[] =>
  wire.frames.map((frame) => {
    const count = frame.readUInt32BE(forwardHeaderBytes);
    return `${frame.readDoubleBE(13)}+${count} ${frame.toString("utf8", forwardsHeaderBytes)}`;
  });

test("forwards side by side leave as one frame at the end of the turn, and are accepted as one", () => {
  const { sender, wire } = live();
  const told = [0, 1, 2].map((index) => sendPart(sender, index, 7 + index));
  assert.deepEqual([wire.frames.length, wire.scheduled], [0, 1]);
  assert.deepEqual([sender.length, sender.heldBytes], [3, forwardsHeaderBytes + 4 + 6]);
  sender.closeRun();
  chunk.subarray(0, 2).write("xx");
  assert.deepEqual(wordsOf(wire), ["7+3 headaabbcc"], "with bytes of its own");
  chunk.subarray(0, 2).write("aa");
  assert.deepEqual([sender.length, sender.counters.forwards], [3, 3]);
  sender.accepted(8);
  assert.ok(told.every(({ times }) => times === 0));
  sender.accepted(9);
  assert.ok(told.every(({ times }) => times === 1));
  assert.deepEqual([sender.length, sender.heldBytes], [0, 0]);
});

test("a run ends where bytes, numbers, head or durability do not go on, and before anything else", () => {
  const { sender, wire } = live();
  sendPart(sender, 0, 1);
  sendPart(sender, 2, 2); // a gap in the bytes
  sendPart(sender, 3, 4); // a gap in the numbers
  sendPart(sender, 4, 5, false);
  sendPart(sender, 5, 6, false);
  const told = new Told();
  const other = Buffer.from("else");
  assert.ok(sender.sendPart(other, 7, Buffer.from("zz"), 0, 2, 0, false, told));
  assert.ok(sender.sendPart(head, 0, chunk, 0, 2, 0, false, null));
  assert.ok(sender.sendPart(head, 0, chunk, 2, 4, 0, false, null));
  send(sender, 8);
  assert.deepEqual(wordsOf(wire).slice(0, 6), [
    ...["1+1 headaa", "2+1 headcc", "4+1 headdd", "5+2 headeeff", "7+1 elsezz"],
    "0+2 headaabb",
  ]);
  assert.deepEqual(wire.counters, [1, 2, 4, 5, 7, 0, 8]);
  assert.equal(sender.counters.forwards, 9);
});

test("a run is repeated on a new link, and one that is open when the link goes waits for the next", () => {
  const { sender } = live();
  const told = [0, 1].map((index) => sendPart(sender, index, 1 + index));
  sender.closeRun();
  sendPart(sender, 2, 3);
  sender.sendPart(head, 0, chunk, 6, 8, 0, false, null);
  sender.pause();
  assert.equal(sender.counters.droppedQos0, 1, "nobody waits for that one");
  const late = sendPart(sender, 4, 4);
  const second = new Wire();
  sender.resume(second);
  assert.deepEqual(wordsOf(second), ["1+2 headaabb", "3+1 headcc", "4+1 headee"]);
  assert.equal(sender.counters.repeated, 3);
  sender.accepted(4);
  assert.ok([...told, late].every(({ times }) => times === 1));
});

test("when the peer goes down a run is told, and kept if it is durable; later ones go behind it", () => {
  const { sender } = live();
  const told = [sendPart(sender, 0, 1, false), sendPart(sender, 1, 2), sendPart(sender, 2, 3)];
  sender.setDown();
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 1],
  );
  assert.deepEqual([sender.counters.droppedDown, sender.counters.outboxed], [1, 2]);
  sender.pause();
  const nobody = new Told();
  assert.ok(!sender.sendPart(head, 4, chunk, 0, 2, 0, false, nobody), "dropped");
  assert.ok(!sender.sendPart(head, 5, chunk, 0, 2, 0, true, nobody), "taken by the outbox");
  assert.ok(!sender.sendPart(head, 0, chunk, 0, 2, 0, false, null), "QoS 0");
  assert.deepEqual([sender.length, sender.counters.droppedQos0], [3, 1]);
  const wire = new Wire();
  sender.setLive();
  sender.resume(wire);
  assert.deepEqual(wordsOf(wire), ["2+2 headbbcc", "5+1 headaa"]);
  assert.equal(nobody.times, 0);
});

test("a run counts for the room of the outbox while it is open", () => {
  const sender = new StreamSender(incarnation, { ...limits, outboxMessages: 3 }, countDown);
  sender.setLive();
  sender.resume(new Wire());
  for (const index of [0, 1, 2]) {
    assert.ok(sender.hasRoom(1));
    sendPart(sender, index, 1 + index);
  }
  assert.ok(!sender.hasRoom(1));
  sender.closeRun();
  assert.ok(!sender.hasRoom(1));
});

test("what could not be made of a run is taken and accepted", () => {
  const receiver = new StreamReceiver();
  receiver.take(incarnation, 3);
  receiver.settle(3, false);
  receiver.takeUpTo(incarnation, 6);
  receiver.takeUpTo(incarnation - 1, 9);
  receiver.takeUpTo(incarnation, 5);
  assert.equal(receiver.accepted, 0);
  assert.ok(receiver.accept(incarnation, 3));
  assert.equal(receiver.accepted, 6);
  assert.ok(!receiver.take(incarnation, 6));
});

test("the receiver takes each number once, in growing order, whatever the gaps", () => {
  const receiver = new StreamReceiver();
  const taken = [1, 5, 5, 3, 6, 1].map((counter) => receiver.take(incarnation, counter));
  assert.deepEqual(taken, [true, true, false, false, true, false]);
  assert.equal(receiver.counters.duplicates, 3);
});

test("a newer incarnation begins anew; an older one takes nothing more", () => {
  const receiver = new StreamReceiver();
  receiver.take(incarnation, 7);
  receiver.settle(7, true);
  assert.ok(receiver.take(incarnation + 1, 1));
  receiver.settle(1, true);
  assert.deepEqual([receiver.incarnation, receiver.accepted], [incarnation + 1, 1]);
  assert.ok(!receiver.take(incarnation, 8));
});

test("what of an older incarnation is not accepted holds back the acknowledgement of the newer", () => {
  const receiver = new StreamReceiver();
  const take = (origin: number, counter: number, accepted: boolean): void => {
    assert.ok(receiver.take(origin, counter));
    receiver.settle(counter, accepted);
  };
  const seen = (): number[] => [receiver.incarnation, receiver.accepted];
  take(incarnation, 6, true);
  take(incarnation, 7, false);
  take(incarnation + 1, 7, false);
  take(incarnation + 1, 8, true);
  take(incarnation + 2, 1, true);
  assert.deepEqual(seen(), [incarnation, 6]);
  assert.ok(!receiver.accept(incarnation + 1, 7), "nothing can be said of it yet");
  assert.deepEqual(seen(), [incarnation, 6]);
  assert.ok(receiver.accept(incarnation, 7));
  assert.deepEqual(seen(), [incarnation + 2, 1]);
  assert.ok(!receiver.accept(incarnation, 7), "once");
});

test("acknowledged is what is accepted without a hole before it", () => {
  const receiver = new StreamReceiver();
  const take = (counter: number, accepted: boolean): void => {
    assert.ok(receiver.take(incarnation, counter));
    receiver.settle(counter, accepted);
  };
  take(1, true);
  take(3, false);
  take(4, true);
  take(6, false);
  take(7, true);
  assert.equal(receiver.accepted, 1);
  assert.ok(!receiver.accept(incarnation, 6));
  assert.equal(receiver.accepted, 1);
  assert.ok(receiver.accept(incarnation, 3));
  assert.equal(receiver.accepted, 7);
  assert.ok(!receiver.accept(incarnation, 3), "once");
  take(9, true);
  assert.equal(receiver.accepted, 9);
});

test("acceptAll: what is open is nobody's any more", () => {
  const receiver = new StreamReceiver();
  receiver.take(incarnation, 5);
  receiver.settle(5, false);
  receiver.acceptAll();
  assert.equal(receiver.accepted, 5);
  assert.ok(!receiver.accept(incarnation, 5));
  assert.ok(!receiver.take(incarnation, 5));
});

test("sender and receiver over links that break anywhere: each number once, in order, all told", () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.constant("send" as const) },
    { weight: 4, arbitrary: fc.constant("deliver" as const) },
    { weight: 3, arbitrary: fc.constant("accept late" as const) },
    { weight: 3, arbitrary: fc.constant("acknowledge" as const) },
    { weight: 1, arbitrary: fc.constant("break" as const) },
    { weight: 1, arbitrary: fc.constant("down" as const) },
  );
  const script = fc.array(fc.tuple(step, fc.nat(20)), { maxLength: 120 });
  fc.assert(
    fc.property(script, (steps) => new Run().play(steps)),
    { numRuns: 500 },
  );
});

type Step = "send" | "deliver" | "accept late" | "acknowledge" | "break" | "down";

/** Both ends, and a link that may lose what is on its way when it breaks. */
class Run {
  private readonly sender = new StreamSender(incarnation, limits, countDown);
  private readonly receiver = new StreamReceiver();
  private readonly arrived: number[] = [];
  private readonly told: Told[] = [];
  private open: number[] = [];
  private wire = new Wire();
  private delivered = 0;
  private counter = 0;

  play(steps: readonly (readonly [Step, number])[]): void {
    this.link();
    for (const [step, choice] of steps) this.step(step, choice);
    // Everything is well again.
    this.sender.pause();
    this.link();
    while (this.delivered < this.wire.counters.length) this.step("deliver", 1);
    while (this.open.length > 0) this.step("accept late", 0);
    this.step("acknowledge", 0);
    assert.deepEqual(
      this.arrived,
      Array.from({ length: this.counter }, (_, i) => i + 1),
    );
    assert.ok(this.told.every(({ times }) => times === 1));
    assert.equal(this.sender.length, 0);
  }

  private step(step: Step, choice: number): void {
    if (step === "send") this.send();
    else if (step === "deliver") this.deliver(choice);
    else if (step === "accept late") this.accept(choice);
    else if (step === "acknowledge") this.sender.accepted(this.receiver.accepted);
    else if (step === "break") this.link();
    else {
      this.sender.setDown();
      this.link();
    }
  }

  private send(): void {
    const told = new Told();
    if (this.sender.send(++this.counter, frameOf(), true, told)) this.told.push(told);
  }

  /** A new link; the first word of the peer on it is where it stands. */
  private link(): void {
    this.sender.pause();
    this.sender.setLive();
    this.wire = new Wire();
    this.delivered = 0;
    this.sender.accepted(this.receiver.accepted);
    this.sender.resume(this.wire);
  }

  private deliver(choice: number): void {
    const counter = this.wire.counters[this.delivered++];
    if (counter === undefined) {
      this.delivered = this.wire.counters.length;
      return;
    }
    if (!this.receiver.take(incarnation, counter)) return;
    this.arrived.push(counter);
    const accepted = choice % 3 !== 0;
    this.receiver.settle(counter, accepted);
    if (!accepted) this.open.push(counter);
  }

  private accept(choice: number): void {
    const [counter] = this.open.splice(choice % Math.max(1, this.open.length), 1);
    if (counter !== undefined) this.receiver.accept(incarnation, counter);
  }
}
