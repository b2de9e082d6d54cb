/**
 * One client id's MQTT state: subscriptions, what is on its way to the client, what waits, open QoS 2
 * exchanges, expiry and will. It never sees a socket: while a connection is attached it speaks to it
 * through a channel.
 */
import type { Access } from "../auth/acl/access.js";
import type { ClientRule } from "../auth/rules.js";
import type { WheelEntry } from "../lib/timer-wheel.js";
import { AckType } from "../protocol/acks.js";
import type { WillPacket } from "../protocol/packets.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import { isShared } from "../protocol/topics.js";
import type { Message } from "../routing/message.js";
import { deliveryQos } from "../routing/router.js";
import type { PublishRun } from "../routing/publish-run.js";
import type { Topic } from "../routing/topic.js";
import type { Delivery, Subscriber, SubscriptionOptions } from "../routing/targets.js";
import type { Channel } from "./channel.js";
import type { SessionHost } from "./host.js";
import { IncomingQos2 } from "./incoming-qos2.js";
import type { SessionJournal } from "./journal/journal.js";
import type { Marks } from "./journal/marks.js";
import { PagedQueue } from "./journal/paged-queue.js";
import type { Attachment } from "./opening.js";
import { SessionQueue, type WaitingMessages } from "./queue.js";
import type { Replaying } from "./replay-turns.js";
import { isRepeat } from "./repeats.js";
import { resendDue } from "./resend.js";
import { type Replay, Replays } from "./replays.js";
import { Replies } from "./replies.js";
import { deliverRun } from "./runs.js";
import { giveAway, giveAwayStored, giveDenied } from "./shared.js";
import { Subscriptions } from "./subscriptions.js";
import type { Succession } from "./superseded/succession.js";
import { Awaiting, OutgoingWindow, outOfOrder } from "./window.js";

/** A client that acknowledged something so lately is slow, not gone: its publishers are slowed down. */
const aliveMs = 1000;

/** SUBACKs, and replays of retained messages, that may wait; then the client is not read for a while. */
const waitingMax = 64;

export class Session implements Subscriber, WheelEntry, Replaying {
  wheelDue = 0;
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;
  readonly subscriptions = new Subscriptions();
  channel: Channel | null = null;
  epoch = 0;
  /** Of its client's latest connection; less than its own when it was adopted since. */
  connectedEpoch = 0;
  /** How long it outlives its connection; 0: not at all. */
  expiryMs = 0;
  will: WillPacket | null = null;
  /** Times on the monotonic clock, of a session without connection; infinite: never. */
  willDueMs = Number.POSITIVE_INFINITY;
  endDueMs = Number.POSITIVE_INFINITY;
  awaitsReplayTurn = false;
  /** What the client may do; null: everything. */
  access: Access | null;
  /** Rules that came with what the client authenticated by. */
  rules: readonly ClientRule[] | null = null;
  /** Null: it lives in memory alone, and ends with the process or its connection. */
  journal: SessionJournal | null = null;
  readonly window: OutgoingWindow;
  queue: WaitingMessages | null = null;
  /** The queue of a session with a journal. */
  pages: PagedQueue | null = null;
  /** What it has taken that could come again; null: nothing. One with a journal has marks there. */
  marks: Marks | null = null;
  private replies: Replies | null = null;
  private replays: Replays | null = null;
  private incomingQos2: IncomingQos2 | null = null;
  private lastAckMs = 0;
  private resumed = false;
  /** It is or was in a share group. */
  hadShared = false;
  /** It has come from another node, and its client's connection is on its way to it. */
  isArriving = false;
  /** It lives on at another node; this is what is left of it here. */
  isElsewhere = false;
  /** It began while an older session of its client could not be reached; null: it did not. */
  succession: Succession | null = null;
  /** Subscriptions whose retained messages are not all sent, where that outlives the process. */
  private replaysDue: Set<string> | null = null;

  constructor(
    readonly clientId: string,
    readonly user: string,
    readonly host: SessionHost,
  ) {
    this.window = new OutgoingWindow(0, host.limits.inflight_bytes, false);
    this.access = host.authorizer.accessOf({ clientId, user, rules: null });
  }

  /** A connection here has the session itself, not the near end of a channel to it. */
  get isRemote(): false {
    return false;
  }

  /** It outlives its connection. */
  get persistent(): boolean {
    return this.expiryMs > 0;
  }

  get queued(): number {
    return this.queue === null ? 0 : this.queue.length;
  }

  get openQos2(): number {
    return this.incomingQos2 === null ? 0 : this.incomingQos2.size;
  }

