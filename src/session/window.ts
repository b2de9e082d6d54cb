/**
 * QoS 1 and 2 messages that were sent to the client and are not acknowledged. Packet ids count 1, 2, 3 …
 * 65535, 1 … and none is used twice while in flight: ids in flight lie between the oldest and the
 * next one, and each has its place in arrays that wrap around. A session that ends with its
 * connection keeps only the states, and the messages of share groups; one that can be resumed keeps
 * all messages.
 */
import { ProtocolError } from "../protocol/protocol-error.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Message } from "../routing/message.js";
import type { Delivery } from "../routing/targets.js";

/** What a packet id in flight waits for. */
export const Awaiting = { Nothing: 0, Puback: 1, Pubrec: 2, Pubcomp: 3 } as const;
export type Awaiting = (typeof Awaiting)[keyof typeof Awaiting];

const idMask = 0xffff;
const spanMax = 65_000;
const firstPlaces = 16;
/** Of every window in which nothing was ever in flight. */
const noStates = new Uint8Array(0);
const noReceipts = new Uint32Array(0);
/** Replaced before anything is put in. */
const noMessages: (Message | null)[] = [];
const noDeliveries: (Delivery | null)[] = [];
const noNumbers: number[] = [];

export class OutgoingWindow {
  /** Ids in flight. */
  inFlight = 0;
  /** Bytes of the messages kept. */
  keptBytes = 0;
  /** Messages that were in flight before this connection have still to be sent again. */
  resending = false;
  private states: Uint8Array = noStates;
  /** When the PUBREC of an id came, as a number that grows; kept for sessions that can be resumed. */
  private receipts = noReceipts;
  private lastReceipt = 0;
  private messages = noMessages;
  private deliveries = noDeliveries;
  /** Numbers of the messages in the session's journal, and of their body records; empty without one. */
  private seqs = noNumbers;
  private bodies = noNumbers;
  private oldest = 1;
  private next = 1;
  /** Sent on this connection and not completed: what the client's Receive Maximum limits. */
  private outstanding = 0;
  private resendAt = 1;
  /** `max` of a window that is held; -1: it is not. */
  private heldMax = -1;

  constructor(
    private max: number,
    private readonly bytesMax: number,
    private keeps: boolean,
  ) {}

  /** The id that the next message will get. */
  get nextId(): number {
    return this.next;
  }

  /** May another message be sent? */
  get hasRoom(): boolean {
    return (
      this.outstanding < this.max &&
      !this.resending &&
      this.keptBytes < this.bytesMax &&
      ((this.next - this.oldest) & idMask) < spanMax
    );
  }

  /** Nothing may be sent until `release` or another connection. */
  get isHeld(): boolean {
    return this.heldMax !== -1;
  }

  /** Most messages that the connection takes unacknowledged. */
  get receiveMaximum(): number {
    return this.isHeld ? this.heldMax : this.max;
  }

  hold(): void {
    if (this.isHeld) return;
    this.heldMax = this.max;
    this.max = 0;
  }

  release(): void {
    if (!this.isHeld) return;
    this.max = this.heldMax;
    this.heldMax = -1;
  }

  /** After `restart`: it is the same connection as before, on which all that is in flight was sent. */
  goOn(): void {
    this.resending = false;
    this.outstanding = this.inFlight;
  }

  /** A message leaves under `nextId`. `seq`, `body`: where the session's journal has it, if it has one. */
  take(qos: number, message: Message, delivery: Delivery, seq = 0, body = 0): void {
    const id = this.next;
    if (((id - this.oldest) & idMask) + 1 >= this.states.length) this.grow();
    const place = id & (this.states.length - 1);
    this.states[place] = qos; // QoS 1 waits for PUBACK, QoS 2 for PUBREC
    // What a share group's member does not acknowledge may go to another.
    if (this.keeps || delivery.share !== null) this.keep(place, message, delivery);
    if (seq !== 0) this.note(place, seq, body);
    this.inFlight++;
    this.outstanding++;
    this.next = id === idMask ? 1 : id + 1;
  }

  /** May so many be sent at once, whose messages need not be kept? The ids from `nextId` on must not wrap around. */
  hasRoomFor(count: number): boolean {
    return (
      !this.keeps &&
      this.hasRoom &&
      this.outstanding + count <= this.max &&
      ((this.next - this.oldest) & idMask) + count <= spanMax
    );
  }

  /** After `hasRoomFor`: so many messages leave under `nextId` and the ids behind it. */
  takeRun(qos: number, count: number): void {
    const first = this.next;
    while (((first - this.oldest) & idMask) + count >= this.states.length) this.grow();
    const { states } = this;
    const mask = states.length - 1;
    for (let id = first; id < first + count; id++) states[id & mask] = qos;
    this.inFlight += count;
    this.outstanding += count;
    this.next = first + count;
  }

