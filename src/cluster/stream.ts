/**
 * The ordered stream of numbered forwards from one origin to one peer. The sender keeps everything
 * until the peer has accepted it and repeats from the first unaccepted on a new link; the receiver takes
 * each number once. While the peer is down the tail that is due to durable rows is the outbox.
 */
import { Ring } from "../lib/ring.js";
import type { Link } from "./link.js";
import type { Receipt } from "./ports.js";
import { sealForward } from "./wire/frames.js";

/** What a stream needs of the link to its peer. */
export type StreamLink = Pick<Link, "dataBufferedBytes" | "sendData">;

interface Sent {
  readonly counter: number;
  readonly frame: Buffer;
  readonly durable: boolean;
  readonly expiresMs: number;
  /** Null: nobody waits any more (the outbox has it). */
  receipt: Receipt | null;
}

export interface StreamLimits {
  /** Bytes of output at which the stream pauses. */
  readonly outputBytes: number;
  readonly outboxMessages: number;
  readonly outboxBytes: number;
}

export class StreamSender {
  readonly counters = { forwards: 0, repeated: 0, droppedDown: 0, droppedQos0: 0, outboxed: 0 };
  private readonly unaccepted = new Ring<Sent>();
  private bytes = 0;
  /** How many of the unaccepted were written to the present link. */
  private written = 0;
  /** The highest counter that was ever written to a link. */
  private highestWritten = 0;
  private link: StreamLink | null = null;
  private down = true;
  /** Counters up to these had been sent one and two ticks ago. */
  private tickMarks: [number, number] = [0, 0];

  constructor(
    private readonly incarnation: number,
    private readonly limits: StreamLimits,
    /** Writes into a frame that waited how long it has still to live. */
    private readonly countDown: (frame: Buffer, expiresMs: number) => void,
  ) {}

  /** Messages that the peer has not accepted. */
  get length(): number {
    return this.unaccepted.length;
  }

  get heldBytes(): number {
    return this.bytes;
  }

  hasRoom(bytes: number): boolean {
    return (
      this.unaccepted.length < this.limits.outboxMessages &&
      this.bytes + bytes <= this.limits.outboxBytes
    );
  }

  /** A forward that nobody waits for; dropped and counted when the link is away or too slow. */
  sendPlain(frame: Buffer): boolean {
    const { link } = this;
    if (link === null || !this.isReady) {
      this.counters.droppedQos0++;
      return false;
    }
    sealForward(frame, this.incarnation, 0);
    this.counters.forwards++;
    link.sendData(frame);
    return true;
  }

  /** Is there a link, and does it take forwards? */
  get isReady(): boolean {
    return this.link !== null && this.link.dataBufferedBytes <= this.limits.outputBytes;
  }

  /** Returns whether `receipt` will be told. The frame may be shared with other peers' streams. */
  send(counter: number, frame: Buffer, durable: boolean, receipt: Receipt): boolean {
    if (this.down && !durable) {
      this.counters.droppedDown++;
      return false;
    }
    sealForward(frame, this.incarnation, counter);
    if (this.down) this.counters.outboxed++;
    const { expiresMs } = receipt;
    this.unaccepted.push({
      counter,
      frame,
      durable,
      expiresMs,
      receipt: this.down ? null : receipt,
    });
    this.bytes += frame.length;
    this.pump();
    return !this.down;
  }

  /** A link is up: everything that the peer has not accepted goes out again, from the oldest. */
  resume(link: StreamLink): void {
    this.link = link;
    this.counters.repeated += Math.min(this.written, this.unaccepted.length);
    this.written = 0;
    this.pump();
  }

  /** The link is gone; the peer may come back. */
  pause(): void {
    this.link = null;
  }

  /** The peer is not down: forwards wait for it. */
  setLive(): void {
    this.down = false;
  }

  /** The peer is down: what is not durable is lost for it, the rest is the outbox now. */
  setDown(): void {
    if (this.down) return;
    this.down = true;
    const waiting: Receipt[] = [];
    const kept: Sent[] = [];
    for (const sent of this.unaccepted) {
      const { receipt } = sent;
      const due = this.stillDue(sent);
      if (due !== null) kept.push({ ...sent, frame: due, receipt: null });
      if (receipt !== null) waiting.push(receipt);
    }
    this.counters.outboxed += kept.length;
    this.unaccepted.clear();
    this.bytes = 0;
    for (const sent of kept) {
      this.unaccepted.push(sent);
      this.bytes += sent.frame.length;
    }
    this.written = 0;
    for (const receipt of waiting) receipt.accept();
  }