  /** Incoming QoS 2 exchanges that count for this connection's Receive Maximum. */
  get freshQos2(): number {
    return this.incomingQos2 === null ? 0 : this.incomingQos2.fresh;
  }

  /** Nothing of it can be made durable at the moment. */
  get isStalled(): boolean {
    return this.journal !== null && this.journal.journals.stalled !== null;
  }

  /** The request of the client that has waited for its answer the longest; null: none does. */
  get oldestReply(): object | null {
    return this.replies?.oldest ?? null;
  }

  /** So many requests wait for their answers that no more should be read for now. */
  get backlogged(): boolean {
    const replies = this.replies?.length ?? 0;
    const isFull = replies >= waitingMax || (this.replays?.length ?? 0) >= waitingMax;
    return isFull || this.window.isHeld;
  }

  /** Retained messages are on their way to its client. */
  get isReplaying(): boolean {
    return this.replays !== null;
  }

  /** When it ends without a connection, in wall-clock milliseconds; 0: it has one. */
  get endsAtWallMs(): number {
    if (this.endDueMs === Number.POSITIVE_INFINITY) return 0;
    return this.endDueMs + (this.journal?.journals.wallOffsetMs() ?? 0);
  }

  /** Incoming QoS 2 exchanges; made when the first begins. */
  get incoming(): IncomingQos2 {
    this.incomingQos2 ??= new IncomingQos2();
    return this.incomingQos2;
  }

  /** A connection takes the session up; CONNACK has been sent. Sends again what was in flight on another one. */
  attach(attachment: Attachment): void {
    const { channel, epoch, expiryMs, receiveMaximum, will } = attachment;
    const wasPersistent = this.persistent;
    this.channel = channel;
    this.epoch = this.connectedEpoch = epoch;
    this.expiryMs = expiryMs;
    this.will = will;
    this.resumed = attachment.resumed ?? false;
    this.willDueMs = this.endDueMs = Number.POSITIVE_INFINITY;
    this.isArriving = false;
    this.host.wheel.stop(this);
    this.lastAckMs = this.host.turn.nowMs;
    // A session that ends with its connection keeps no message in flight, so it needs no cap of ours.
    const cap = this.persistent ? this.host.limits.receive_maximum : 65_535;
    this.window.restart(Math.min(receiveMaximum, cap), this.persistent || this.journal !== null);
    this.journal?.noteMeta();
    if (attachment.continues === undefined) this.incomingQos2?.onNewConnection();
    else this.incomingQos2?.onSameConnection(attachment.continues);
    if (wasPersistent !== this.persistent) this.renewSubscriptions(false);
    else if (this.hadShared) this.renewSubscriptions(true);
    if (attachment.continues === undefined) {
      resendDue(this, channel);
      for (const id of this.window.released()) channel.acknowledge(AckType.Pubrel, id, 0);
    } else this.window.goOn();
    this.pump();
  }

  /** It is about to move: nothing of QoS 1 or 2 is sent any more, and its client should not be read. */
  hold(): void {
    this.window.hold();
    // Whoever publishes to it does not wait for its client meanwhile.
    this.lastAckMs = Number.NEGATIVE_INFINITY;
  }

  /** It stays after all, as it was. */
  release(): void {
    this.window.release();
    this.lastAckMs = this.host.turn.refresh();
    this.pump();
  }

  /** The connection is gone; the session goes on without it. What cannot wait is settled now. */
  detach(): void {
    this.channel = null;
    this.replies?.clear();
    this.replies = null;
    this.host.wheel.stop(this);
    if (this.hadShared) this.renewSubscriptions(true);
    // One that ends now gives all away when it does.
    if (this.persistent) {
      if (this.hadShared && this.journal === null) giveAway(this, false);
      else if (this.hadShared) giveAwayStored(this, false, () => undefined);
      this.replays?.detached();
      this.admitParked();
    } else this.replays = null;
    this.journal?.detached();
  }

  /** Subscribes, or changes the subscription, here and with the router. */
  subscribe(filter: string, options: SubscriptionOptions): void {
    this.subscriptions.set(filter, options);
    if (isShared(filter)) this.hadShared = true;
    this.route(filter, options);
    this.journal?.noteSubscription(filter);
  }

  /** At start: a subscription that was stored. */
  restoreSubscription(filter: string, options: SubscriptionOptions): void {
    this.subscriptions.set(filter, options);
    if (isShared(filter)) this.hadShared = true;
    this.route(filter, options);
  }