  /**
   * The message that `nextId` was for is not sent: it has expired, or is too large for the client, which is as if
   * it had been sent and completed [MQTT-3.1.2-25].
   */
  pass(): void {
    const id = this.next;
    if (((id - this.oldest) & idMask) + 1 >= this.states.length) this.grow();
    this.states[id & (this.states.length - 1)] = Awaiting.Nothing;
    this.next = id === idMask ? 1 : id + 1;
    if (this.inFlight === 0) this.oldest = this.next;
  }

  /** What the id waits for. */
  stateOf(id: number): Awaiting {
    if (((id - this.oldest) & idMask) >= ((this.next - this.oldest) & idMask)) return 0;
    // Only values of Awaiting are ever stored.
    return this.states[id & (this.states.length - 1)] as Awaiting;
  }

  /** Is a message in flight under this id that its client has not answered? */
  isUncompleted(id: number): boolean {
    const state = this.stateOf(id);
    return state === Awaiting.Puback || state === Awaiting.Pubrec;
  }

  /** The client answered a QoS 2 PUBLISH with PUBREC: its message is no longer needed. */
  received(id: number): void {
    const place = id & (this.states.length - 1);
    this.states[place] = Awaiting.Pubcomp;
    if (this.keeps) this.noteReceipt(place);
    this.forget(place);
  }

  /** The exchange of an id in flight is complete; the id is free. */
  complete(id: number): void {
    const place = id & (this.states.length - 1);
    if (!this.resending || this.wasSent(id)) this.outstanding--;
    this.states[place] = Awaiting.Nothing;
    this.forget(place);
    this.inFlight--;
    if (id !== this.oldest) return;
    const mask = this.states.length - 1;
    // Place of id 0, which is skipped, is always free.
    let oldest = (id + 1) & idMask;
    while (oldest !== this.next && this.states[oldest & mask] === 0) oldest = (oldest + 1) & idMask;
    this.oldest = oldest;
  }

  /** A new connection: everything in flight is to be sent again. `max`: its Receive Maximum. */
  restart(max: number, keeps: boolean): void {
    this.max = max;
    this.heldMax = -1;
    this.keeps = keeps;
    this.resendAt = this.oldest;
    this.resending = this.inFlight > 0;
    this.outstanding = 0;
    for (const id of this.ids()) if (this.stateOf(id) === Awaiting.Pubcomp) this.outstanding++;
  }

  /**
   * The id of the next message to send again, in their order [MQTT-4.4.0-1, MQTT-4.6.0-1]; 0: none may be sent
   * now, and when `resending` is false none is left.
   */
  nextResend(): number {
    while (this.resending) {
      const id = this.resendAt;
      if (id === this.next) {
        this.resending = false;
        break;
      }
      const state = this.stateOf(id);
      const due = state === Awaiting.Puback || state === Awaiting.Pubrec;
      if (due && this.outstanding >= this.max) return 0;
      this.resendAt = (id + 1) & idMask;
      if (!due) continue;
      this.outstanding++;
      return id;
    }
    return 0;
  }

  /** The message in flight under an id, if it is kept. */
  messageOf(id: number): Message | null {
    return this.messages[id & (this.states.length - 1)] ?? null;
  }

  deliveryOf(id: number): Delivery | null {
    return this.deliveries[id & (this.states.length - 1)] ?? null;
  }

  /** The number of the message in flight in the session's journal; 0: it has none, or is not needed any more. */
  seqOf(id: number): number {
    return this.seqs[id & (this.states.length - 1)] ?? 0;
  }

  /** Number of the record that holds its body; 0: the journal itself. */
  bodyOf(id: number): number {
    return this.bodies[id & (this.states.length - 1)] ?? 0;
  }

  /** Leaves the messages to the journal until the client is back. */
  unload(): void {
    this.messages = noMessages;
    this.deliveries = noDeliveries;
    this.keptBytes = 0;
  }

  /** A message in flight was read from the journal. */
  load(id: number, message: Message, delivery: Delivery): void {
    this.keep(id & (this.states.length - 1), message, delivery);
  }

  /** Are there messages in flight that have to be read from the journal first? */
  get anyUnloaded(): boolean {
    if (this.inFlight === 0) return false;
    for (const id of this.ids()) if (this.isUnloaded(id)) return true;
    return false;
  }

  /** Must a message be read from the journal before it can be sent again? */
  isUnloaded(id: number): boolean {
    const state = this.stateOf(id);
    if (state !== Awaiting.Puback && state !== Awaiting.Pubrec) return false;
    return this.messageOf(id) === null;
  }

  /** Ids in flight, oldest first. */
  *ids(): Iterable<number> {
    for (let id = this.oldest; id !== this.next; id = (id + 1) & idMask) {
      if (this.stateOf(id) !== Awaiting.Nothing) yield id;
    }
  }

