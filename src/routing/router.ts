/**
 * Carries a publish to everybody who subscribed: our own subscribers, and one copy to each peer that
 * has some. A message from a peer stops here (one hop), so a full mesh cannot loop.
 */
import type { PeerState } from "../cluster/failure-detector.js";
import {
  type ClusterPort,
  type ClusterUser,
  type ForwardTaker,
  ownIndex,
  type Receipt,
} from "../cluster/ports.js";
import { WireError } from "../cluster/wire/frames.js";
import type { Clock } from "../lib/clock.js";
import type { Commits } from "../store/commits.js";
import type { Store } from "../store/store.js";
import { realRandom } from "../lib/random.js";
import type { Qos } from "../protocol/publish.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import { isShared, plainFilter } from "../protocol/topics.js";
import { countDownForward, decodeForward, encodeForward } from "./forward.js";
import { ForwardsReader, headOf, kindOf, leavesAsItCame, messagesOf } from "./forwards.js";
import type { Group } from "./group.js";
import { isRowValue, packedDurable } from "./leaf.js";
import type { AcceptanceSink, Message } from "./message.js";
import { type RetainedLimits, type RetainedOutcome, RetainedStore } from "./retained.js";
import type { RetainedWalk } from "./retained-tree.js";
import type { PublishRun } from "./publish-run.js";
import { PeerOrigins } from "./origins.js";
import { RetainedSync } from "./retained-sync.js";
import { RouteIndex } from "./route-index.js";
import { SharedGroups, type SharedHost, type SharedSettings } from "./shared.js";
import { hasShared, readShared, type SharedPart } from "./shared-forward.js";
import { isSharedRowValue } from "./shared-row.js";
import {
  type Delivery,
  noGroups,
  type PeerTarget,
  type Subscriber,
  type SubscriptionOptions,
  type Targets,
} from "./targets.js";
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
    /** Forwards that came too late for anybody. */
    expired: 0,
    undecodable: 0,
    /** Publishes refused because the store takes nothing and they were due to something durable. */
    refusedStalled: 0,
  };
  readonly index = new RouteIndex();
  /** Told when the first filter below `$SYS/` comes, and when the last one is gone. */
  onSystemWatch: () => void = () => undefined;
  /** Told how a peer is seen from now on; an empty name: one that is no member any more. */
  onPeerChange: (name: string, state: PeerState) => void = () => undefined;
  /** Filters below `$SYS/`, each by whose it is. */
  private readonly systemRows = new Set<string>();
  readonly retained: RetainedStore;
  readonly shared: SharedGroups;
  private readonly retainedSync: RetainedSync;
  private readonly forwards: ForwardsReader;
  private readonly origins: PeerOrigins;

  constructor(
    private readonly cluster: ClusterPort,
    retainedLimits: RetainedLimits,
    private readonly clock: Clock,
    shared: SharedSettings = { strategy: "random", random: realRandom },
    readonly topics = new TopicTable(),
    /** Null: nothing outlives the process. */
    private readonly commits: Pick<Commits, "touch" | "stalled"> | null = null,
  ) {
    this.shared = new SharedGroups(this.sharedHost(), shared);
    this.origins = new PeerOrigins(
      (peer) => cluster.nameOf(peer),
      () => cluster.nameOf(ownIndex),
    );
    this.retained = new RetainedStore(retainedLimits, clock, commits);
    this.forwards = new ForwardsReader(topics, clock);
    const { forgetAfterMs } = retainedLimits;
    this.retainedSync = new RetainedSync(cluster, this.retained, topics, clock, forgetAfterMs);
  }

  /**
   * Delivers a publish of one of our own connections (or of the node itself). Afterwards
   * `message.pending` is 0 when everybody accepted it, or `message.sink` is told later;
   * `message.refused` holds a reason code when it went nowhere.
   */
  publish(message: Message): void {
    const found = this.targetsOf(message.topic);
    const targets = found.groups.length === 0 ? found : this.shared.choose(message, found);
    const { local, peers, groups } = targets;
    this.counters.published++;
    message.matched = local.length + peers.length + groups.length;
    if (message.qos > 0) {
      if (this.commits?.stalled && this.refuseStalled(message, targets)) return;
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

  /** Takes up the retained messages that are stored; before anything is published. */
  async load(store: Pick<Store, "read">): Promise<void> {
    const highest = await this.retained.load(store);
    this.retainedSync.begin();
    if (highest > 0) this.cluster.observeStamp(highest);
  }

  /**
   * Adds or replaces a subscription. `durable`: of a session that outlives its connection. `online`: it has
   * one; must be told anew whenever that changes, where the subscription is a shared one.
   */
  subscribe(
    subscriber: Subscriber,
    filter: string,
    options: SubscriptionOptions,
    durable: boolean,
    online = true,
  ): void {
    const { qos, noLocal, retainAsPublished, subscriptionId } = options;
    const subscription = { qos, noLocal, retainAsPublished, subscriptionId, durable };
    const row = isShared(filter)
      ? this.index.setMember(filter, subscriber, subscription, online)
      : this.index.setLocal(filter, subscriber, subscription);
    this.setOwnRow(filter, row);
  }

  /** Does anybody in the cluster subscribe to something below `$SYS/`? */
  get isSystemWatched(): boolean {
    return this.systemRows.size > 0;
  }

  /** Returns false when there was no such subscription. */
  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    const row = isShared(filter)
      ? this.index.deleteMember(filter, subscriber)
      : this.index.deleteLocal(filter, subscriber);
    if (row === undefined) return false;
    this.setOwnRow(filter, row);
    return true;
  }

  /** Gives a message of a share group to another member: see `SharedGroups.redispatch`. */
  redispatch(
    message: Message,
    share: string,
    onlineOnly: boolean,
    waiter: Receipt | null,
  ): boolean {
    return this.shared.redispatch(message, share, onlineOnly, waiter);
  }

  /** Calls `done` when every live peer holds all rows set so far; at once when they do. */
  whenSynced(done: () => void): void {
    this.cluster.whenSynced(done);
  }

  /** Starts to read the retained messages that match; each is read when the walk comes to it. */
  retainedFor(filter: string): RetainedWalk {
    return this.retained.walk(filter);
  }

  /** Who gets a message on this topic now. */
  targetsOf(topic: Topic): Targets {
    if (topic.generation === this.index.generation && topic.targets !== null) return topic.targets;
    return this.index.targetsOf(topic);
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
    const shared = hasShared(bytes, start, end) ? readShared(bytes, start, end) : null;
    const message = this.decode(bytes, start, shared?.rest ?? end);
    if (message === null) return true;
    message.counter = counter;
    this.origins.set(message, peer, incarnation, counter);
    const forAll = shared === null || !shared.part.only;
    if (message.retain && forAll) this.storeRetained(message);
    if (this.isOver(message)) return true;
    message.pending = 1;
    this.deliverHere(message, shared?.part ?? null, peer);
    if (--message.pending === 0) return true;
    message.sink = new ForwardSink(this.cluster, peer, incarnation);
    return false;
  }

  onForwards(
    peer: number,
    incarnation: number,
    counter: number,
    count: number,
    alike: boolean,
    bytes: Buffer,
    start: number,
    end: number,
    taker: ForwardTaker,
  ): void {
    const { forwards } = this;
    forwards.open(bytes, start, end);
    // Repeats are dropped one by one.
    const run =
      alike && (counter === 0 || taker.isNew(incarnation, counter)) ? forwards.run(count) : null;
    const rest = run === null ? null : this.deliverRun(run);
    if (run !== null && rest === null) {
      if (counter !== 0) taker.takeUpTo(incarnation, counter + count - 1);
      return;
    }
    let number = counter;
    const origin = counter === 0 ? null : this.origins.of(peer, incarnation);
    for (let message = forwards.next(); message !== null; message = forwards.next()) {
      if (number === 0) {
        this.receive(message, rest);
        continue;
      }
      message.counter = number++;
      if (!taker.take(incarnation, message.counter)) continue;
      message.origin = origin;
      message.identity = message.counter;
      const accepted = this.receive(message, rest);
      if (!accepted) message.sink = new ForwardSink(this.cluster, peer, incarnation);
      taker.settle(message.counter, accepted);
    }
    if (forwards.failed) this.counters.undecodable++;
  }

  onForwardsSpread(
    peer: number,
    incarnation: number,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    taker: ForwardTaker,
  ): void {
    const { forwards } = this;
    forwards.openSpread(bytes, start, end);
    const group = this.index.group(forwards.key);
    const origin = counter === 0 ? null : this.origins.of(peer, incarnation);
    for (let message = forwards.nextSpread(); message !== null; message = forwards.nextSpread()) {
      if (counter === 0) {
        this.receiveSpread(message, group, peer);
        continue;
      }
      const number = counter + forwards.offset;
      message.counter = number;
      if (!taker.take(incarnation, number)) continue;
      message.origin = origin;
      message.identity = number;
      const accepted = this.receiveSpread(message, group, peer);
      if (!accepted) message.sink = new ForwardSink(this.cluster, peer, incarnation);
      taker.settle(number, accepted);
    }
    if (forwards.failed) this.counters.undecodable++;
  }

  /** Delivers to the matching sessions of this node alone, as if a peer (`from`) had forwarded it. Its `pending` grows. */
  deliverHere(message: Message, shared: SharedPart | null, from = ownIndex): void {
    if (shared?.only !== true) this.deliver(message, this.targetsOf(message.topic).local);
    if (shared !== null) this.shared.onForward(message, shared, from);
  }

  countDownForward(frame: Buffer, expiresMs: number): void {
    countDownForward(frame, expiresMs, this.clock);
  }

  setPeerRow(peer: number, filter: string, value: number): number {
    const shared = isShared(filter);
    const isValue = value === 0 || (shared ? isSharedRowValue(value) : isRowValue(value));
    if (!isValue) throw new WireError(`row with value ${value}`);
    if (filter.charCodeAt(0) === dollar) this.noteSystem(`${peer} ${filter}`, filter, value);
    if (shared) return this.index.setPeerGroup(filter, peer, value);
    return this.index.setPeer(filter, peer, value);
  }

  isDurableRow(_filter: string, value: number): boolean {
    return packedDurable(value);
  }

  peerRowKeys(peer: number): Iterable<string | undefined> {
    return this.index.peerKeys(peer);
  }

  onPeerState(peer: number, state: PeerState): void {
    this.shared.onPeerState(peer, state);
    if (state === "down") this.retainedSync.onDown();
    this.onPeerChange(this.cluster.nameOf(peer), state);
  }

  onPeerUp(peer: number): void {
    this.retainedSync.start(peer);
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

  /** Delivers a run to those of our own that take it as such. Returns the others; null: there are none. */
  private deliverRun(run: PublishRun): Delivery[] | null {
    const { local } = this.targetsOf(run.topic);
    const { counters } = this;
    let rest: Delivery[] | null = null;
    for (let i = 0; i < local.length; i++) {
      const delivery = local[i] as Delivery; // i is within the array
      const { noLocal, subscriber } = delivery;
      if (noLocal && subscriber.clientId === run.publisher) continue;
      if (subscriber.deliverRun?.(run, delivery)) counters.delivered += run.count;
      else {
        rest ??= [];
        rest.push(delivery);
      }
    }
    if (rest === null) counters.received += run.count;
    return rest;
  }

  /** Delivers an ordinary forward to our own (`only` to these). Returns whether it is accepted. */
  private receive(message: Message, only: readonly Delivery[] | null): boolean {
    this.counters.received++;
    if (message.expiresMs !== 0 && this.isOver(message)) return true;
    message.pending = 1;
    this.deliver(message, only ?? this.targetsOf(message.topic).local);
    return --message.pending === 0;
  }

  /** Delivers a forward for this group alone. Returns whether it is accepted. */
  private receiveSpread(message: Message, group: Group | undefined, peer: number): boolean {
    this.counters.received++;
    if (message.expiresMs !== 0 && this.isOver(message)) return true;
    message.pending = 1;
    this.shared.onSpread(message, group, this.forwards.key, peer);
    return --message.pending === 0;
  }

  private setOwnRow(filter: string, row: number): void {
    this.cluster.setRow(filter, row);
    if (filter.charCodeAt(0) === dollar) this.noteSystem(filter, filter, row);
  }

  /** Shared subscriptions count too. */
  private noteSystem(key: string, filter: string, row: number): void {
    if (!plainFilter(filter).startsWith("$SYS/")) return;
    const { systemRows } = this;
    const before = systemRows.size > 0;
    if (row === 0) systemRows.delete(key);
    else systemRows.add(key);
    if (before !== systemRows.size > 0) this.onSystemWatch();
  }

  /** Null: it cannot be read, here or ever; refusing it would bring it back again and again. */
  private decode(bytes: Buffer, start: number, end: number): Message | null {
    try {
      return decodeForward(this.topics, bytes, start, end, this.clock);
    } catch {
      this.counters.undecodable++;
      return null;
    }
  }

  /** Has it expired on its way? */
  private isOver(message: Message): boolean {
    if (message.expiresMs === 0 || !message.hasExpired(this.clock.monotonicMs())) return false;
    this.counters.expired++;
    return true;
  }

  private sharedHost(): SharedHost {
    return {
      cluster: this.cluster,
      index: this.index,
      encode: (message, qos) => encodeForward(message, qos, this.clock),
      decode: (bytes, start, end) => this.decode(bytes, start, end),
      messagesOf: (frame) => messagesOf(frame, new ForwardsReader(this.topics, this.clock)),
      isOver: (message) => this.isOver(message),
      deliver: (message, delivery) => this.deliverTo(message, delivery),
    };
  }

  private deliverTo(message: Message, delivery: Delivery): void {
    if (message.fanOut === 0) message.fanOut = 1;
    if (delivery.noLocal && delivery.subscriber.clientId === message.publisher) return;
    this.counters.delivered++;
    if (!delivery.subscriber.deliver(message, delivery)) message.pending++;
  }

  private deliver(message: Message, local: readonly Delivery[]): void {
    if (local.length > message.fanOut) message.fanOut = local.length;
    // Each index is within the array.
    for (let i = 0; i < local.length; i++) this.deliverTo(message, local[i] as Delivery);
  }

  private forward(message: Message, peers: readonly PeerTarget[]): void {
    let numbered: Buffer | null = null;
    let plain: Buffer | null = null;
    for (let i = 0; i < peers.length; i++) {
      const target = peers[i] as PeerTarget; // i is within the array
      this.counters.forwarded++;
      if (target.groups.length > 0) {
        const { via } = message;
        const { peer, only } = target;
        if (only !== undefined && via !== null && leavesAsItCame(message, target.qos)) {
          this.shared.forwardAsItCame(message, via, peer, only);
          continue;
        }
        this.shared.forward(message, target, message.qos > 0 && target.qos > 0);
        continue;
      }
      if (leavesAsItCame(message, target.qos)) {
        this.forwardAsItCame(message, target);
        continue;
      }
      if (message.qos === 0 || target.qos === 0) {
        plain ??= encodeForward(message, 0, this.clock);
        this.cluster.send(target.peer, plain);
        continue;
      }
      numbered ??= encodeForward(message, message.qos, this.clock);
      this.forwardNumbered(message, target.peer, target.durable, numbered);
    }
  }

  private forwardAsItCame(message: Message, { peer, durable }: PeerTarget): void {
    const { via, counter, bytes, frameStart, payloadEnd } = message;
    if (via === null) return;
    via.head ??= headOf(via);
    const receipt = message.qos === 0 ? null : message;
    const { head } = via;
    const kind = kindOf(message, via);
    const { cluster } = this;
    if (
      cluster.sendPart(
        peer,
        head,
        counter,
        bytes,
        frameStart,
        payloadEnd,
        kind,
        durable,
        receipt,
      ) &&
      receipt !== null
    ) {
      message.pending++;
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
    // A publisher that cannot be told has its message delivered, though it is not retained (counted).
    const outcome = this.storeRetained(message, message.qos > 0);
    if (outcome === "full" && message.sink?.tellsRefusal === true) {
      message.refused = ReasonCode.QuotaExceeded;
      return;
    }
    const numbered: PeerTarget[] = [...targets.peers];
    for (const peer of this.cluster.livePeers()) {
      if (targets.peers.some((target) => target.peer === peer)) continue;
      numbered.push({ peer, qos: message.qos, durable: false, groups: noGroups });
    }
    const frame = encodeForward(message, message.qos, this.clock);
    for (const target of numbered) {
      const { peer, durable, groups } = target;
      this.counters.forwarded++;
      if (groups.length > 0) this.shared.forward(message, target, message.qos > 0);
      else if (message.qos > 0) this.forwardNumbered(message, peer, durable, frame);
      else if (!this.cluster.send(peer, frame)) this.retainedSync.missed(peer);
    }
    this.deliver(message, targets.local);
  }

  private storeRetained(message: Message, durably = false): RetainedOutcome {
    this.cluster.observeStamp(message.stamp);
    return this.retained.set(message, durably);
  }

  /**
   * While the store takes nothing, what is due to something durable could not be acknowledged: it is refused before
   * anything of it happens. A publish that nobody answers (a will) waits instead.
   */
  private refuseStalled(message: Message, { local, peers }: Targets): boolean {
    // Nor is one that is committed already: it has been taken.
    if (message.sink?.tellsRefusal === undefined || message.origin !== null) return false;
    const isDurable =
      message.retain ||
      peers.some((target) => target.durable && target.qos > 0) ||
      local.some(({ qos, subscriber }) => qos > 0 && subscriber.persistent === true);
    if (!isDurable) return false;
    this.counters.refusedStalled++;
    message.refused = ReasonCode.QuotaExceeded;
    message.pending = 0;
    return true;
  }

  /** Outboxes must have room before anything is sent: no target may get what others refuse. */
  private reserve(message: Message, peers: readonly PeerTarget[]): boolean {
    const bytes = message.payloadLength + message.topic.bytes.length;
    for (const target of peers) {
      if (target.qos === 0 || !target.durable) continue;
      if (this.cluster.hasRoom(target.peer, bytes)) continue;
      message.refused = ReasonCode.QuotaExceeded;
      message.pending = 0;
      return false;
    }
    return true;
  }
}

const dollar = 0x24;

/** The QoS at which a delivery leaves: the lower of the publish's and the subscription's. */
export function deliveryQos(message: Message, delivery: Delivery): Qos {
  const { qos } = delivery;
  if (message.qos < qos) return message.qos;
  return qos;
}
