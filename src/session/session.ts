/**
 * One client id's MQTT state: subscriptions, what is on its way to the client, what waits, open QoS 2
 * exchanges, expiry and will. It never sees a socket: while a connection is attached it speaks to it
 * through a channel.
 */
import type { Access } from "../auth/acl/access.js";
import type { WheelEntry } from "../lib/timer-wheel.js";
import { AckType } from "../protocol/acks.js";
import type { WillPacket } from "../protocol/packets.js";
import { ProtocolError } from "../protocol/protocol-error.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import { isShared } from "../protocol/topics.js";
import type { Message } from "../routing/message.js";
import { deliveryQos } from "../routing/router.js";
import type { Topic } from "../routing/topic.js";
import type { Delivery, Subscriber, SubscriptionOptions } from "../routing/targets.js";
import type { Channel } from "./channel.js";
import type { SessionHost } from "./host.js";
import { IncomingQos2 } from "./incoming-qos2.js";
import { SessionQueue } from "./queue.js";
import type { Replaying } from "./replay-turns.js";
import { type Replay, Replays } from "./replays.js";
import { Replies } from "./replies.js";
import { giveAway } from "./shared.js";
import { Awaiting, OutgoingWindow } from "./window.js";

/** A client that acknowledged something so lately is slow, not gone: its publishers are slowed down. */
const aliveMs = 1000;

/** SUBACKs, and replays of retained messages, that may wait; then the client is not read for a while. */
const waitingMax = 64;

/** What a connection brings to its session. */
export interface Attachment {
  readonly channel: Channel;
  readonly epoch: number;
  readonly expiryMs: number;
  /** Most QoS 1 and 2 messages in flight to this client. */
  readonly receiveMaximum: number;
  readonly will: WillPacket | null;
  /** The session was there before: its client may send again what was not answered. */
  readonly resumed?: boolean;
}

export class Session implements Subscriber, WheelEntry, Replaying {
  wheelDue = 0;
  wheelNext: WheelEntry | null = null;
  wheelPrevious: WheelEntry | null = null;
  readonly subscriptions = new Map<string, SubscriptionOptions>();
  channel: Channel | null = null;
  epoch = 0;
  /** How long it outlives its connection; 0: not at all. */
  expiryMs = 0;
  will: WillPacket | null = null;
  /** Times on the monotonic clock, of a session without connection; infinite: never. */
  willDueMs = Number.POSITIVE_INFINITY;
  endDueMs = Number.POSITIVE_INFINITY;
  awaitsReplayTurn = false;
  /** What the client may do; null: everything. */
  access: Access | null;
  readonly window: OutgoingWindow;
  queue: SessionQueue | null = null;
  private replies: Replies | null = null;
  private replays: Replays | null = null;
  private incomingQos2: IncomingQos2 | null = null;
  private lastAckMs = 0;
  private resumed = false;
  /** It is or was in a share group. */
  private hadShared = false;

