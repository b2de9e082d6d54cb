/**
 * Messages that wait for a persistent session, in order. All of them are in its log; in memory are the first ones,
 * which will be sent soon, and of the others a few numbers each. Those within the limits count as
 * accepted as soon as they are committed; while a client is slow but alive some more are parked behind
 * them, in memory alone and unaccepted.
 */
import { Ring } from "../../lib/ring.js";
import type { Message } from "../../routing/message.js";
import type { Delivery } from "../../routing/targets.js";
import { pack, unpack } from "./packed.js";
import type { Config } from "../../config/schema.js";
import type { WaitingMessages } from "../queue.js";

/** What a queue uses of its session's journal. */
export interface QueueJournal {
  /** Is a client connected, for which messages are worth keeping in memory? */
  readonly online: boolean;
  /** The number that the next message taken will get. */
  readonly nextSeq: number;
  /** Takes a message that stays in memory; returns its number. `message.accept()` follows where it waits. */
  /** The body record of the message taken last; 0: the log itself holds it. */
  readonly takenBody: number;
  takeLive(message: Message, delivery: Delivery): number;
  /** Takes a message that is read again when its turn comes. */
  takeStored(message: Message, delivery: Delivery): number;
  awaitCommit(message: Message): void;
  /** A message will not be sent. */
  gone(seq: number, body: number): void;
  /** The first messages are wanted in memory: `offer` and `pageRead` follow. */
  requestPage(): void;
}

/** Most messages and bytes in memory before they are left in the log, and when the next are fetched. */
const headMessages = 1024;
const headBytesMax = 1024 * 1024;
const lowWater = 256;
/** A page ends after so many messages or bytes, as far as records allow. */
const pageMessages = 1024;
const pageBytes = 256 * 1024;
const expiryScanMs = 1000;
/** In place of the size of a message that is no longer here. */
const goneSize = -1;
/** Of every queue that is packed. */
const nothing: number[] = [];

/** Messages and their deliveries, side by side. */
class Pairs {
  readonly messages = new Ring<Message>();
  readonly deliveries = new Ring<Delivery>();
}

class Head extends Pairs {
  readonly seqs = new Ring<number>();
  bytes = 0;

  push(seq: number, message: Message, delivery: Delivery): void {
    this.messages.push(message);
    this.deliveries.push(delivery);
    this.seqs.push(seq);
    this.bytes += message.size;
  }

  shift(): void {
    const message = this.messages.shift();
    this.deliveries.shift();
    this.seqs.shift();
    if (message !== undefined) this.bytes -= message.size;
  }
}

export class PagedQueue implements WaitingMessages {
  /** Size of each message from number `base` on, -1 where it is gone; its expiry and body record if any has one. */
  private held: number[] = [];
  /** The sizes as a text while nobody uses them; null: they are in use. */
  private packed: string | null = null;
  private expiries: number[] | null = null;
  private bodies: number[] | null = null;
  private base = 1;
  /** How many places at the beginning are gone. */
  private start = 0;
  /** The first messages, with their deliveries and numbers; null: none is in memory. */
  private head: Head | null = null;
  /** Messages from this number on are not in memory. */
  private loadedTo = 1;
  private accepted = 0;
  private acceptedBytes = 0;
  private parkedOnes: Pairs | null = null;
  private nextExpiryMs = Number.POSITIVE_INFINITY;
  private scanDueMs = 0;
  /** Messages up to this number are kept back, and how many these are. */
  private backTo = 0;
  private keptBack = 0;

  constructor(
    private readonly journal: QueueJournal,
    private readonly limits: Pick<
      Config["limits"],
      "session_queue_messages" | "session_queue_bytes"
    >,
  ) {}

  /** All that wait to be sent, parked ones included. */
  get length(): number {
    return this.accepted - this.keptBack + this.parked;
  }

  /** Bytes of those that are accepted. */
  get bytes(): number {
    return this.acceptedBytes;
  }

  get parked(): number {
    return this.parkedOnes === null ? 0 : this.parkedOnes.messages.length;
  }

