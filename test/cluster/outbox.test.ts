/** The outbox: what counts as accepted only when it is committed, and what a later process finds. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Outbox } from "../../src/cluster/outbox.js";
import { type StreamLink, StreamSender } from "../../src/cluster/stream.js";
import { counterOf, forwardHeaderBytes, incarnationOf } from "../../src/cluster/wire/frames.js";
import { Durable } from "../store/durable.js";

const peer = "b@hb 0123456789abcdef0123456789abcdef";
const limits = { outputBytes: 100_000, outboxMessages: 100, outboxBytes: 10_000 };
const first = 1_798_761_600_000;

class Wire implements StreamLink {
  dataBufferedBytes = 0;
  readonly sent: string[] = [];
  sendData(frame: Buffer): void {
    this.sent.push(`${incarnationOf(frame) - first}/${counterOf(frame)}`);
  }
  sendRun(): void {
    assert.fail("somebody waits for every forward here");
  }
  scheduleData(): void {}
}

class Told {
  times = 0;
  constructor(readonly expiresMs = 0) {}
  accept(): void {
    this.times++;
  }
}

interface Process {
  readonly sender: StreamSender;
  /** The seconds that were written into frames. */
  readonly left: number[];
}

/** A process of the origin, its nth. */
async function start(durable: Durable, nth: number): Promise<Process> {
  const { clock, commits, store } = durable;
  const outbox = new Outbox(peer, clock, commits);
  const left: number[] = [];
  const countDown = (_frame: Buffer, expiresMs: number): void => {
    left.push(expiresMs - clock.monotonicMs());
  };
  const sender = new StreamSender(first + nth, limits, countDown, outbox);
  sender.restore(await outbox.load(store));
  return { sender, left };
}

function send({ sender }: Process, counter: number, isDurable = true, expiresMs = 0): Told {
  const told = new Told(expiresMs);
  sender.send(counter, Buffer.alloc(forwardHeaderBytes + 10), isDurable, told);
  return told;
}

test("while the peer is down a forward is accepted when it is committed, not before", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  durable.store.closeGate();
  const told = send(a, 1);
  await durable.clock.turn();
  assert.equal(told.times, 0);
  durable.store.openGate();
  await durable.settled();
  assert.equal(told.times, 1);
  assert.equal(a.sender.counters.outboxed, 1);
});

test("what is not due to a durable row is dropped, and nobody waits for it", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  assert.ok(!a.sender.send(1, Buffer.alloc(forwardHeaderBytes), false, new Told()));
  assert.equal(a.sender.counters.droppedDown, 1);
  assert.deepEqual(durable.store.calls, []);
});

test("what becomes due to the peer as it goes down is still due when it goes down once more", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  a.sender.setLive();
  a.sender.resume(new Wire());
  const told = Object.assign(new Told(), { onDown: (frame: Buffer) => frame });
  a.sender.send(1, Buffer.alloc(forwardHeaderBytes + 10), false, told);
  a.sender.pause();
  a.sender.setDown();
  await durable.settled();
  assert.equal(told.times, 1);
  // Back, and gone again before it has taken it.
  a.sender.setLive();
  a.sender.resume(new Wire());
  a.sender.pause();
  a.sender.setDown();
  await durable.settled();
  const wire = new Wire();
  a.sender.setLive();
  a.sender.resume(wire);
  assert.deepEqual(wire.sent, ["0/1"]);
  assert.equal(a.sender.counters.droppedDown, 0);
});

test("a later process sends what was committed under its old numbers, before its own", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  for (const counter of [3, 7, 20]) send(a, counter);
  await durable.settled();
  durable.crash();
  const again = await start(durable, 1);
  send(again, 1);
  const wire = new Wire();
  again.sender.setLive();
  again.sender.resume(wire);
  assert.deepEqual(wire.sent, ["0/3", "0/7", "0/20", "1/1"]);
  again.sender.accepted(7, first);
  await durable.settled();
  durable.crash();
  assert.deepEqual((await start(durable, 2)).sender.length, 2, "20 of the first, 1 of the second");
});