  /** Ends a subscription, here and with the router. False: there was none. */
  unsubscribe(filter: string): boolean {
    if (!this.subscriptions.delete(filter)) return false;
    this.host.router.unsubscribe(this, filter);
    this.replays?.cancel(filter);
    this.replaysDue?.delete(filter);
    this.journal?.noteSubscription(filter);
    return true;
  }

  /** Forgets everything that waits, as it is no subscriber any more. Returns how many messages are lost. */
  clear(): number {
    if (this.hadShared && this.journal === null) giveAway(this, true);
    const lost = this.queued + this.window.inFlight;
    this.queue?.clear();
    this.queue = this.pages = null;
    this.replays = null;
    return lost;
  }

  deliver(message: Message, delivery: Delivery): boolean {
    if (this.access !== null && !this.access.mayReceive(message.topic)) {
      this.host.authorizer.counters.deniedDeliveries++;
      return true;
    }
    const qos = deliveryQos(message, delivery);
    const channel = this.channel;
    if (qos === 0) {
      if (channel === null) this.host.counters.droppedOffline++;
      else this.sendQos0(channel, message, delivery);
      return true;
    }
    const { journal } = this;
    const { origin } = message;
    if (origin !== null && isRepeat(this, message, origin, delivery)) {
      this.host.counters.droppedRepeats++;
      return journal?.hasStored(message) ?? true;
    }
    if (channel === null || this.queued > 0 || !this.window.hasRoom || channel.congested) {
      return this.enqueue(message, delivery);
    }
    if (!this.send(channel, message, delivery, qos) || journal === null) return true;
    journal.awaitCommit(message);
    return false;
  }

  deliverRun(run: PublishRun, delivery: Delivery): boolean {
    return deliverRun(this, run, delivery);
  }

  mayReceive(topic: Topic): boolean {
    return this.access === null || this.access.mayReceive(topic);
  }

  /** Sends what may be sent now: what was in flight before, retained messages, then the queue. */
  pump(): void {
    const { channel, window } = this;
    if (channel === null) return;
    if (window.resending) resendDue(this, channel);
    if (this.replays?.pump(this, channel)) {
      this.replays = null;
      this.readOn();
    }
    const queue = this.queue;
    if (queue === null) return;
    while (queue.length > 0 && window.hasRoom && !channel.congested) {
      const message = queue.peekMessage();
      const delivery = queue.peekDelivery();
      if (message === undefined || delivery === undefined) break;
      let goesOn = false;
      if (this.isOver(message)) this.passId();
      else if (this.mayReceive(message.topic)) {
        const qos = deliveryQos(message, delivery);
        goesOn = this.send(channel, message, delivery, qos, this.pages);
      } else {
        this.passId();
        goesOn = giveDenied(this, message, delivery, 0);
      }
      queue.shift(goesOn);
    }
  }

  /**
   * PUBACK: ids that are not in flight are ignored.
   * @throws ProtocolError protocol error: not what the id in flight waits for, as below
   */
  onPuback(packetId: number): void {
    const state = this.window.stateOf(packetId);
    if (state === Awaiting.Puback) this.complete(packetId);
    else if (state !== Awaiting.Nothing) throw outOfOrder();
  }

  onPubrec(packetId: number, reason: number): void {
    const state = this.window.stateOf(packetId);
    if (state === Awaiting.Puback) throw outOfOrder();
    if (state === Awaiting.Pubrec && reason >= 0x80) {
      this.complete(packetId); // [MQTT-4.3.3-4]
      return;
    }
    const { window, journal } = this;
    if (state === Awaiting.Pubrec) {
      this.lastAckMs = this.host.turn.nowMs;
      journal?.received(packetId, window.seqOf(packetId), window.bodyOf(packetId));
      window.received(packetId);
    }
    if (journal !== null && state !== Awaiting.Nothing) {
      // PUBREL leaves when its state is durable.
      if (reason < 0x80) journal.answerPubrel(packetId);
      return;
    }
    // An id that is not in flight is answered too: that ends the exchange at the client.
    if (reason < 0x80) this.channel?.acknowledge(AckType.Pubrel, packetId, 0);
  }

  onPubcomp(packetId: number): void {
    const state = this.window.stateOf(packetId);
    if (state === Awaiting.Pubcomp) this.complete(packetId);
    else if (state !== Awaiting.Nothing) throw outOfOrder();
  }