  constructor(
    readonly clientId: string,
    readonly user: string,
    readonly host: SessionHost,
  ) {
    this.window = new OutgoingWindow(0, host.limits.inflight_bytes, false);
    this.access = host.authorizer.accessOf({ clientId, user, rules: null });
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

  /** So many requests wait for their answers that no more should be read for now. */
  get backlogged(): boolean {
    const replies = this.replies?.length ?? 0;
    return replies >= waitingMax || (this.replays?.length ?? 0) >= waitingMax;
  }

  /** Incoming QoS 2 exchanges; made when the first begins. */
  get incoming(): IncomingQos2 {
    this.incomingQos2 ??= new IncomingQos2();
    return this.incomingQos2;
  }

  /** A connection takes the session up; CONNACK has been sent. Sends again what was in flight. */
  attach(attachment: Attachment): void {
    const { channel, epoch, expiryMs, receiveMaximum, will } = attachment;
    const wasPersistent = this.persistent;
    this.channel = channel;
    this.epoch = epoch;
    this.expiryMs = expiryMs;
    this.will = will;
    this.resumed = attachment.resumed ?? false;
    this.willDueMs = this.endDueMs = Number.POSITIVE_INFINITY;
    this.host.wheel.stop(this);
    this.lastAckMs = this.host.turn.nowMs;
    // A session that ends with its connection keeps no message in flight, so it needs no cap of ours.
    const cap = this.persistent ? this.host.limits.receive_maximum : 65_535;
    this.window.restart(Math.min(receiveMaximum, cap), this.persistent);
    this.incomingQos2?.onNewConnection();
    if (wasPersistent !== this.persistent) this.renewSubscriptions(false);
    else if (this.hadShared) this.renewSubscriptions(true);
    this.resendDue(channel);
    for (const id of this.window.released()) channel.acknowledge(AckType.Pubrel, id, 0);
    this.pump();
  }

  /** The connection is gone; the session goes on without it. What cannot wait is settled now. */
  detach(): void {
    this.channel = null;
    this.replies?.clear();
    this.replies = null;
    this.host.wheel.stop(this);
    if (this.hadShared) this.renewSubscriptions(true);
    // One that ends now gives all away in `clear`.
    if (this.persistent) {
      if (this.hadShared) giveAway(this, false);
      this.replays?.detached();
      this.admitParked();
    } else this.replays = null;
  }

  /** Subscribes, or changes the subscription, here and with the router. */
  subscribe(filter: string, options: SubscriptionOptions): void {
    this.subscriptions.set(filter, options);
    if (isShared(filter)) this.hadShared = true;
    this.route(filter, options);
  }

  /** Forgets everything that waits, as it is no subscriber any more. Returns how many messages are lost. */
  clear(): number {
    if (this.hadShared) giveAway(this, true);
    const lost = this.queued + this.window.inFlight;
    this.queue?.clear();
    this.queue = null;
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
    if (channel === null || this.queued > 0 || !this.window.hasRoom || channel.congested) {
      return this.enqueue(message, delivery);
    }
    this.send(channel, message, delivery, qos);
    return true;
  }

  mayReceive(topic: Topic): boolean {
    return this.access === null || this.access.mayReceive(topic);
  }

  /** Sends what may be sent now: what was in flight before, retained messages, then the queue. */
  pump(): void {
    const channel = this.channel;
    if (channel === null) return;
    const { window } = this;
    if (window.resending) this.resendDue(channel);
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
      if (this.isOver(message)) window.pass();
      else if (!this.isDeniedNow(message, delivery)) {
        this.send(channel, message, delivery, deliveryQos(message, delivery));
      }
      queue.shift();
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
    if (state === Awaiting.Pubrec) {
      this.lastAckMs = this.host.turn.nowMs;
      this.window.received(packetId);
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
    const found = (this.incomingQos2?.release(packetId) ?? false) || this.resumed;
    const code = found ? ReasonCode.Success : ReasonCode.PacketIdNotFound;
    this.channel?.acknowledge(AckType.Pubcomp, packetId, code);
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

  /** A subscription is gone, and with it the replay to it. */
  endReplay(filter: string): void {
    this.replays?.cancel(filter);
  }

  /** Filters whose retained messages were not all sent yet. */
  get replaying(): string[] {
    return this.replays?.filters() ?? [];
  }

  /** The channel is no longer congested. */
  onDrain(): void {
    this.pump();
  }

  onDeadline(): void {
    if (this.channel !== null) this.checkParked();
    else this.host.onSessionDeadline(this);
  }

  /** Puts a message into the queue. False: parked, `message.accept()` follows. */
  enqueue(message: Message, delivery: Delivery): boolean {
    const { counters, limits } = this.host;
    const bytes = limits.session_queue_bytes;
    this.queue ??= new SessionQueue({ messages: limits.session_queue_messages, bytes });
    message.own();
    const { size } = message;
    if (size > bytes) {
      counters.droppedQueueFull++;
      return true;
    }
    if (!this.queue.hasRoom(size)) {
      counters.droppedExpired += this.queue.dropExpired(this.host.turn.nowMs);
    }
    if (!this.queue.hasRoom(size)) {
      if (this.channel !== null && this.acknowledgedLately()) {
        this.park(this.queue, message, delivery);
        return false;
      }
      counters.droppedQueueFull += this.queue.makeRoom(size);
    }
    counters.queued++;
    this.queue.push(message, delivery);
    return true;
  }

  /** Sends a QoS 1 or 2 message for the first time. */
  send(channel: Channel, message: Message, delivery: Delivery, qos: number): void {
    const { counters } = this.host;
    const retain = message.retain && delivery.retainAsPublished;
    const id = this.window.nextId;
    if (!channel.publish(message, qos === 2 ? 2 : 1, retain, id, delivery.subscriptionIds)) {
      counters.droppedTooLarge++;
      this.window.pass();
      return;
    }
    this.window.take(qos, message, delivery);
    if (qos === 1) counters.sentQos1++;
    else counters.sentQos2++;
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

  /** Of a message that waited: may the client not get it any more? Then another of its share group does. */
  private isDeniedNow(message: Message, { share }: Delivery): boolean {
    if (this.mayReceive(message.topic)) return false;
    this.host.authorizer.counters.deniedQueued++;
    if (share !== null) this.host.router.redispatch(message, share, false, null);
    return true;
  }

  private readOn(): void {
    if (this.channel !== null && !this.backlogged) this.channel.readOn();
  }

  private resendDue(channel: Channel): void {
    while (!channel.congested) {
      const id = this.window.nextResend();
      if (id === 0) return;
      this.resend(channel, id);
    }
  }

  private resend(channel: Channel, id: number): void {
    const message = this.window.messageOf(id);
    const delivery = this.window.deliveryOf(id);
    if (message === null || delivery === null) return;
    const qos = this.window.stateOf(id) === Awaiting.Puback ? 1 : 2;
    // One of QoS 2 was sent to this client and goes to no other [MQTT-4.8.2-5].
    if (this.isDeniedNow(message, qos === 1 ? delivery : { ...delivery, share: null })) {
      this.window.complete(id);
      return;
    }
    const retain = message.retain && delivery.retainAsPublished;
    // Its delivery has begun, so it is completed even if it has expired [MQTT-4.4.0-1].
    if (message.expiresMs !== 0) message.countDown(this.host.turn.nowMs);
    if (channel.republish(message, qos, retain, id, delivery.subscriptionIds)) {
      this.host.counters.resent++;
      return;
    }
    // The client takes less than it did before: as if it had been delivered [MQTT-3.1.2-25].
    this.host.counters.droppedTooLarge++;
    this.window.complete(id);
  }

  private complete(packetId: number): void {
    this.lastAckMs = this.host.turn.nowMs;
    this.host.counters.acknowledged++;
    this.window.complete(packetId);
    if (this.queue !== null || this.replays !== null || this.window.resending) this.pump();
  }

  private acknowledgedLately(): boolean {
    return this.host.turn.nowMs - this.lastAckMs <= aliveMs;
  }

  private park(queue: SessionQueue, message: Message, delivery: Delivery): void {
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

function outOfOrder(): ProtocolError {
  return new ProtocolError(ReasonCode.ProtocolError, "acknowledgement out of order");
}