test("a run of forwards is one record, deleted when its last is accepted", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  const wire = new Wire();
  a.sender.setLive();
  a.sender.resume(wire);
  const head = Buffer.from("head");
  const told = [4, 5, 6].map((counter, index) => {
    const one = new Told();
    a.sender.sendPart(head, counter, Buffer.from("aabbcc"), 0, 2, 0, true, one);
    assert.ok(index === 0 || one.times === 0);
    return one;
  });
  const chunk = Buffer.from("ddee");
  const run = [0, 2].map((at, index) => {
    const one = new Told();
    a.sender.sendPart(head, 7 + index, chunk, at, at + 2, 0, true, one);
    return one;
  });
  a.sender.pause();
  a.sender.setDown();
  assert.ok([...told, ...run].every(({ times }) => times === 0));
  await durable.settled();
  assert.ok([...told, ...run].every(({ times }) => times === 1));
  durable.crash();
  const again = await start(durable, 1);
  assert.equal(again.sender.length, 5);
  const second = new Wire();
  again.sender.setLive();
  again.sender.resume(second);
  assert.deepEqual(second.sent, ["0/4", "0/5", "0/6", "0/7"]);
  again.sender.accepted(7, first);
  assert.equal(again.sender.length, 2, "not yet the whole of the last");
  again.sender.accepted(8, first);
  assert.equal(again.sender.length, 0);
  await durable.settled();
  assert.deepEqual(await durable.store.read(`outbox/${peer}`), []);
});

test("an acknowledgement of a newer incarnation is one of all earlier ones", async () => {
  const durable = new Durable();
  send(await start(durable, 0), 9);
  await durable.settled();
  durable.crash();
  const again = await start(durable, 1);
  again.sender.accepted(50, first - 1);
  assert.equal(again.sender.length, 1, "one before all of them is of none");
  again.sender.accepted(0, first + 1);
  assert.equal(again.sender.length, 0);
  await durable.settled();
  assert.deepEqual(await durable.store.read(`outbox/${peer}`), []);
});

test("killed at any commit: accepted is never more than what is found", async () => {
  for (let commits = 0; commits < 6; commits++) {
    const durable = new Durable();
    const a = await start(durable, 0);
    const told: Told[] = [];
    for (let counter = 1; counter <= 6; counter++) {
      if (counter > commits) durable.store.closeGate();
      told.push(send(a, counter));
      await durable.clock.turn();
    }
    const accepted = told.filter(({ times }) => times === 1).length;
    assert.equal(accepted, commits);
    durable.crash();
    await durable.clock.turn();
    const found = (await start(durable, 1)).sender.length;
    assert.ok(found >= accepted, `${found} of ${accepted}`);
  }
});

test("a peer that goes down leaves what is durable to the outbox, once committed", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  a.sender.setLive();
  a.sender.resume(new Wire());
  const told = [send(a, 1), send(a, 2, false), send(a, 3)];
  durable.store.closeGate();
  a.sender.pause();
  a.sender.setDown();
  await durable.clock.turn();
  assert.deepEqual(
    told.map(({ times }) => times),
    [0, 1, 0],
  );
  durable.store.openGate();
  await durable.settled();
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 1],
  );
});

test("a late peer leaves it to the outbox too; what it accepts meanwhile is told once and deleted", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  a.sender.setLive();
  a.sender.resume(new Wire());
  const told = [send(a, 1), send(a, 2), send(a, 3)];
  for (let ticks = 0; ticks < 3; ticks++) a.sender.tick();
  a.sender.accepted(1);
  durable.store.closeGate();
  await durable.clock.turn();
  a.sender.accepted(2);
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 0],
  );
  durable.store.openGate();
  await durable.settled();
  assert.deepEqual(
    told.map(({ times }) => times),
    [1, 1, 1],
  );
  assert.equal(a.sender.counters.outboxed, 3);
  durable.crash();
  assert.equal((await start(durable, 1)).sender.length, 1);
});

test("the time a forward has left goes on over a restart", async () => {
  const durable = new Durable();
  const { clock } = durable;
  const a = await start(durable, 0);
  send(a, 1, true, clock.monotonicMs() + 60_000);
  await durable.settled();
  durable.crash();
  await clock.advance(20_000);
  const again = await start(durable, 1);
  again.sender.setLive();
  again.sender.resume(new Wire());
  assert.deepEqual(again.left, [40_000]);
});

test("nothing is kept for a peer that is no member any more", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  send(a, 1);
  await durable.settled();
  const told = send(a, 2);
  a.sender.discard();
  assert.equal(told.times, 1);
  assert.equal(send(a, 3).times, 1);
  await durable.settled();
  assert.deepEqual(await durable.store.read(`outbox/${peer}`), []);
});

test("a damaged record is left out", async () => {
  const durable = new Durable();
  const a = await start(durable, 0);
  send(a, 1);
  send(a, 2);
  await durable.settled();
  const partition = `outbox/${peer}`;
  const [key, value] = (await durable.store.read(partition))[0] ?? assert.fail("nothing stored");
  value.writeUInt8(value.readUInt8(9) ^ 1, 9);
  await durable.store.write([{ partition, operations: [{ kind: "put", key, value }] }]);
  durable.crash();
  assert.equal((await start(durable, 1)).sender.length, 1);
});