  /** Messages in memory. */
  get inMemory(): number {
    return this.head === null ? 0 : this.head.messages.length;
  }

  /** The number of the first message that is not in memory; 0: all are, but for those that are kept back. */
  get firstStored(): number {
    return this.accepted - this.keptBack > this.inMemory ? this.loadedTo : 0;
  }

  /** Could a message of this size be accepted now? Nothing overtakes a parked one. */
  hasRoom(size: number): boolean {
    return this.parked === 0 && this.fits(size);
  }

  /** Puts a message behind all others. The caller has seen that there is room. */
  push(message: Message, delivery: Delivery): void {
    const { journal } = this;
    const stays =
      journal.online &&
      this.firstStored === 0 &&
      this.inMemory < headMessages &&
      (this.head?.bytes ?? 0) < headBytesMax;
    if (stays) {
      const seq = journal.takeLive(message, delivery);
      this.note(seq, message.size, message.expiresMs, journal.takenBody);
      this.keep(seq, message, delivery);
    } else {
      const seq = journal.takeStored(message, delivery);
      this.note(seq, message.size, message.expiresMs, journal.takenBody);
    }
  }

  /** Puts a message behind all others; it is taken when it comes within the limits. */
  park(message: Message, delivery: Delivery): void {
    message.own();
    this.parkedOnes ??= new Pairs();
    this.parkedOnes.messages.push(message);
    this.parkedOnes.deliveries.push(delivery);
  }

  /** The oldest; undefined: none, or it has to be fetched first. */
  peekMessage(): Message | undefined {
    if (this.inMemory === 0 && this.firstStored > 0) this.journal.requestPage();
    return this.head?.messages.peek();
  }

  peekDelivery(): Delivery | undefined {
    return this.head?.deliveries.peek();
  }

  /** The number of the message that `peekMessage` gave. */
  peekSeq(): number {
    return this.head?.seqs.peek() ?? 0;
  }

  /** Where its body is; 0: in the log. */
  peekBody(): number {
    return this.bodies?.[this.peekSeq() - this.base] ?? 0;
  }

  /** Takes the oldest out. `sent`: it goes on elsewhere in the session; else it is done with. */
  shift(sent: boolean): void {
    const seq = this.peekSeq();
    const body = this.peekBody();
    this.remove(seq);
    this.head?.shift();
    if (!sent) this.journal.gone(seq, body);
    if (this.inMemory < lowWater && this.firstStored > 0) this.journal.requestPage();
    this.admit();
  }

  /** The drop policy: takes out the oldest until a message of `size` bytes fits. Returns how many. */
  makeRoom(size: number): number {
    let lost = this.admitParked();
    for (; this.accepted > 0 && !this.fits(size); lost++) this.dropOldest();
    return lost;
  }

  /** The drop policy for parked messages: they push out the oldest. Returns how many were lost. */
  admitParked(): number {
    let lost = 0;
    for (; this.parked > 0 && this.accepted > 0; lost++) this.dropOldest();
    return lost;
  }

  /** Takes out what has expired; looks through the queue once a second at most. Returns how many. */
  dropExpired(nowMs: number): number {
    const { expiries } = this;
    if (expiries === null || nowMs < this.nextExpiryMs || nowMs < this.scanDueMs) return 0;
    this.scanDueMs = nowMs + expiryScanMs;
    let next = Number.POSITIVE_INFINITY;
    const expired: number[] = [];
    for (let i = this.start; i < this.sizes.length; i++) {
      const expiresMs = expiries[i] ?? 0;
      if (expiresMs === 0 || this.sizes[i] === goneSize) continue;
      if (expiresMs <= nowMs) expired.push(this.base + i);
      else if (expiresMs < next) next = expiresMs;
    }
    for (const seq of expired) this.drop(seq);
    this.nextExpiryMs = next;
    this.admit();
    return expired.length;
  }

  /** A message that waits goes elsewhere: it is in the queue no more. False: it was not. */
  takeOut(seq: number): boolean {
    if (!this.holds(seq)) return false;
    this.forgetInHead(seq);
    this.remove(seq);
    return true;
  }

