/** Runs of frames, packet ids patched in copies, buffers: the bytes that leave are what was asked for. */
import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { NetCounters } from "../../src/net/counters.js";
import { Output, OutputShare } from "../../src/net/output.js";
import { AckType, writeAck } from "../../src/protocol/acks.js";
import {
  headerBytes,
  publishRemaining,
  type Qos,
  writePublishHead,
} from "../../src/protocol/publish.js";
import { ManualClock } from "../session/support.js";

/** Takes a copy of what is written, as the kernel does; or holds it back. */
class FakeSocket {
  readonly written: Buffer[] = [];
  writes = 0;
  writableLength = 0;
  holds = false;
  readonly destroyed = false;

  write(bytes: Buffer): boolean {
    this.writes++;
    // What is held back stays the caller's memory, as in a real socket.
    this.written.push(this.holds ? bytes : Buffer.from(bytes));
    if (this.holds) this.writableLength += bytes.length;
    return this.writableLength < 16_384;
  }
}

/** One that can hold back what is written until `uncork`, as streams do. */
class CorkingSocket extends FakeSocket {
  private corked: Buffer[] | null = null;

  cork(): void {
    assert.equal(this.corked, null);
    this.corked = [];
  }

  uncork(): void {
    const all = this.corked;
    assert.ok(all !== null);
    this.corked = null;
    this.writes++;
    this.written.push(...(this.holds ? all : all.map((bytes) => Buffer.from(bytes))));
    if (!this.holds) this.writableLength = 0;
  }

  override write(bytes: Buffer): boolean {
    if (this.corked === null) return super.write(bytes);
    this.corked.push(bytes);
    this.writableLength += bytes.length;
    return this.writableLength < 16_384;
  }
}

const none = Buffer.alloc(0);

/** A whole PUBLISH. */
function frame(topic: string, qos: Qos, packetId: number, payload: Buffer): Buffer {
  const name = Buffer.from(topic);
  const remaining = publishRemaining(name.length, qos, 4, 0, null, payload.length);
  const out = Buffer.alloc(headerBytes(remaining) + remaining);
  const first = 0x30 | (qos << 1);
  payload.copy(
    out,
    writePublishHead(out, 0, first, remaining, name, packetId, 4, none, 0, 0, null),
  );
  return out;
}

function outputs(count: number, holds = false, Kind: typeof FakeSocket = FakeSocket) {
  const clock = new ManualClock();
  const share = new OutputShare(clock, new NetCounters(), 1_000_000, () => undefined);
  const congestion: boolean[] = [];
  const all = Array.from({ length: count }, () => {
    const socket = new Kind();
    socket.holds = holds;
    const owner = { onCongestion: (congested: boolean) => void congestion.push(congested) };
    // Output uses only the three members that FakeSocket has.
    return { socket, output: new Output(socket as unknown as Socket, share, owner) };
  });
  return { clock, share, all, congestion };
}

/** A packet of a type that is neither PUBLISH nor an acknowledgement, with `length` bytes after its head. */
function otherPacket(length: number, fill: number): Buffer {
  const head = [0xf0];
  for (let rest = length; ; rest >>= 7) {
    head.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, fill)]);
}

/** PUBACKs, and everything else, each in its order. */
function split(sent: Buffer): { acks: Buffer; others: Buffer } {
  const acks: Buffer[] = [];
  const others: Buffer[] = [];
  for (let at = 0; at < sent.length; ) {
    let length = 0;
    let end = at + 1;
    for (let shift = 0; ; shift += 7) {
      const byte = sent[end++] ?? 0;
      length += (byte & 127) << shift;
      if (byte < 128) break;
    }
    end += length;
    (sent[at] === AckType.Puback ? acks : others).push(sent.subarray(at, end));
    at = end;
  }
  return { acks: Buffer.concat(acks), others: Buffer.concat(others) };
}

const size = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 10_000, max: 40_000 }) },
);
const packet = fc.record({
  topic: fc.constantFrom("t", "a/longer/topic"),
  qos: fc.constantFrom<Qos>(0, 1, 2),
  size,
  /** What else happens after it. */
  after: fc.constantFrom("nothing", "nothing", "ack", "packet", "flush"),
  /** Which of two outputs does not get it. */
  leavesOut: fc.constantFrom(-1, -1, 0, 1),
});

