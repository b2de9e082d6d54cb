/** Publishes that leave for a peer as they came: two routers with the stream between them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ClusterPort, Receipt } from "../../src/cluster/ports.js";
import { StreamSender } from "../../src/cluster/stream.js";
import { StreamReceiver } from "../../src/cluster/stream-receiver.js";
import {
  forwardHeaderBytes,
  forwardsHeaderBytes,
  FrameType,
  frameHeaderBytes,
} from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import { decodePublish, PublishView, publishShape, type Qos } from "../../src/protocol/publish.js";
import { ForwardsReader, headOf } from "../../src/routing/forwards.js";
import { Message, Publisher } from "../../src/routing/message.js";
import type { PublishRun } from "../../src/routing/publish-run.js";
import { Router } from "../../src/routing/router.js";
import type { Subscriber } from "../../src/routing/targets.js";
import { TopicTable } from "../../src/routing/topic.js";
import { LoneCluster } from "../support/front-end.js";

const retained = { messages: 2, bytes: 1000, forgetAfterMs: 1000, ttlMs: 0 };
const streamLimits = { outputBytes: 1_000_000, outboxMessages: 1000, outboxBytes: 1_000_000 };
const incarnation = 50;

interface Content {
  readonly topic: string;
  readonly qos: Qos;
  readonly payload: string;
  /** MQTT 5 properties; their length is before them. */
  readonly properties: readonly number[];
}

/** A PUBLISH as a client sends it. */
function packet(version: number, packetId: number, content: Content): Buffer {
  const { topic, qos, payload, properties } = content;
  const name = Buffer.from(topic);
  const body = Buffer.concat([
    Buffer.from([name.length >> 8, name.length & 255]),
    name,
    Buffer.from(qos === 0 ? [] : [packetId >> 8, packetId & 255]),
    Buffer.from(version === 5 ? [properties.length, ...properties] : []),
    Buffer.from(payload),
  ]);
  assert.ok(body.length < 128);
  return Buffer.concat([Buffer.from([0x30 | (qos << 1), body.length]), body]);
}

/** A node with one peer (1): what is sent to it is in `frames`. */
class Origin implements ClusterPort {
  readonly frames: Buffer[] = [];
  readonly router = new Router(this, retained, realClock);
  readonly accepted: Message[] = [];
  readonly sender = new StreamSender(incarnation, streamLimits, () => undefined);
  private counter = 0;
  private readonly view = new PublishView();

  constructor() {
    this.sender.setLive();
    this.sender.resume({
      dataBufferedBytes: 0,
      sendData: (frame) => void this.frames.push(frame),
      sendRun: (run) => {
        const frame = Buffer.alloc(run.frameBytes);
        run.encode(incarnation, frame, 0);
        this.frames.push(frame);
      },
      scheduleData: () => undefined,
    });
  }

  nextCounter(): number {
    return ++this.counter;
  }
  nextStamp(): number {
    return 1;
  }
  observeStamp(): void {}
  send(_peer: number, frame: Buffer): boolean {
    return this.sender.sendPlain(frame);
  }
  sendNumbered(
    _peer: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt,
  ): boolean {
    return this.sender.send(counter, frame, durable, receipt);
  }
  sendPart(
    _peer: number,
    head: Buffer,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): boolean {
    return this.sender.sendPart(head, counter, bytes, start, end, kind, durable, receipt);
  }
  hasRoom(): boolean {
    return true;
  }
  livePeers(): readonly number[] {
    return [1];
  }
  setRow(): void {}
  whenSynced(done: () => void): void {
    done();
  }
  tell(): void {}
  tellBacklog(): number {
    return 0;
  }
  forwardAccepted(): void {}
  nameOf(): string {
    return "";
  }

  /** What a connection does with one read that holds these publishes. */
  read(publisher: Publisher, contents: readonly Content[]): Message[] {
    const { version, clientId, user } = publisher;
    const packets = contents.map((content, index) => packet(version, index + 1, content));
    const chunk = Buffer.concat(packets);
    const { view } = this;
    let at = 0;
    return packets.map(({ length }, index) => {
      const type = chunk[at] ?? 0;
      decodePublish(chunk, type, at + 2, at + length, version, 10, view);
      const { qos, propertiesStart, propertiesEnd, payloadStart, payloadEnd } = view;
      const topic = this.router.topics.intern(chunk, view.topicStart, view.topicEnd);
      const message = new Message(
        ...([topic, qos, false, clientId, chunk] as const),
        ...([propertiesStart, propertiesEnd, payloadStart, payloadEnd] as const),
      );
      message.user = user;
      message.packetId = index + 1;
      message.shape = publishShape(version, qos, false);
      message.frameStart = at;
      message.via = publisher;
      message.sink = { onAccepted: (accepted) => void this.accepted.push(accepted) };
      at += length;
      this.router.publish(message);
      return message;
    });
  }
}

class Accepting extends LoneCluster {
  readonly accepted: number[] = [];
  override forwardAccepted(_peer = 0, _incarnation = 0, counter = 0): void {
    this.accepted.push(counter);
  }
}

/** The peer: hands frames to its router as src/cluster/peer.ts does, and keeps what its subscriber gets. */
class Target implements Subscriber {
  readonly clientId = "subscriber";
  readonly cluster = new Accepting();
  readonly router = new Router(this.cluster, retained, realClock);
  readonly receiver = new StreamReceiver();
  readonly got: (Content & { publisher: string; user: string; version: number })[] = [];
  readonly parked: Message[] = [];
  accepting = true;

  constructor(qos: Qos) {
    const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
    this.router.subscribe(this, "#", options, false);
  }

  deliver(message: Message): boolean {
    const { bytes, topic, qos, publisher, user, shape } = message;
    const properties = [...bytes.subarray(message.propertiesStart, message.propertiesEnd)];
    const payload = bytes.toString("utf8", message.payloadStart, message.payloadEnd);
    const version = shape > 0xff ? 5 : 4;
    this.got.push({ topic: topic.name, qos, payload, properties, publisher, user, version });
    if (this.accepting || qos === 0) return true;
    message.own();
    this.parked.push(message);
    return false;
  }

  take(frames: readonly Buffer[]): void {
    for (const frame of frames) {
      assert.equal(frame[4], FrameType.forwards);
      const counter = frame.readDoubleBE(frameHeaderBytes + 8);
      const count = frame.readUInt32BE(forwardHeaderBytes);
      const alike = frame[forwardHeaderBytes + 4] === 1;
      const body = [frame, forwardsHeaderBytes, frame.length] as const;
      this.router.onForwards(1, 50, counter, count, alike, ...body, this.receiver);
    }
  }
}

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