  /** Is this message waiting here? */
  holds(seq: number): boolean {
    return (this.sizes[seq - this.base] ?? goneSize) !== goneSize;
  }

  /** Its body record; 0: in the log. */
  bodyOf(seq: number): number {
    return this.bodies?.[seq - this.base] ?? 0;
  }

  /** When it expires, on the monotonic clock; 0: never. */
  expiryOf(seq: number): number {
    return this.expiries?.[seq - this.base] ?? 0;
  }

  /** Numbers of the messages, oldest first; parked ones have none yet. */
  *seqs(): Iterable<number> {
    for (let i = this.start; i < this.sizes.length; i++) {
      if (this.sizes[i] !== goneSize) yield this.base + i;
    }
  }

  /** Keeps those parked of which `stays` says so; one that goes is the caller's to have accepted. */
  siftParked(stays: (message: Message, delivery: Delivery) => boolean): void {
    const { parkedOnes } = this;
    if (parkedOnes === null) return;
    const { messages, deliveries } = parkedOnes;
    for (let left = messages.length; left > 0; left--) {
      const message = messages.shift();
      const delivery = deliveries.shift();
      if (message === undefined || delivery === undefined || !stays(message, delivery)) continue;
      messages.push(message);
      deliveries.push(delivery);
    }
  }

  /** What waits up to that number is not sent, until it is known what becomes of it: what comes later does not wait for that. */
  keepBack(upTo: number): void {
    this.backTo = upTo;
    this.keptBack = 0;
    for (const seq of this.seqs()) if (seq <= upTo) this.keptBack++;
    this.unload();
  }

  /** What was kept back up to that number is not needed any more, `most` of it for now. Returns how many went. */
  dropUpTo(last: number, most: number): number {
    const gone: number[] = [];
    for (const seq of this.seqs()) {
      if (seq > last || gone.length === most) break;
      gone.push(seq);
    }
    for (const seq of gone) this.drop(seq);
    this.admit();
    return gone.length;
  }

  /** Nothing is kept back any more: it is sent before all others. */
  release(): void {
    this.backTo = this.keptBack = 0;
    this.unload();
  }

  /** Leaves all messages to the log, where every one of them is committed, or will be. */
  unload(): void {
    this.loadedTo = Math.max(this.base + this.start, this.backTo + 1);
    this.head = null;
    if (this.parked === 0) this.parkedOnes = null;
  }

  /** The number before which a page should end that begins with this one. */
  pageEnd(first: number): number {
    let bytes = 0;
    let seq = first;
    for (let i = first - this.base; i < this.sizes.length; i++, seq++) {
      bytes += Math.max(0, this.sizes[i] ?? 0);
      if (seq - first >= pageMessages || (bytes > pageBytes && seq > first)) break;
    }
    return seq;
  }

  /** A message was read from the log. Returns whether it was wanted. */
  offer(seq: number, message: Message, delivery: Delivery): boolean {
    if (seq < this.loadedTo || !this.holds(seq)) return false;
    this.loadedTo = seq;
    this.keep(seq, message, delivery);
    return true;
  }

  /** All messages before `end` were read: those that were not found are lost. Returns how many. */
  pageRead(end: number): number {
    let lost = 0;
    for (let seq = this.loadedTo; seq < Math.min(end, this.base + this.sizes.length); seq++) {
      if (!this.holds(seq)) continue;
      this.dropAt(seq);
      lost++;
    }
    this.loadedTo = Math.max(this.loadedTo, end);
    return lost;
  }

  /** At start: a message that waits; they come in their order. */
  restore(seq: number, size: number, expiresMs: number, body: number): void {
    this.note(seq, size, expiresMs, body);
    this.loadedTo = this.base;
  }

  /** Takes little memory until it is used again. */
  pack(): void {
    this.packed ??= pack(this.held, 1, 0);
    this.held = nothing;
  }

