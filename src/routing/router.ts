/**
 * Carries a publish to everybody who subscribed: our own subscribers, and one copy to each peer that
 * has some. A message from a peer stops here (one hop), so a full mesh cannot loop.
 */
import type { ClusterPort, ClusterUser } from "../cluster/ports.js";
import { WireError } from "../cluster/wire/frames.js";
import type { Qos } from "../protocol/publish.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import { decodeForward, encodeForward } from "./forward.js";
import { isRowValue } from "./leaf.js";
import type { AcceptanceSink, Message } from "./message.js";
import { type RetainedLimits, RetainedStore } from "./retained.js";
import { RetainedSync } from "./retained-sync.js";
import { RouteIndex } from "./route-index.js";
import type { Delivery, PeerTarget, Subscriber, SubscriptionOptions, Targets } from "./targets.js";
import { type Topic, TopicTable } from "./topic.js";

/** Tells the cluster when a forward that had to wait is accepted by our subscribers. */
class ForwardSink implements AcceptanceSink {
  constructor(
    private readonly cluster: ClusterPort,
    private readonly peer: number,
    private readonly incarnation: number,
  ) {}

  onAccepted(message: Message): void {
    this.cluster.forwardAccepted(this.peer, this.incarnation, message.counter);
  }
}

export class Router implements ClusterUser {
  readonly counters = {
    published: 0,
    unmatched: 0,
    delivered: 0,
    forwarded: 0,
    received: 0,
    undecodable: 0,
  };
  readonly index = new RouteIndex();
  readonly retained: RetainedStore;
  private readonly retainedSync: RetainedSync;

  constructor(
    private readonly cluster: ClusterPort,
    retainedLimits: RetainedLimits,
    readonly topics = new TopicTable(),
  ) {
    this.retained = new RetainedStore(retainedLimits);
    this.retainedSync = new RetainedSync(cluster, this.retained, topics);
  }

  /**
   * Delivers a publish of one of our own connections (or of the node itself). Afterwards
   * `message.pending` is 0 when everybody accepted it, or `message.sink` is told later;
   * `message.refused` holds a reason code when it went nowhere.
   */
  publish(message: Message): void {
    const targets = this.targetsOf(message.topic);
    const { local, peers } = targets;
    this.counters.published++;
    message.matched = local.length + peers.length;
    if (message.qos > 0) {
      if (peers.length > 0 && !this.reserve(message, peers)) return;
      message.counter = this.cluster.nextCounter();
    }
    message.pending = 1;
    if (message.retain) this.publishRetained(message, targets);
    else {
      // Peers first: a delivery may make one of ours publish (a will), and its number is higher.
      if (peers.length > 0) this.forward(message, peers);
      this.deliver(message, local);
    }
    message.pending--;
    if (message.matched === 0) this.counters.unmatched++;
  }

  /** Adds or replaces a subscription. `durable`: of a session that outlives its connection. */
  subscribe(
    subscriber: Subscriber,
    filter: string,
    options: SubscriptionOptions,
    durable: boolean,
  ): void {
    const { qos, noLocal, retainAsPublished, subscriptionId } = options;
    const subscription = { qos, noLocal, retainAsPublished, subscriptionId, durable };
    this.cluster.setRow(filter, this.index.setLocal(filter, subscriber, subscription));
  }

