/** A cluster without links that writes down what routing sends to its peers. */
import assert from "node:assert/strict";
import { PeerRows } from "../../src/cluster/peer-rows.js";
import type { ClusterPort, Receipt } from "../../src/cluster/ports.js";
import { rowHash } from "../../src/cluster/row-table.js";
import { forwardHeaderBytes } from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import { seededRandom } from "../../src/lib/random.js";
import { decodeForward } from "../../src/routing/forward.js";
import { Message, type Origin } from "../../src/routing/message.js";
import { Router } from "../../src/routing/router.js";
import type { SharedStrategy } from "../../src/routing/shared.js";
import { hasShared, readShared, type SharedPart } from "../../src/routing/shared-forward.js";
import type { Qos } from "../../src/protocol/publish.js";
import type { Delivery, Subscriber } from "../../src/routing/targets.js";
import { TopicTable } from "../../src/routing/topic.js";

export interface Sent {
  readonly peer: number;
  /** 0: nobody waits. */
  readonly counter: number;
  readonly durable: boolean;
  readonly payload: string;
  readonly qos: number;
  readonly part: SharedPart | null;
  /** Under which it says that it came before. */
  readonly origin: Origin | null;
  readonly identity: number;
  readonly frame: Buffer;
  readonly receipt: Receipt | null;
}

export class RecordingCluster implements ClusterPort {
  readonly sent: Sent[] = [];
  readonly rows = new Map<string, number>();
  /** Peers whose forwards go to the outbox at once. */
  readonly down = new Set<number>();
  readonly accepted: number[] = [];
  private counter = 0;
  private stamp = 0;
  private readonly topics = new TopicTable();

  nextCounter(): number {
    return ++this.counter;
  }
  nextStamp(): number {
    return ++this.stamp;
  }
  observeStamp(): void {}
  send(peer: number, frame: Buffer): boolean {
    this.record(peer, 0, frame, false, null);
    return true;
  }
  sendNumbered(
    peer: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt,
  ): boolean {
    this.record(peer, counter, frame, durable, receipt);
    return !this.down.has(peer);
  }
  sendPart(): boolean {
    assert.fail("no message here is as it came from a connection");
  }
  hasRoom(): boolean {
    return true;
  }
  livePeers(): readonly number[] {
    return [];
  }
  nameOf(peer: number): string {
    return peer < 0 ? "own@h" : `p${peer}@h`;
  }
  setRow(key: string, value: number): void {
    if (value === 0) this.rows.delete(key);
    else this.rows.set(key, value);
  }
  whenSynced(done: () => void): void {
    done();
  }
  tell(): void {}
  tellBacklog(): number {
    return 0;
  }
  forwardAccepted(_peer: number, _incarnation: number, counter: number): void {
    this.accepted.push(counter);
  }

  /** What was sent since the last call. */
  take(): Sent[] {
    return this.sent.splice(0);
  }

  private record(
    peer: number,
    counter: number,
    frame: Buffer,
    durable: boolean,
    receipt: Receipt | null,
  ): void {
    const end = frame.length;
    const shared = hasShared(frame, forwardHeaderBytes, end)
      ? readShared(frame, forwardHeaderBytes, end)
      : null;
    const copy = Buffer.from(frame);
    const rest = shared?.rest ?? end;
    const message = decodeForward(this.topics, copy, forwardHeaderBytes, rest, realClock);
    const { bytes, payloadStart, payloadEnd, qos, origin, identity } = message;
    const payload = bytes.toString("utf8", payloadStart, payloadEnd);
    const part = shared === null ? null : shared.part;
    const what = { payload, qos, part, origin, identity };
    this.sent.push({ peer, counter, durable, ...what, frame, receipt });
  }
}

/** A subscriber that writes down what it gets; `accepting` false: QoS 1 and 2 wait. */
export class Taker implements Subscriber {
  readonly got: { readonly payload: string; readonly share: string | null }[] = [];
  readonly waiting: Message[] = [];
  accepting = true;
  allowed = true;

  constructor(readonly clientId: string) {}

  mayReceive(): boolean {
    return this.allowed;
  }

  deliver(message: Message, delivery: Delivery): boolean {
    const { bytes, payloadStart, payloadEnd } = message;
    const payload = bytes.toString("utf8", payloadStart, payloadEnd);
    this.got.push({ payload, share: delivery.share });
    if (this.accepting || message.qos === 0) return true;
    message.own();
    this.waiting.push(message);
    return false;
  }
}

/** A router over such a cluster. */
export function recordingRouter(
  strategy: SharedStrategy = "random",
  seed = 1,
): { cluster: RecordingCluster; router: Router } {
  const cluster = new RecordingCluster();
  const limits = { messages: 100, bytes: 100_000, ttlMs: 0, forgetAfterMs: 60_000 };
  const shared = { strategy, random: seededRandom(seed) };
  return { cluster, router: new Router(cluster, limits, realClock, shared) };
}

/** Publishes; the message tells how it went. */
export function publish(
  router: Router,
  topic: string,
  payload: string,
  qos: Qos,
  publisher = "p",
): Message {
  const bytes = Buffer.from(payload);
  const record = router.topics.internName(topic);
  const message = new Message(record, qos, false, publisher, bytes, 0, 0, 0, bytes.length);
  router.publish(message);
  return message;
}

/** Subscribes or subscribes anew. */
export function member(
  router: Router,
  taker: Taker,
  filter: string,
  how: { readonly qos?: Qos; readonly durable?: boolean; readonly online?: boolean } = {},
): void {
  const { qos = 1, durable = false, online = true } = how;
  const options = { qos, noLocal: false, retainAsPublished: false, subscriptionId: 0 };
  router.subscribe(taker, filter, options, durable, online);
}

/** These are all rows of the peer from now on, as after a snapshot. */
export function replacePeerRows(
  router: Router,
  peer: number,
  rows: ReadonlyMap<string, number>,
): void {
  const set = (key: string, value: number): number => router.setPeerRow(peer, key, value);
  const store = { set, keys: () => router.peerRowKeys(peer) };
  let held = false;
  const copy = new PeerRows(store, realClock, (fault) => {
    held = fault === null;
  });
  let hash = 0;
  for (const [key, value] of rows) hash = (hash + rowHash(key, value)) >>> 0;
  copy.begin();
  copy.part([...rows].flat());
  copy.end({ seq: 1, count: rows.size, hash });
  assert.ok(held);
}