  /**
   * PUBREL ends an incoming exchange; PUBCOMP answers it in any case [MQTT-4.3.3-11]. An unknown id is no
   * error of a client that came back to its session: the PUBCOMP may have been lost [MQTT5 3.7.2.1].
   */
  onPubrel(packetId: number): void {
    const wasOpen = this.incomingQos2?.release(packetId) ?? false;
    if (wasOpen && this.journal !== null) {
      this.journal.released(packetId, true);
      return;
    }
    const code = wasOpen || this.resumed ? ReasonCode.Success : ReasonCode.PacketIdNotFound;
    this.channel?.acknowledge(AckType.Pubcomp, packetId, code);
  }

  /** A connection at another node cannot send what is in flight under this id: as if it had been delivered. */
  onSkipped(packetId: number): void {
    if (!this.window.isUncompleted(packetId)) return;
    this.host.counters.droppedTooLarge++;
    this.abandon(packetId);
    this.pump();
  }

  /** An incoming QoS 2 message was answered, or there is nobody to answer. */
  settleQos2({ refused, packetId }: Message): void {
    const { incoming, journal } = this;
    if (!incoming.has(packetId)) return;
    // A refused id is free again, an accepted one waits for PUBREL.
    if (refused >= 0x80) {
      incoming.release(packetId);
      journal?.released(packetId, false);
    } else {
      incoming.accepted(packetId);
      journal?.accepted(packetId);
    }
  }

  /** Calls back when everything that happened so far is durable; at once where nothing outlives the process. */
  whenDurable(done: () => void): void {
    if (this.journal === null) done();
    else this.journal.journals.commits.whenCommitted(done);
  }

  /** Sends an answer when `whenReady` calls back, after the answers to earlier requests. */
  reply(send: () => void, whenReady: (ready: () => void) => void): void {
    this.replies ??= new Replies(() => {
      if (this.replies?.length === 0) this.replies = null;
      this.readOn();
    });
    this.replies.push(send, whenReady);
  }

  /** Sends retained messages to a subscription, after what is being sent already. */
  replay(replay: Replay): void {
    this.replays ??= new Replays();
    this.replays.add(replay);
  }

  /** Retained messages are due to a subscription, or (false) all of them were sent. */
  noteReplay(filter: string, isDue: boolean): void {
    if (this.journal === null) return;
    this.replaysDue ??= new Set();
    if (isDue) this.replaysDue.add(filter);
    else if (this.replaysDue.delete(filter)) this.journal.noteSubscription(filter);
  }

  /** Are retained messages due to a subscription? Known of sessions with a journal. */
  isReplayDue(filter: string): boolean {
    return this.replaysDue?.has(filter) ?? false;
  }

  /** Incoming QoS 2 exchanges: packet id, and the message while it is not accepted. */
  openPublishes(): Iterable<[number, Message | null]> {
    return this.incomingQos2?.entries() ?? [];
  }

  /** Filters whose retained messages were not all sent yet. */
  get replaying(): string[] {
    return this.replays?.filters() ?? [];
  }

  onDeadline(): void {
    if (this.channel !== null) this.checkParked();
    else this.host.onSessionDeadline(this);
  }

  /** Puts a message into the queue. False: parked, `message.accept()` follows. */
  enqueue(message: Message, delivery: Delivery): boolean {
    const { counters, limits } = this.host;
    const bytes = limits.session_queue_bytes;
    const queue = this.queue ?? this.makeQueue();
    const { size } = message;
    if (size > bytes) {
      counters.droppedQueueFull++;
      return true;
    }
    if (!queue.hasRoom(size)) {
      counters.droppedExpired += queue.dropExpired(this.host.turn.nowMs);
    }
    if (!queue.hasRoom(size)) {
      if (this.channel !== null && this.acknowledgedLately()) {
        this.park(queue, message, delivery);
        return false;
      }
      counters.droppedQueueFull += queue.makeRoom(size);
    }
    counters.queued++;
    queue.push(message, delivery);
    if (this.journal === null) return true;
    this.journal.awaitCommit(message);
    return false;
  }

  /**
   * Sends a QoS 1 or 2 message for the first time. `from`: the queue whose first it is, of a session with a
   * journal. False: it is too large for the client.
   */
  send(
    channel: Channel,
    message: Message,
    delivery: Delivery,
    qos: number,
    from: PagedQueue | null = null,
  ): boolean {
    const { counters } = this.host;
    const { window, journal } = this;
    // With a journal the packet id of QoS 2 is durable before the message leaves: `sendStored`.
    const leavesNow = qos === 1 || journal === null;
    if (leavesNow && !this.sendAs(channel, window.nextId, message, delivery, qos)) {
      this.passId();
      return false;
    }
    if (journal === null) window.take(qos, message, delivery);
    else {
      const packetId = window.nextId;
      const seq = from === null ? journal.takeLive(message, delivery) : from.peekSeq();
      const body = from === null ? journal.takenBody : from.peekBody();
      window.take(qos, message, delivery, seq, body);
      journal.sent(packetId, seq, qos);
    }
    if (qos === 1) counters.sentQos1++;
    else counters.sentQos2++;
    return true;
  }

