/** Splitting a byte stream into packets. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FrameReader } from "../../src/protocol/framing.js";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import { writeVarint } from "../../src/protocol/publish.js";

/** Collects packets as hex; stops after each one when told to. */
class Collector {
  readonly frames: string[] = [];
  stopAlways = false;
  readonly reader: FrameReader;

  constructor(packetMax = 1_000_000) {
    this.reader = new FrameReader(this, packetMax);
    this.reader.connectOnly = false;
  }

  onFrame(bytes: Buffer, first: number, start: number, end: number): boolean {
    assert.ok(start > first && end >= start && end <= bytes.length);
    this.frames.push(bytes.toString("hex", first, end));
    return !this.stopAlways;
  }
}

function frame(type: number, body: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head[0] = type;
  return Buffer.concat([head.subarray(0, writeVarint(head, 1, body.length)), body]);
}

const stream = fc.array(
  fc.tuple(
    fc.integer({ min: 0x10, max: 255 }),
    fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 120, maxLength: 400 })),
  ),
  { minLength: 1, maxLength: 12 },
);

test("a stream cut anywhere gives the same packets, also with stops between them", () => {
  fc.assert(
    fc.property(
      stream,
      fc.array(fc.integer({ min: 1, max: 60 })),
      fc.boolean(),
      (parts, cuts, stops) => {
        const frames = parts.map(([type, body]) => frame(type, body));
        const all = Buffer.concat(frames);
        const collector = new Collector();
        collector.stopAlways = stops;
        let at = 0;
        for (const cut of [...cuts, all.length]) {
          const chunk = all.subarray(at, Math.min(all.length, at + cut));
          if (chunk.length === 0) break;
          collector.reader.push(chunk);
          at += chunk.length;
        }
        if (at < all.length) collector.reader.push(all.subarray(at));
        for (let i = 0; stops && i < frames.length; i++) collector.reader.resume();
        assert.deepEqual(
          collector.frames,
          frames.map((one) => one.toString("hex")),
        );
        assert.equal(collector.reader.heldBytes, 0);
      },
    ),
    { numRuns: 300, seed: 1 },
  );
});

test("a length over the limit is refused when it is read, wherever the header is cut", () => {
  const tooLong = frame(0x30, Buffer.alloc(0)).subarray(0, 1);
  for (let cut = 1; cut <= 4; cut++) {
    const { reader } = new Collector(1000);
    const bytes = Buffer.from([...tooLong, 0xff, 0xff, 0x7f]);
    assert.throws(
      () => {
        reader.push(bytes.subarray(0, cut));
        reader.push(bytes.subarray(cut));
      },
      (error: unknown) => error instanceof ProtocolError && error.reason === 0x95,
    );
    assert.ok(reader.heldBytes < 5);
  }
});

test("a packet of exactly the limit passes", () => {
  const collector = new Collector(100);
  collector.reader.push(frame(0x30, Buffer.alloc(98)));
  assert.equal(collector.frames.length, 1);
  assert.throws(() => collector.reader.push(frame(0x30, Buffer.alloc(99))), ProtocolError);
});

test("a length of five bytes is malformed, whole or in pieces", () => {
  const bytes = Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
  assert.throws(() => new Collector().reader.push(bytes), ProtocolError);
  const { reader } = new Collector();
  assert.throws(() => {
    for (const byte of bytes) reader.push(Buffer.from([byte]));
  }, ProtocolError);
});

test("before CONNECT another first byte is refused at once", () => {
  const { reader } = new Collector();
  reader.connectOnly = true;
  assert.throws(() => reader.push(Buffer.from("GET / HTTP/1.1\r\n\r\n")), ProtocolError);
});

test("a large packet that comes slowly holds no more than has come, within a factor of two", () => {
  const collector = new Collector();
  const whole = frame(0x30, Buffer.alloc(500_000, 7));
  for (let at = 0; at < whole.length; at += 1000) {
    collector.reader.push(whole.subarray(at, at + 1000));
    assert.ok(collector.reader.heldBytes <= at + 1000);
  }
  assert.deepEqual(collector.frames, [whole.toString("hex")]);
});
