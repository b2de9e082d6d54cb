/** Frames come out of the byte stream whole, however the network cuts it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Pipe } from "../../src/cluster/transport.js";
import {
  decodeStreamAck,
  encodeStreamAck,
  FrameReader,
  FrameType,
  frame,
  forwardHeaderBytes,
  sealForward,
  unprovedFrameMax,
  WireError,
} from "../../src/cluster/wire/frames.js";
import { Wire } from "../../src/cluster/wire/wire.js";

interface Frame {
  readonly type: number;
  readonly body: Buffer;
}

function reader(frames: Frame[]): FrameReader {
  return new FrameReader((type, bytes, start, end) => {
    frames.push({ type, body: Buffer.from(bytes.subarray(start, end)) });
  });
}

const anyFrame = fc
  .tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 200 }))
  .map(([type, body]): Frame => ({ type, body: Buffer.from(body) }));

test("any frames, cut anywhere, come out as they went in", () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 300 });
  fc.assert(
    fc.property(fc.array(anyFrame, { maxLength: 20 }), cuts, (sent, lengths) => {
      const bytes = Buffer.concat(sent.map(({ type, body }) => frame(type, body)));
      const got: Frame[] = [];
      const frames = reader(got);
      let at = 0;
      for (const length of [...lengths, bytes.length]) {
        if (at >= bytes.length) break;
        frames.push(bytes.subarray(at, at + length));
        at += length;
      }
      assert.deepEqual(got, sent);
    }),
    { numRuns: 500 },
  );
});

test("what is kept of a cut frame does not change with the chunk it came in", () => {
  const got: Frame[] = [];
  const frames = reader(got);
  const bytes = frame(7, Buffer.from("hello"));
  const chunk = Buffer.from(bytes.subarray(0, 8));
  frames.push(chunk);
  chunk.fill(0);
  frames.push(bytes.subarray(8));
  assert.deepEqual(got, [{ type: 7, body: Buffer.from("hello") }]);
});

test("a frame without a length, or longer than the limit, is refused before it is there", () => {
  for (const length of [0, unprovedFrameMax + 1, 0xffff_ffff]) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length, 0);
    assert.throws(() => reader([]).push(bytes), WireError);
  }
  const got: Frame[] = [];
  reader(got).push(frame(1, Buffer.alloc(unprovedFrameMax - 1)));
  assert.equal(got.length, 1);
});

test("the limit may be raised by a frame, for the one right behind it", () => {
  const got: Frame[] = [];
  const frames = new FrameReader((type, bytes, start, end) => {
    frames.frameMax = 5000;
    got.push({ type, body: Buffer.from(bytes.subarray(start, end)) });
  });
  frames.push(Buffer.concat([frame(1, Buffer.alloc(10)), frame(2, Buffer.alloc(4000))]));
  assert.deepEqual(
    got.map(({ type }) => type),
    [1, 2],
  );
});

test("after stop nothing is handed on, not even from the chunk being read", () => {
  const got: number[] = [];
  const frames = new FrameReader((type) => {
    got.push(type);
    frames.stop();
  });
  frames.push(Buffer.concat([frame(1, Buffer.alloc(1)), frame(2, Buffer.alloc(1))]));
  frames.push(frame(3, Buffer.alloc(1)));
  assert.deepEqual(got, [1]);
});

test("the header of a forward is filled in in place, and again for a repeat", () => {
  const bytes = Buffer.alloc(forwardHeaderBytes + 3, 9);
  for (const counter of [5, 6]) {
    sealForward(bytes, 1_798_761_600_000, counter);
    const got: Frame[] = [];
    reader(got).push(bytes);
    assert.equal(got[0]?.type, 64);
    assert.equal(got[0]?.body.readDoubleBE(0), 1_798_761_600_000);
    assert.equal(got[0]?.body.readDoubleBE(8), counter);
    assert.deepEqual(got[0]?.body.subarray(16), Buffer.alloc(3, 9));
  }
});

test("a frame longer than all that is read at once grows with what comes of it", () => {
  const got: Frame[] = [];
  const frames = reader(got);
  frames.frameMax = 1_000_000;
  const sent = [400_000, 70_000, 3].map((length) => ({
    type: 9,
    body: Buffer.alloc(length, length),
  }));
  const bytes = Buffer.concat(sent.map(({ type, body }) => frame(type, body)));
  for (let at = 0; at < bytes.length; at += 65_536) frames.push(bytes.subarray(at, at + 65_536));
  assert.deepEqual(got, sent);
});

test("STREAM_ACK: what goes in comes out, anything else is a fault", () => {
  const got: Frame[] = [];
  const bytes = encodeStreamAck(1_798_761_600_000, 2 ** 40);
  reader(got).push(bytes);
  const body = got[0]?.body ?? Buffer.alloc(0);
  assert.deepEqual(
    [got[0]?.type, decodeStreamAck(body, 0, body.length)],
    [FrameType.streamAck, { incarnation: 1_798_761_600_000, counter: 2 ** 40 }],
  );
  assert.throws(() => decodeStreamAck(body, 0, body.length - 1), WireError);
  for (const wrong of [Number.NaN, -1, 0.5]) {
    body.writeDoubleBE(wrong, 8);
    assert.throws(() => decodeStreamAck(body, 0, body.length), WireError);
  }
});

class FakePipe implements Pipe {
  remote = "somewhere";
  bufferedBytes = 0;
  onData: (bytes: Buffer) => void = () => undefined;
  onClose: () => void = () => undefined;
  readonly calls: string[] = [];
  write(): boolean {
    this.calls.push("write");
    return false;
  }
  close(): void {
    this.calls.push("close");
  }
  destroy(): void {
    this.calls.push("destroy");
  }
}

test("frames that come while nobody listens are held, and go to whoever listens then", () => {
  const pipe = new FakePipe();
  const wire = new Wire(pipe);
  pipe.onData(Buffer.concat([1, 2, 3].map((type) => frame(type, Buffer.of(type)))));
  const first: number[] = [];
  const second: number[] = [];
  wire.listen((type) => {
    first.push(type);
    // The first frame changes who listens.
    wire.listen(null);
  });
  assert.deepEqual(first, [1]);
  wire.listen((type) => void second.push(type));
  pipe.onData(frame(4, Buffer.of(4)));
  assert.deepEqual(second, [2, 3, 4]);
});

test("frames held when the connection ends are nobody's any more", () => {
  const pipe = new FakePipe();
  const wire = new Wire(pipe);
  pipe.onData(Buffer.concat([frame(1, Buffer.of(1)), frame(2, Buffer.of(2))]));
  const got: number[] = [];
  wire.listen((type) => {
    got.push(type);
    wire.destroy();
  });
  pipe.onData(frame(3, Buffer.of(3)));
  assert.deepEqual(got, [1]);
});

test("a frame that breaks the protocol closes the pipe and is told with the close; a bug of ours is not", () => {
  const pipe = new FakePipe();
  const wire = new Wire(pipe);
  const closes: (string | null)[] = [];
  wire.onClose = (fault) => void closes.push(fault);
  wire.listen(() => {
    throw new WireError("nonsense");
  });
  pipe.onData(frame(1, Buffer.of(1)));
  assert.deepEqual(pipe.calls, ["destroy"]);
  pipe.onClose();
  assert.deepEqual(closes, ["nonsense"]);
  const other = new FakePipe();
  new Wire(other).listen(() => {
    throw new TypeError("a bug");
  });
  assert.throws(() => other.onData(frame(1, Buffer.of(1))), TypeError);
});

test("too much while nobody listens is a fault", () => {
  const pipe = new FakePipe();
  const wire = new Wire(pipe);
  wire.trust(16 * 1024 * 1024);
  for (let i = 0; i < 17; i++) pipe.onData(frame(1, Buffer.alloc(1024 * 1024)));
  assert.deepEqual(pipe.calls, ["destroy"]);
});