test("whatever is sent arrives byte for byte, in order, with its packet ids", () => {
  fc.assert(
    fc.property(
      fc.array(packet, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 65_535 }),
      fc.boolean(),
      fc.constantFrom(FakeSocket, CorkingSocket),
      (packets, firstId, holds, Kind) => {
        const { clock, all } = outputs(2, holds, Kind);
        const expected: Buffer[][] = [[], []];
        const expectedAcks: Buffer[][] = [[], []];
        const ids = [firstId, 1];
        // All frames lie side by side in one chunk, as they arrive.
        const frames = packets.map((one, index) =>
          frame(one.topic, one.qos, one.qos === 0 ? 0 : 1, Buffer.alloc(one.size, index)),
        );
        const chunk = Buffer.concat(frames);
        let at = 0;
        for (const [index, one] of packets.entries()) {
          const end = at + (frames[index]?.length ?? 0);
          for (const [which, { output }] of all.entries()) {
            if (one.leavesOut === which) continue;
            const id = one.qos === 0 ? 0 : (ids[which] ?? 0);
            if (one.qos > 0) ids[which] = id === 65_535 ? 1 : id + 1;
            output.publish(chunk, at, end, id);
            expected[which]?.push(frame(one.topic, one.qos, id, Buffer.alloc(one.size, index)));
            if (one.after === "ack") {
              output.acknowledge(AckType.Puback, index + 1, index % 2 === 0 ? 0 : 0x10);
              const ack = Buffer.alloc(5);
              const length = writeAck(
                ack,
                0,
                AckType.Puback,
                index + 1,
                index % 2 === 0 ? 0 : 0x10,
              );
              expectedAcks[which]?.push(ack.subarray(0, length));
            }
            if (one.after === "packet") {
              const whole = otherPacket(index % 3 === 0 ? 20_000 : 7, index);
              output.packet(whole);
              expected[which]?.push(whole);
            }
            if (one.after === "flush") output.flush();
          }
          at = end;
        }
        clock.advance(0);
        for (const [which, { socket }] of all.entries()) {
          // An acknowledgement may leave before the frames that are being gathered.
          const { acks, others } = split(Buffer.concat(socket.written));
          assert.equal(Buffer.compare(others, Buffer.concat(expected[which] ?? [])), 0);
          assert.equal(Buffer.compare(acks, Buffer.concat(expectedAcks[which] ?? [])), 0);
        }
      },
    ),
    { numRuns: 300, seed: 7 },
  );
});

test("everything of a turn leaves in one write per connection", () => {
  const { clock, all } = outputs(3);
  const chunk = Buffer.concat(
    Array.from({ length: 100 }, () => frame("t", 1, 1, Buffer.alloc(100))),
  );
  const length = chunk.length / 100;
  for (let i = 0; i < 100; i++) {
    for (const { output } of all) output.publish(chunk, i * length, (i + 1) * length, i + 1);
  }
  for (const { output } of all) output.acknowledge(AckType.Pubrec, 9, 0);
  for (const { socket } of all) assert.equal(socket.writes, 0);
  clock.advance(0);
  for (const { socket } of all) assert.equal(socket.writes, 1);
  clock.advance(0);
  for (const { socket } of all) assert.equal(socket.writes, 1);
});

test("a flush that copies a run asks for no other", () => {
  const { clock, all } = outputs(1);
  let flushes = 0;
  const defer = clock.defer.bind(clock);
  clock.defer = (callback) => {
    flushes++;
    defer(callback);
  };
  const bytes = frame("t", 1, 1, Buffer.alloc(100));
  for (let turn = 1; turn <= 3; turn++) {
    all[0]?.output.publish(bytes, 0, bytes.length, turn);
    for (let i = 0; i < 3; i++) clock.advance(0);
    assert.deepEqual([flushes, all[0]?.socket.writes], [turn, turn]);
  }
});

test("large frames leave together, without a copy, and are no congestion", () => {
  for (const qos of [0, 1] as const) {
    const { clock, all, congestion, share } = outputs(1, false, CorkingSocket);
    const bytes = frame("t", qos, 1, Buffer.alloc(20_000));
    const chunk = Buffer.concat(Array.from({ length: 7 }, () => bytes));
    for (let i = 0; i < 7; i++) {
      const id = qos === 0 ? 0 : i + 1;
      all[0]?.output.publish(chunk, i * bytes.length, (i + 1) * bytes.length, id);
    }
    clock.advance(0);
    // 140 kB, of which 64 KiB and what goes beyond them leave at once.
    assert.equal(all[0]?.socket.writes, 2);
    assert.equal(share.counters.bytesOut, chunk.length);
    assert.deepEqual(congestion, []);
  }
});

test("what grows beyond its buffer goes on in a larger one, and leaves in one write", () => {
  const { clock, all } = outputs(1);
  const [first] = all;
  assert.ok(first);
  const { output, socket } = first;
  const sent: Buffer[] = [];
  for (let i = 0; i < 600; i++) {
    output.packet(otherPacket(100, i));
    sent.push(otherPacket(100, i));
  }
  clock.advance(0);
  assert.equal(socket.writes, 1);
  assert.equal(Buffer.compare(Buffer.concat(socket.written), Buffer.concat(sent)), 0);
});

test("a buffer that the socket still holds is not used again", () => {
  const { clock, all } = outputs(2, true);
  for (const [index, { output }] of all.entries()) {
    output.packet(Buffer.alloc(100, index + 1));
    clock.advance(0);
  }
  assert.deepEqual(
    all.map(({ socket }) => socket.written[0]?.[50]),
    [1, 2],
  );
});

test("a backlog is congestion, and twice that is too much to read on", () => {
  const { clock, all, congestion } = outputs(1, true);
  const [first] = all;
  assert.ok(first);
  const { output, socket } = first;
  const send = (bytes: number): void => {
    output.packet(Buffer.alloc(bytes));
    clock.advance(0);
  };
  send(1_000_000);
  assert.equal(output.congested, false);
  send(20_000);
  assert.deepEqual([output.congested, output.overfull], [true, false]);
  send(1_000_000);
  assert.deepEqual([output.congested, output.overfull], [true, true]);
  socket.writableLength = 0;
  output.measure();
  assert.deepEqual([output.congested, output.overfull], [false, false]);
  assert.deepEqual(congestion, [true, false]);
});