  /** A QoS 2 message whose packet id is durable now. */
  sendStored(channel: Channel, packetId: number): void {
    const { window } = this;
    const message = window.messageOf(packetId);
    const delivery = window.deliveryOf(packetId);
    const isDue = window.stateOf(packetId) === Awaiting.Pubrec;
    if (message === null || delivery === null || !isDue) return;
    if (!this.sendAs(channel, packetId, message, delivery, 2)) this.abandon(packetId);
  }

  /** What is in flight under this id will not be completed. */
  abandon(packetId: number): void {
    const { window, journal } = this;
    journal?.done(packetId, window.seqOf(packetId), window.bodyOf(packetId));
    window.complete(packetId);
  }

  /** The queue, made when the first message has to wait. */
  makeQueue(): WaitingMessages {
    const { journal } = this;
    const { limits } = this.host;
    const { session_queue_messages: messages, session_queue_bytes: bytes } = limits;
    if (journal === null) this.queue = new SessionQueue({ messages, bytes });
    else this.queue = this.pages = new PagedQueue(journal, limits);
    return this.queue;
  }

  sendQos0(channel: Channel, message: Message, delivery: Delivery): void {
    const { counters } = this.host;
    const retain = message.retain && delivery.retainAsPublished;
    if (channel.congested) counters.droppedOutputFull++;
    else if (channel.publish(message, 0, retain, 0, delivery.subscriptionIds)) counters.sentQos0++;
    else counters.droppedTooLarge++;
  }

  /** Of a message that waited: has it expired? If so that is counted, else it is told its rest. */
  isOver(message: Message): boolean {
    if (message.expiresMs === 0 || message.countDown(this.host.turn.refresh())) return false;
    this.host.counters.droppedExpired++;
    return true;
  }

  private readOn(): void {
    if (this.channel !== null && !this.backlogged) this.channel.readOn();
  }

  /** The next packet id belongs to a message that is not sent. */
  private passId(): void {
    this.journal?.passed(this.window.nextId);
    this.window.pass();
  }

  private sendAs(
    channel: Channel,
    packetId: number,
    message: Message,
    delivery: Delivery,
    qos: number,
  ): boolean {
    const retain = message.retain && delivery.retainAsPublished;
    const { subscriptionIds } = delivery;
    if (channel.publish(message, qos === 2 ? 2 : 1, retain, packetId, subscriptionIds)) return true;
    this.host.counters.droppedTooLarge++;
    return false;
  }

  private complete(packetId: number): void {
    this.lastAckMs = this.host.turn.nowMs;
    this.host.counters.acknowledged++;
    this.abandon(packetId);
    if (this.queue !== null || this.replays !== null || this.window.resending) this.pump();
  }

  private acknowledgedLately(): boolean {
    return this.host.turn.nowMs - this.lastAckMs <= aliveMs;
  }

  private park(queue: WaitingMessages, message: Message, delivery: Delivery): void {
    this.host.counters.parked++;
    queue.park(message, delivery);
    if (this.wheelDue === 0) this.host.wheel.set(this, aliveMs);
  }

  /** While messages are parked: has the client been silent for too long? */
  private checkParked(): void {
    if (this.queue === null || this.queue.parked === 0) return;
    const silentMs = this.host.turn.refresh() - this.lastAckMs;
    if (silentMs < aliveMs) this.host.wheel.set(this, aliveMs - silentMs);
    else this.admitParked();
  }

  /** The drop policy takes over: parked messages push out the oldest. */
  private admitParked(): void {
    const queue = this.queue;
    if (queue === null || queue.parked === 0) return;
    this.host.counters.droppedQueueFull += queue.admitParked();
  }

  /** Tells routing anew whether these subscriptions outlive the connection, and whether there is one. */
  private renewSubscriptions(sharedOnly: boolean): void {
    for (const [filter, options] of this.subscriptions) {
      if (!sharedOnly || isShared(filter)) this.route(filter, options);
    }
  }

  private route(filter: string, options: SubscriptionOptions): void {
    const online = this.channel !== null;
    this.host.router.subscribe(this, filter, options, this.persistent, online);
  }
}