  /** What of a forward goes to the outbox now that the peer is down. */
  private stillDue({ counter, frame, durable, receipt }: Sent): Buffer | null {
    if (receipt?.onDown === undefined) {
      if (!durable) this.counters.droppedDown++;
      return durable ? frame : null;
    }
    const due = receipt.onDown(frame, counter <= this.highestWritten);
    if (due !== null) sealForward(due, this.incarnation, counter);
    return due;
  }

  /** The peer is no member any more: nothing can be due to it. */
  discard(): void {
    this.setDown();
    this.counters.droppedDown += this.unaccepted.length;
    this.unaccepted.clear();
    this.bytes = 0;
    this.link = null;
  }

  /** The peer has accepted everything up to this counter. */
  accepted(counter: number): void {
    for (let first = this.unaccepted.peek(); first !== undefined; first = this.unaccepted.peek()) {
      if (first.counter > counter) break;
      this.unaccepted.shift();
      this.bytes -= first.frame.length;
      if (this.written > 0) this.written--;
      first.receipt?.accept();
    }
    this.pump();
  }

  /**
   * To be called every half `publish.ack_timeout`: what is durable and was not accepted for one whole
   * time-out is left to the outbox, so that its publisher need not wait longer. One timer for all.
   */
  tick(): void {
    const [one, two] = this.tickMarks;
    for (const sent of this.unaccepted) {
      if (sent.counter > two) break;
      if (sent.receipt === null || !sent.durable) continue;
      const { receipt } = sent;
      sent.receipt = null;
      this.counters.outboxed++;
      receipt.accept();
    }
    const newest = this.unaccepted.at(this.unaccepted.length - 1);
    this.tickMarks = [newest?.counter ?? one, one];
  }

  /** Writes what was not written yet, as far as the link takes it. Called again when it drains. */
  pump(): void {
    const { link } = this;
    if (link === null) return;
    while (this.written < this.unaccepted.length) {
      if (link.dataBufferedBytes > this.limits.outputBytes) return;
      const sent = this.unaccepted.at(this.written++);
      if (sent === undefined) return;
      this.highestWritten = Math.max(this.highestWritten, sent.counter);
      this.counters.forwards++;
      if (sent.expiresMs !== 0) this.countDown(sent.frame, sent.expiresMs);
      link.sendData(sent.frame);
    }
  }
}

/** What this node took from one origin, and how far it has accepted it. */
export class StreamReceiver {
  readonly counters = { duplicates: 0 };
  incarnation = 0;
  /** Highest counter taken: whatever is not higher is a repeat. */
  private taken = 0;
  private acknowledged = 0;
  /** Counters taken after one that is not accepted yet, in order, and those of them still open. */
  private readonly waiting = new Ring<number>();
  private readonly open = new Set<number>();

  /** Everything up to this counter is accepted. */
  get accepted(): number {
    return this.acknowledged;
  }

  /** Is it new? Takes note of it. The numbers of a newer incarnation begin anew. */
  take(incarnation: number, counter: number): boolean {
    if (incarnation > this.incarnation) {
      this.incarnation = incarnation;
      this.taken = 0;
      this.acknowledged = 0;
      this.waiting.clear();
      this.open.clear();
    }
    if (incarnation < this.incarnation || counter <= this.taken) {
      this.counters.duplicates++;
      return false;
    }
    this.taken = counter;
    return true;
  }

  /** The number just taken was accepted at once (or not yet). */
  settle(counter: number, accepted: boolean): void {
    if (!accepted) this.open.add(counter);
    if (this.waiting.length === 0 && accepted) this.acknowledged = counter;
    else this.waiting.push(counter);
  }

  /** Nobody is told any more when those that had to wait are accepted: the origin is no member now. */
  acceptAll(): void {
    this.acknowledged = this.taken;
    this.waiting.clear();
    this.open.clear();
  }

  /** A number that had to wait is accepted now. Returns whether `accepted` has grown. */
  accept(incarnation: number, counter: number): boolean {
    if (incarnation !== this.incarnation || !this.open.delete(counter)) return false;
    const before = this.acknowledged;
    for (let first = this.waiting.peek(); first !== undefined; first = this.waiting.peek()) {
      if (this.open.has(first)) break;
      this.waiting.shift();
      this.acknowledged = first;
    }
    return this.acknowledged !== before;
  }
}