  /** Ids that wait for PUBCOMP, in the order in which their PUBRECs came [MQTT-4.6.0-4]. */
  released(): number[] {
    const ids: number[] = [];
    for (const id of this.ids()) if (this.stateOf(id) === Awaiting.Pubcomp) ids.push(id);
    return ids.sort((one, other) => this.receiptOf(one) - this.receiptOf(other));
  }

  /** At start: an id in flight whose message is in the session's journal; ids come in their order. */
  restoreStored(id: number, state: Awaiting, seq: number, body: number): void {
    this.restore(id, state, null, null);
    if (seq !== 0) this.note(id & (this.states.length - 1), seq, body);
  }

  /** Puts back an id in flight of a session that comes from elsewhere; ids come in their order. */
  restore(id: number, state: Awaiting, message: Message | null, delivery: Delivery | null): void {
    if (this.inFlight === 0) this.oldest = this.next = id;
    this.goOnAt(id === idMask ? 1 : id + 1);
    const place = id & (this.states.length - 1);
    this.states[place] = state;
    if (message !== null && delivery !== null) this.keep(place, message, delivery);
    this.inFlight++;
  }

  /** After `restore`: the id that the next message will get. */
  restoreNext(id: number): void {
    if (this.inFlight === 0) this.oldest = this.next = id;
    else this.goOnAt(id);
  }

  /** After `restore`: the order of `released`. */
  restoreReleased(ids: readonly number[]): void {
    for (const id of ids) this.noteReceipt(id & (this.states.length - 1));
  }

  /** Makes room for the ids before this one, which is the next; while it grows they are not there yet. */
  private goOnAt(next: number): void {
    while (((next - this.oldest) & idMask) + 1 >= this.states.length) this.grow();
    this.next = next;
  }

  private noteReceipt(place: number): void {
    if (this.receipts.length !== this.states.length) {
      this.receipts = new Uint32Array(this.states.length);
    }
    this.receipts[place] = ++this.lastReceipt;
  }

  private receiptOf(id: number): number {
    return this.receipts[id & (this.states.length - 1)] ?? 0;
  }

  private wasSent(id: number): boolean {
    return ((id - this.oldest) & idMask) < ((this.resendAt - this.oldest) & idMask);
  }

  private keep(place: number, message: Message, delivery: Delivery): void {
    if (this.messages.length === 0) this.makeRoomForMessages();
    message.own();
    this.messages[place] = message;
    this.deliveries[place] = delivery;
    this.keptBytes += message.size;
  }

  private note(place: number, seq: number, body: number): void {
    if (this.seqs.length < this.states.length) {
      this.seqs = new Array<number>(this.states.length).fill(0);
      this.bodies = this.seqs.slice();
    }
    this.seqs[place] = seq;
    this.bodies[place] = body;
  }

  private forget(place: number): void {
    if (this.seqs.length > 0) this.seqs[place] = this.bodies[place] = 0;
    if (this.messages.length === 0) return;
    const message = this.messages[place];
    if (message === undefined || message === null) return;
    this.keptBytes -= message.size;
    this.messages[place] = null;
    this.deliveries[place] = null;
  }

  private makeRoomForMessages(): void {
    this.messages = new Array<Message | null>(this.states.length).fill(null);
    this.deliveries = new Array<Delivery | null>(this.states.length).fill(null);
  }

  private grow(): void {
    const length = Math.max(firstPlaces, this.states.length * 2);
    const states = new Uint8Array(length);
    const keeps = this.keeps || this.messages.length > 0;
    const messages = keeps ? new Array<Message | null>(length).fill(null) : noMessages;
    const deliveries = keeps ? new Array<Delivery | null>(length).fill(null) : noDeliveries;
    const oldMask = this.states.length - 1;
    const receipts = this.receipts.length === 0 ? noReceipts : new Uint32Array(length);
    const noted = this.seqs.length > 0;
    const seqs = noted ? new Array<number>(length).fill(0) : noNumbers;
    const bodies = noted ? seqs.slice() : noNumbers;
    for (let id = this.oldest; id !== this.next; id = (id + 1) & idMask) {
      const from = id & oldMask;
      const to = id & (length - 1);
      states[to] = this.states[from] ?? 0;
      if (receipts.length > 0) receipts[to] = this.receipts[from] ?? 0;
      if (noted) {
        seqs[to] = this.seqs[from] ?? 0;
        bodies[to] = this.bodies[from] ?? 0;
      }
      if (messages.length === 0) continue;
      messages[to] = this.messages[from] ?? null;
      deliveries[to] = this.deliveries[from] ?? null;
    }
    this.states = states;
    this.receipts = receipts;
    this.seqs = seqs;
    this.bodies = bodies;
    this.messages = messages;
    this.deliveries = deliveries;
  }
}

/** The client's answer is not what its packet id waits for. */
export function outOfOrder(): ProtocolError {
  return new ProtocolError(ReasonCode.ProtocolError, "acknowledgement out of order");
}