  /** Returns false when there was no such subscription. */
  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    const row = this.index.deleteLocal(filter, subscriber);
    if (row === undefined) return false;
    this.cluster.setRow(filter, row);
    return true;
  }

  /** Calls `done` when every live peer holds all rows set so far; at once when they do. */
  whenSynced(done: () => void): void {
    this.cluster.whenSynced(done);
  }

  /** Retained messages that match; each is read when the iteration comes to it. */
  retainedFor(filter: string): Iterable<Message> {
    return this.retained.matching(filter);
  }

  /** Who gets a message on this topic now. */
  targetsOf(topic: Topic): Targets {
    if (topic.generation === this.index.generation && topic.targets !== null) return topic.targets;
    const targets = this.index.match(topic.name);
    topic.targets = targets;
    topic.generation = this.index.generation;
    return targets;
  }

  onForward(
    peer: number,
    incarnation: number,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): boolean {
    this.counters.received++;
    const message = this.decode(bytes, start, end);
    if (message === null) return true;
    message.counter = counter;
    if (message.retain) this.storeRetained(message);
    message.pending = 1;
    this.deliver(message, this.targetsOf(message.topic).local);
    if (--message.pending === 0) return true;
    message.sink = new ForwardSink(this.cluster, peer, incarnation);
    return false;
  }

  setPeerRow(peer: number, filter: string, value: number): number {
    if (value !== 0 && !isRowValue(value)) throw new WireError(`row with value ${value}`);
    return this.index.setPeer(filter, peer, value);
  }

  replacePeerRows(peer: number, rows: ReadonlyMap<string, number>): void {
    const gone: string[] = [];
    for (const [filter] of this.index.peerRows(peer)) if (!rows.has(filter)) gone.push(filter);
    for (const filter of gone) this.index.setPeer(filter, peer, 0);
    for (const [filter, value] of rows) this.setPeerRow(peer, filter, value);
  }

  onPeerUp(peer: number): void {
    this.retainedSync.start(peer);
  }

  onPeerDown(peer: number): void {
    this.retainedSync.onPeerDown(peer);
  }

  onPeerReady(peer: number): void {
    this.retainedSync.catchUp(peer);
  }

  onTold(peer: number, body: Buffer): void {
    try {
      this.retainedSync.onTold(peer, body);
    } catch {
      this.counters.undecodable++;
    }
  }

  /** Null: it cannot be read, here or ever; refusing it would bring it back again and again. */
  private decode(bytes: Buffer, start: number, end: number): Message | null {
    try {
      return decodeForward(this.topics, bytes, start, end);
    } catch {
      this.counters.undecodable++;
      return null;
    }
  }

  private deliver(message: Message, local: readonly Delivery[]): void {
    for (let i = 0; i < local.length; i++) {
      const delivery = local[i] as Delivery; // i is within the array
      if (delivery.noLocal && delivery.subscriber.clientId === message.publisher) continue;
      this.counters.delivered++;
      if (!delivery.subscriber.deliver(message, delivery)) message.pending++;
    }
  }

  private forward(message: Message, peers: readonly PeerTarget[]): void {
    let numbered: Buffer | null = null;
    let plain: Buffer | null = null;
    for (let i = 0; i < peers.length; i++) {
      const target = peers[i] as PeerTarget; // i is within the array
      this.counters.forwarded++;
      if (message.qos === 0 || target.qos === 0) {
        plain ??= encodeForward(message, 0);
        this.cluster.send(target.peer, plain);
        continue;
      }
      numbered ??= encodeForward(message, message.qos);
      this.forwardNumbered(message, target.peer, target.durable, numbered);
    }
  }

  private forwardNumbered(message: Message, peer: number, durable: boolean, frame: Buffer): void {
    if (this.cluster.sendNumbered(peer, message.counter, frame, durable, message)) {
      message.pending++;
    }
  }

  /** A retained message goes to every node: to store it, and to its subscribers in the same frame. */
  private publishRetained(message: Message, targets: Targets): void {
    message.stamp = this.cluster.nextStamp();
    if (this.storeRetained(message) === "full" && message.qos > 0) {
      message.refused = ReasonCode.QuotaExceeded;
      return;
    }
    const numbered: PeerTarget[] = [...targets.peers];
    for (const peer of this.cluster.livePeers()) {
      if (targets.peers.some((target) => target.peer === peer)) continue;
      numbered.push({ peer, qos: message.qos, durable: false });
    }
    const frame = encodeForward(message, message.qos);
    for (const { peer, durable } of numbered) {
      this.counters.forwarded++;
      if (message.qos === 0) {
        if (!this.cluster.send(peer, frame)) this.retainedSync.missed(peer);
      } else this.forwardNumbered(message, peer, durable, frame);
    }
    this.deliver(message, targets.local);
  }

  private storeRetained(message: Message): string {
    this.cluster.observeStamp(message.stamp);
    return this.retained.set(message);
  }

  /** Outboxes must have room before anything is sent: no target may get what others refuse. */
  private reserve(message: Message, peers: readonly PeerTarget[]): boolean {
    const bytes = message.payloadLength + message.topic.bytes.length;
    for (const target of peers) {
      if (target.qos === 0 || !target.durable) continue;
      if (this.cluster.hasRoom(target.peer, bytes)) continue;
      message.refused = ReasonCode.QuotaExceeded;
      return false;
    }
    return true;
  }
}

/** The QoS at which a delivery leaves: the lower of the publish's and the subscription's. */
export function deliveryQos(message: Message, delivery: Delivery): Qos {
  return message.qos < delivery.qos ? message.qos : delivery.qos;
}