  /** Empties the queue; parked ones count as accepted, for nobody waits for them any more. */
  clear(): void {
    const parked = this.parkedOnes === null ? [] : [...this.parkedOnes.messages];
    this.parkedOnes = null;
    this.held = [];
    this.packed = null;
    this.start = 0;
    this.bodies = this.expiries = null;
    this.accepted = this.acceptedBytes = 0;
    this.backTo = this.keptBack = 0;
    this.unload();
    for (const message of parked) message.accept();
  }

  private get sizes(): number[] {
    if (this.packed !== null) {
      this.held = unpack(this.packed, 1, 0);
      this.packed = null;
    }
    return this.held;
  }

  private fits(size: number): boolean {
    const { session_queue_messages: messages, session_queue_bytes: bytes } = this.limits;
    return this.accepted < messages && this.acceptedBytes + size <= bytes;
  }

  /** Counts a message that was taken under the next number. */
  private note(seq: number, size: number, expiresMs: number, body: number): void {
    const { sizes } = this;
    if (this.accepted === 0) {
      sizes.length = 0;
      this.bodies = this.expiries = null;
      this.base = this.loadedTo = seq;
      this.start = 0;
    }
    // Numbers between belong to messages that never waited.
    while (this.base + sizes.length < seq) sizes.push(goneSize);
    sizes.push(size);
    const at = seq - this.base;
    if (expiresMs !== 0) {
      this.expiries ??= [];
      while (this.expiries.length < at) this.expiries.push(0);
      this.expiries[at] = expiresMs;
      if (expiresMs < this.nextExpiryMs) this.nextExpiryMs = expiresMs;
    }
    if (body !== 0) {
      this.bodies ??= [];
      while (this.bodies.length < at) this.bodies.push(0);
      this.bodies[at] = body;
    }
    this.accepted++;
    this.acceptedBytes += size;
  }

  private keep(seq: number, message: Message, delivery: Delivery): void {
    this.head ??= new Head();
    this.head.push(seq, message, delivery);
    this.loadedTo = seq + 1;
  }

  /** The place of a message is empty from now on. */
  private remove(seq: number): void {
    const at = seq - this.base;
    const size = this.sizes[at] ?? goneSize;
    if (size === goneSize) return;
    this.accepted--;
    this.acceptedBytes -= size;
    if (seq <= this.backTo) this.keptBack--;
    this.sizes[at] = goneSize;
    while (this.start < this.sizes.length && this.sizes[this.start] === goneSize) this.start++;
    if (this.start > 1024 && this.start > this.sizes.length / 2) this.compact();
  }

  private compact(): void {
    const { start } = this;
    this.held = this.sizes.slice(start);
    if (this.expiries !== null) this.expiries = this.expiries.slice(start);
    if (this.bodies !== null) this.bodies = this.bodies.slice(start);
    this.base += start;
    this.start = 0;
  }

  private dropOldest(): void {
    this.drop(this.base + this.start);
    this.admit();
  }

  private drop(seq: number): void {
    this.forgetInHead(seq);
    this.dropAt(seq);
  }

  private dropAt(seq: number): void {
    const body = this.bodyOf(seq);
    this.remove(seq);
    this.journal.gone(seq, body);
  }

  private forgetInHead(seq: number): void {
    const { head } = this;
    if (head === null || seq >= this.loadedTo || seq <= this.backTo) return;
    if (head.seqs.peek() === seq) {
      head.shift();
      return;
    }
    for (let left = head.messages.length; left > 0; left--) {
      const message = head.messages.peek();
      const delivery = head.deliveries.peek();
      const own = head.seqs.peek();
      if (message === undefined || delivery === undefined || own === undefined) return;
      head.shift();
      if (own !== seq) head.push(own, message, delivery);
    }
  }

  private admit(): void {
    const { parkedOnes } = this;
    if (parkedOnes === null) return;
    const { messages, deliveries } = parkedOnes;
    for (let message = messages.peek(); message !== undefined; message = messages.peek()) {
      const delivery = deliveries.peek();
      if (delivery === undefined || !this.fits(message.size)) return;
      messages.shift();
      deliveries.shift();
      this.push(message, delivery);
      this.journal.awaitCommit(message);
    }
  }
}
