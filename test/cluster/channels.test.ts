/** Channels over a link that writes down its frames: what is gathered, cut, refused, and what happens at the edges. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ChannelLink, Channels } from "../../src/cluster/channels.js";
import { frameHeaderBytes, WireError } from "../../src/cluster/wire/frames.js";
import { ManualClock } from "../session/support.js";

class Scene {
  readonly clock = new ManualClock();
  readonly frames: Buffer[] = [];
  readonly heard: string[] = [];
  scheduled = 0;
  buffered = 0;
  readonly channels = new Channels(this.clock, 1000);
  readonly link: ChannelLink;

  constructor() {
    this.channels.attach({
      onEntry: (_link, channel, kind, bytes, start, end) => {
        this.heard.push(`${channel} ${kind} ${bytes.toString("latin1", start, end)}`);
      },
      onRelieved: () => this.heard.push("relieved"),
      onLost: () => this.heard.push("lost"),
    });
    const scene = this;
    this.link = this.channels.open("b@h", {
      sendData: (frame) => void this.frames.push(frame),
      scheduleData: () => void this.scheduled++,
      get dataBufferedBytes() {
        return scene.buffered;
      },
    });
  }

  write(channel: number, kind: number, text: string, goesOn = true): void {
    const at = this.link.room(channel, kind, text.length, goesOn);
    this.link.bytes.write(text, at, "latin1");
  }

  /** Flushes, and plays all frames back as if they had come from the peer. */
  hear(): string[] {
    this.link.flush();
    for (const frame of this.frames.splice(0)) {
      assert.equal(frame.readUInt32BE(0), frame.length - 4);
      this.channels.onFrame(this.link, frame, frameHeaderBytes, frame.length);
    }
    return this.heard.splice(0);
  }
}

test("entries of a turn leave in one frame; those of one channel and kind side by side are one", () => {
  const scene = new Scene();
  scene.write(1, 2, "ab");
  scene.write(1, 2, "cd");
  scene.write(1, 3, "e");
  scene.write(2, 3, "f");
  scene.write(2, 3, "g", false);
  scene.write(1, 2, "");
  scene.link.flush();
  assert.equal(scene.frames.length, 1);
  assert.equal(scene.scheduled, 1);
  assert.deepEqual(scene.hear(), ["1 2 abcd", "1 3 e", "2 3 f", "2 3 g", "1 2 "]);
  scene.link.flush();
  assert.equal(scene.frames.length, 0, "nothing was written");
});

test("a frame is closed at its size; an entry goes on in the next as another", () => {
  const scene = new Scene();
  const part = "x".repeat(30_000);
  for (const end of ["1", "2", "3", "4"]) scene.write(7, 1, part + end);
  const heard = scene.hear();
  assert.ok(heard.length > 1);
  const all = heard.map((entry) => entry.slice("7 1 ".length)).join("");
  assert.equal(all, ["1", "2", "3", "4"].map((end) => part + end).join(""));
  scene.write(7, 1, "y".repeat(200_000));
  const [large] = scene.hear();
  assert.equal(large?.length, "7 1 ".length + 200_000, "one entry is never cut");
});

test("each side numbers its own channels, from 1", () => {
  const { link } = new Scene();
  assert.deepEqual([link.nextNumber(), link.nextNumber()], [1, 2]);
});

test("a link on which too much waits is full until that has left", () => {
  const scene = new Scene();
  scene.buffered = 1001;
  assert.equal(scene.link.isFull, false);
  scene.write(1, 1, "a");
  scene.link.flush();
  assert.equal(scene.link.isFull, true);
  scene.clock.advance(100);
  assert.deepEqual(scene.heard, []);
  scene.buffered = 0;
  scene.clock.advance(100);
  assert.equal(scene.link.isFull, false);
  assert.deepEqual(scene.heard, ["relieved"]);
});

test("a link that is gone takes nothing, and its channels hear of it", () => {
  const scene = new Scene();
  assert.equal(scene.channels.to("b@h"), scene.link);
  scene.channels.close(scene.link);
  assert.equal(scene.channels.to("b@h"), null);
  assert.deepEqual(scene.heard, ["lost"]);
  scene.write(1, 1, "a");
  scene.link.flush();
  assert.equal(scene.frames.length, 0);
});

test("entries that do not fit in their frame are a fault of the peer", () => {
  const scene = new Scene();
  scene.write(1, 2, "abc");
  scene.link.flush();
  const [frame] = scene.frames;
  assert.ok(frame !== undefined);
  for (const cut of [1, 4]) {
    assert.throws(
      () => scene.channels.onFrame(scene.link, frame, frameHeaderBytes, frame.length - cut),
      WireError,
    );
  }
  scene.channels.onFrame(scene.link, frame, frameHeaderBytes, frameHeaderBytes);
  assert.deepEqual(scene.heard, [], "a frame without entries says nothing");
});
