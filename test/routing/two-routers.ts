/** Two routers with the stream between them: what connections of the one send, and what comes out at the other. */
import assert from "node:assert/strict";
import type { ClusterPort, PartHead, Receipt } from "../../src/cluster/ports.js";
import { StreamSender } from "../../src/cluster/stream.js";
import { StreamReceiver } from "../../src/cluster/stream-receiver.js";
import {
  forwardHeaderBytes,
  forwardsHeaderBytes,
  forwardsSpreadHeaderBytes,
  FrameType,
  frameHeaderBytes,
} from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import { seededRandom } from "../../src/lib/random.js";
import { decodePublish, PublishView, publishShape, type Qos } from "../../src/protocol/publish.js";
import { Message, type Publisher } from "../../src/routing/message.js";
import { Router } from "../../src/routing/router.js";
import type { SharedStrategy } from "../../src/routing/shared.js";
import type { Subscriber } from "../../src/routing/targets.js";
import { LoneCluster } from "../support/front-end.js";

const retained = { messages: 2, bytes: 1000, forgetAfterMs: 1000, ttlMs: 0 };
const streamLimits = { outputBytes: 1_000_000, outboxMessages: 1000, outboxBytes: 1_000_000 };
export const incarnation = 50;

export interface Content {
  readonly topic: string;
  readonly qos: Qos;
  readonly payload: string;
  /** MQTT 5 properties; their length is before them. */
  readonly properties: readonly number[];
}

/** A PUBLISH as a client sends it. */
export function packet(version: number, packetId: number, content: Content): Buffer {
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
export class Origin implements ClusterPort {
  readonly frames: Buffer[] = [];
  readonly router: Router;
  readonly accepted: Message[] = [];
  readonly sender = new StreamSender(incarnation, streamLimits, () => undefined);
  private counter = 0;
  private readonly view = new PublishView();

  constructor(strategy: SharedStrategy = "random") {
    this.router = new Router(this, retained, realClock, { strategy, random: seededRandom(1) });
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
    head: PartHead,
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
export class Target implements Subscriber {
  readonly clientId = "subscriber";
  readonly cluster = new Accepting();
  readonly router = new Router(this.cluster, retained, realClock);
  readonly receiver = new StreamReceiver();
  readonly got: (Content & { publisher: string; user: string; version: number })[] = [];
  readonly parked: Message[] = [];
  accepting = true;

  constructor(qos: Qos, filter = "#") {
    const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
    this.router.subscribe(this, filter, options, false);
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
      const counter = frame.readDoubleBE(frameHeaderBytes + 8);
      if (frame[4] === FrameType.forwardsSpread) {
        const body = [frame, forwardsSpreadHeaderBytes, frame.length] as const;
        this.router.onForwardsSpread(1, 50, counter, ...body, this.receiver);
        continue;
      }
      assert.equal(frame[4], FrameType.forwards);
      const count = frame.readUInt32BE(forwardHeaderBytes);
      const alike = frame[forwardHeaderBytes + 4] === 1;
      const body = [frame, forwardsHeaderBytes, frame.length] as const;
      this.router.onForwards(1, 50, counter, count, alike, ...body, this.receiver);
    }
  }
}
