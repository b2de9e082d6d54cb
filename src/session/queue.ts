/**
 * Messages that wait for one session, in order. Those within the limits are accepted; while a client
 * is slow but alive some more are parked behind them, unaccepted, so that their publishers slow down.
 */
import { Ring } from "../lib/ring.js";
import type { Message } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";

export interface QueueLimits {
  readonly messages: number;
  readonly bytes: number;
}

/** What a session uses of its queue, kept in memory (below) or in its journal (journal/paged-queue.ts). */
export interface WaitingMessages {
  /** All that wait, parked ones included. */
  readonly length: number;
  /** Bytes of those that are accepted. */
  readonly bytes: number;
  readonly parked: number;
  /** Could a message of this size be accepted now? Nothing overtakes a parked one. */
  hasRoom(size: number): boolean;
  /** Puts a message behind all others. The caller has seen that there is room. */
  push(message: Message, delivery: Delivery): void;
  /** Puts a message behind all others; `message.accept()` follows when it comes within the limits. */
  park(message: Message, delivery: Delivery): void;
  /** The oldest; undefined: none, or it is on its way into memory and the session is told when it is there. */
  peekMessage(): Message | undefined;
  peekDelivery(): Delivery | undefined;
  /** Takes the oldest out. `sent`: it is in flight now, else done with; parked ones that fit are accepted. */
  shift(sent: boolean): void;
  /** The drop policy: takes out the oldest until a message of `size` bytes fits. Returns how many. */
  makeRoom(size: number): number;
  /** The drop policy for parked messages: they push out the oldest. Returns how many were lost. */
  admitParked(): number;
  /** Takes out what has expired; looks through the queue once a second at most. Returns how many. */
  dropExpired(nowMs: number): number;
  /** Empties the queue; parked ones count as accepted, for nobody waits for them any more. */
  clear(): void;
}

const expiryScanMs = 1000;

export class SessionQueue implements WaitingMessages {
  private readonly messages = new Ring<Message>();
  private readonly deliveries = new Ring<Delivery>();
  private accepted = 0;
  private acceptedBytes = 0;
  /** No message expires before this time. */
  private nextExpiryMs = Number.POSITIVE_INFINITY;
  private scanDueMs = 0;

  constructor(private readonly limits: QueueLimits) {}

  /** All that wait, parked ones included. */
  get length(): number {
    return this.messages.length;
  }

  /** Bytes of those that are accepted. */
  get bytes(): number {
    return this.acceptedBytes;
  }

  get parked(): number {
    return this.messages.length - this.accepted;
  }

  /** Could a message of this size be accepted now? Nothing overtakes a parked one. */
  hasRoom(size: number): boolean {
    return this.parked === 0 && this.fits(size);
  }

  /** Puts a message behind all others. The caller has seen that there is room. */
  push(message: Message, delivery: Delivery): void {
    this.park(message, delivery);
    this.accepted++;
    this.acceptedBytes += message.size;
  }

  /** Puts a message behind all others; `message.accept()` follows when it comes within the limits. */
  park(message: Message, delivery: Delivery): void {
    message.own();
    this.messages.push(message);
    this.deliveries.push(delivery);
    if (message.expiresMs !== 0 && message.expiresMs < this.nextExpiryMs) {
      this.nextExpiryMs = message.expiresMs;
    }
  }

  peekMessage(): Message | undefined {
    return this.messages.peek();
  }

  peekDelivery(): Delivery | undefined {
    return this.deliveries.peek();
  }

  /** Takes the oldest out; parked ones that fit now are accepted. */
  shift(): void {
    this.drop();
    this.admit();
  }

  /** The drop policy: takes out the oldest until a message of `size` bytes fits. Returns how many. */
  makeRoom(size: number): number {
    let lost = this.admitParked();
    for (; this.accepted > 0 && !this.fits(size); lost++) this.shift();
    return lost;
  }

  /** The drop policy for parked messages: they push out the oldest. Returns how many were lost. */
  admitParked(): number {
    let lost = 0;
    for (; this.parked > 0 && this.accepted > 0; lost++) this.shift();
    return lost;
  }

  /** Takes out what has expired; looks through the queue once a second at most. Returns how many. */
  dropExpired(nowMs: number): number {
    if (nowMs < this.nextExpiryMs || nowMs < this.scanDueMs) return 0;
    this.scanDueMs = nowMs + expiryScanMs;
    const { length } = this.messages;
    const { accepted } = this;
    let dropped = 0;
    let next = Number.POSITIVE_INFINITY;
    for (let i = 0; i < length; i++) {
      const message = this.messages.shift();
      const delivery = this.deliveries.shift();
      if (message === undefined || delivery === undefined) break;
      const { expiresMs } = message;
      if (expiresMs === 0 || expiresMs > nowMs) {
        this.messages.push(message);
        this.deliveries.push(delivery);
        if (expiresMs !== 0 && expiresMs < next) next = expiresMs;
        continue;
      }
      dropped++;
      if (i < accepted) {
        this.accepted--;
        this.acceptedBytes -= message.size;
      } else message.accept();
    }
    this.nextExpiryMs = next;
    this.admit();
    return dropped;
  }

  /** Keeps those of which `stays` says so. A parked one that goes is the caller's to have accepted. */
  sift(stays: (message: Message, delivery: Delivery, parked: boolean) => boolean): void {
    const { length } = this.messages;
    const { accepted } = this;
    for (let i = 0; i < length; i++) {
      const message = this.messages.shift();
      const delivery = this.deliveries.shift();
      if (message === undefined || delivery === undefined) break;
      if (stays(message, delivery, i >= accepted)) {
        this.messages.push(message);
        this.deliveries.push(delivery);
      } else if (i < accepted) {
        this.accepted--;
        this.acceptedBytes -= message.size;
      }
    }
    this.admit();
  }

  /** Messages and deliveries, oldest first. */
  *entries(): Iterable<[Message, Delivery]> {
    for (let i = 0; i < this.messages.length; i++) {
      const message = this.messages.at(i);
      const delivery = this.deliveries.at(i);
      if (message !== undefined && delivery !== undefined) yield [message, delivery];
    }
  }

  /** Empties the queue; parked ones count as accepted, for nobody waits for them any more. */
  clear(): void {
    const parked: Message[] = [];
    for (let i = this.accepted; i < this.messages.length; i++) {
      const message = this.messages.at(i);
      if (message !== undefined) parked.push(message);
    }
    this.messages.clear();
    this.deliveries.clear();
    this.accepted = this.acceptedBytes = 0;
    for (const message of parked) message.accept();
  }

  private fits(size: number): boolean {
    return this.accepted < this.limits.messages && this.acceptedBytes + size <= this.limits.bytes;
  }

  private drop(): void {
    const message = this.messages.shift();
    this.deliveries.shift();
    if (message === undefined) return;
    this.accepted--;
    this.acceptedBytes -= message.size;
  }

  private admit(): void {
    while (this.accepted < this.messages.length) {
      const message = this.messages.at(this.accepted);
      if (message === undefined || !this.fits(message.size)) return;
      this.accepted++;
      this.acceptedBytes += message.size;
      message.accept();
    }
  }
}
