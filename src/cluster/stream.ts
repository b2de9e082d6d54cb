/**
 * The ordered stream of numbered forwards from this node to one peer, whose end is stream-receiver.ts. Everything is
 * kept until the peer has accepted it, and repeated from the first unaccepted on a new link. While the peer
 * is down or late, the tail that is due to durable rows goes to the outbox, where there is a store.
 */
import { assert } from "../lib/assert.js";
import { Ring } from "../lib/ring.js";
import type { Link } from "./link.js";
import type { Outbox, Sent } from "./outbox.js";
import type { PartHead, Receipt } from "./ports.js";
import { Run } from "./run.js";
import { SpreadReceipt, SpreadRun } from "./spread-run.js";
import { sealForward } from "./wire/frames.js";

/** What a stream needs of the link to its peer. */
export type StreamLink = Pick<Link, "dataBufferedBytes" | "sendData" | "sendRun" | "scheduleData">;

export interface StreamLimits {
  /** Bytes of output at which the stream pauses. */
  readonly outputBytes: number;
  readonly outboxMessages: number;
  readonly outboxBytes: number;
  /** What has waited for so long for a peer that is down is dropped; 0: never. */
  readonly outboxAgeMs?: number;
}

export class StreamSender {
  readonly counters = {
    ...{ forwards: 0, repeated: 0, droppedDown: 0, droppedQos0: 0, outboxed: 0 },
    /** Of what waited for the peer: too old, given up by an operator, delivered to another node instead. */
    ...{ outboxExpired: 0, outboxDiscarded: 0, outboxRedirected: 0 },
  };
  /** The time of the last tick: what is sent now counts as sent then. */
  private nowMs = 0;
  private readonly unaccepted = new Ring<Sent>();
  /** Forwards in the unaccepted frames, and their bytes. */
  private forwards = 0;
  private bytes = 0;
  /** What the present turn is gathering for the link. */
  private readonly run = new Run();
  private readonly spread = new SpreadRun();
  /** Which of the two is open, if one is. */
  private gathered: Run | SpreadRun = this.run;
  /** How many of the unaccepted were written to the present link. */
  private written = 0;
  /** The highest counter that was ever written to a link. */
  private highestWritten = 0;
  private link: StreamLink | null = null;
  private down = true;
  /** Of this incarnation: counters up to these had been sent one and two ticks ago. */
  private tickMarks: [number, number] = [0, 0];

  constructor(
    private readonly incarnation: number,
    private readonly limits: StreamLimits,
    /** Writes into a frame that waited how long it has still to live. */
    private readonly countDown: (frame: Buffer, expiresMs: number) => void,
    /** Null: nothing is kept over a restart. */
    private readonly outbox: Outbox | null = null,
  ) {}

  /** What an earlier process had left in the outbox, before anything is sent. */
  restore(kept: readonly Sent[]): void {
    for (const sent of kept) this.append(sent);
  }

  /** Messages that the peer has not accepted. */
  get length(): number {
    const { count, firstCounter } = this.gathered;
    return firstCounter === 0 ? this.forwards : this.forwards + count;
  }

  /** The number of the newest forward that the peer may not have taken yet; null: it has accepted all. */
  get newest(): { readonly incarnation: number; readonly counter: number } | null {
    const { gathered: run, incarnation } = this;
    if (run.count > 0 && run.lastCounter > 0) return { incarnation, counter: run.lastCounter };
    const last = this.unaccepted.at(this.unaccepted.length - 1);
    if (last === undefined) return null;
    return { incarnation: last.incarnation, counter: last.counter };
  }

  get heldBytes(): number {
    const { gathered: run } = this;
    return run.count === 0 || run.firstCounter === 0 ? this.bytes : this.bytes + run.frameBytes;
  }

  hasRoom(bytes: number): boolean {
    return (
      this.length < this.limits.outboxMessages && this.heldBytes + bytes <= this.limits.outboxBytes
    );
  }

  /**
   * Sends the forward in `bytes` from `start` to `end`, which stay as they are until the end of this turn. Those
   * that lie side by side behind the same `head` leave in one frame (docs/wire.md, "FORWARDS"); those of one `kind`
   * other than 0 are alike. Those of one `SpreadHead` need not lie side by side; they are not durable. Without `receipt` nobody
   * waits for it (`counter` 0). Returns what `sendPlain` or `send` returns.
   */
  sendPart(
    head: PartHead,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): boolean {
    const { run, spread, gathered } = this;
    if (gathered.count > 0) {
      if (gathered.extend(head, counter, bytes, start, end, kind, durable, receipt)) return true;
      this.closeRun();
    }
    if (!this.takes(durable, receipt)) return false;
    if (head instanceof Uint8Array) {
      this.gathered = run;
      run.open(head, counter, bytes, start, end, kind, durable, receipt);
    } else {
      this.gathered = spread;
      spread.open(head, counter, bytes, start, end, receipt);
    }
    if (this.link === null || this.down) this.closeRun();
    else this.link.scheduleData();
    return receipt === null || this.tells;
  }

  /** Ends the run that is open. To be called before the link sends what a turn has gathered. */
  closeRun(): void {
    const { gathered: run, link } = this;
    if (run.count === 0) return;
    const { count, lastCounter: counter, durable } = run;
    if (run.firstCounter !== 0) {
      const frame = Buffer.allocUnsafe(run.frameBytes);
      run.encode(this.incarnation, frame, 0);
      const receipt = run.close();
      if (receipt !== null) this.hold(counter, count, frame, durable, 0, receipt);
      return;
    }
    if (link === null) this.counters.droppedQos0 += count;
    else {
      this.counters.forwards += count;
      link.sendRun(run, this.incarnation);
    }
    run.close();
  }

  /** Is there a use in a new forward? Else it is dropped and counted. */
  private takes(durable: boolean, receipt: Receipt | null): boolean {
    if (receipt === null) {
      if (this.isReady) return true;
      this.counters.droppedQos0++;
      return false;
    }
    if (!this.down || durable) return true;
    this.counters.droppedDown++;
    return false;
  }

  /** A forward that nobody waits for; dropped and counted when the link is away or too slow. */
  sendPlain(frame: Buffer): boolean {
    this.closeRun();
    const { link } = this;
    if (!this.takes(false, null) || link === null) return false;
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
    this.closeRun();
    if (!this.takes(durable, receipt)) return false;
    sealForward(frame, this.incarnation, counter, receipt.alone);
    this.hold(counter, 1, frame, durable, receipt.expiresMs, receipt);
    return this.tells;
  }

  /** Whoever waits for a new forward is told. */
  private get tells(): boolean {
    return !this.down || this.outbox !== null;
  }

  private hold(
    counter: number,
    count: number,
    frame: Buffer,
    durable: boolean,
    expiresMs: number,
    receipt: Receipt,
  ): void {
    const sent: Sent = {
      incarnation: this.incarnation,
      counter,
      count,
      frame,
      durable,
      expiresMs,
      receipt: this.tells ? receipt : null,
      keeper: null,
      sinceMs: this.nowMs,
      isTaken: false,
      kept: "no",
    };
    this.append(sent);
    if (this.down) {
      this.counters.outboxed += count;
      this.outbox?.keep(sent);
    }
    this.pump();
  }

  /** A link is up: everything that the peer has not accepted goes out again, from the oldest. */
  resume(link: StreamLink): void {
    this.link = link;
    for (let i = 0; i < this.written; i++) {
      this.counters.repeated += this.unaccepted.at(i)?.count ?? 0;
    }
    this.written = 0;
    this.pump();
  }

  /** The link is gone; the peer may come back. */
  pause(): void {
    this.link = null;
    this.closeRun();
  }

  /** The peer is not down: forwards wait for it. */
  setLive(): void {
    this.down = false;
  }

  /** The peer is down: what is not durable is lost for it, the rest is the outbox now. */
  setDown(): void {
    if (this.down) return;
    this.closeRun();
    this.down = true;
    const waiting: Receipt[] = [];
    const kept: Sent[] = [];
    for (const sent of this.singles()) {
      const { receipt } = sent;
      // It stays only where it is stored, to go from there in its turn.
      if (sent.isTaken && sent.kept !== "written") continue;
      sent.isTaken = false;
      const due = this.stillDue(sent);
      if (due === null) {
        if (receipt !== null) waiting.push(receipt);
        continue;
      }
      sent.frame = due;
      // Whoever waited for it is told when it is stored: when the peer goes down once more nobody can be asked.
      sent.durable = true;
      kept.push(sent);
    }
    this.forget();
    for (const sent of kept) this.append(sent);
    this.written = 0;
    for (const sent of kept) this.leave(sent, waiting);
    for (const receipt of waiting) receipt.accept();
  }

  /** What the peer has not accepted, with each forward by itself that may have another way from here. */
  private singles(): Sent[] {
    const all: Sent[] = [];
    for (const sent of this.unaccepted) {
      if (!(sent.receipt instanceof SpreadReceipt)) {
        all.push(sent);
        continue;
      }
      for (const single of sent.receipt.split(sent.frame)) {
        all.push({ ...sent, ...single, count: 1 });
      }
    }
    return all;
  }

  private append(sent: Sent): void {
    this.unaccepted.push(sent);
    this.forwards += sent.count;
    this.bytes += sent.frame.length;
  }

  /** Leaves a forward to the outbox. Without a store whoever waits for it is only added to `waiting`. */
  private leave(sent: Sent, waiting: Receipt[]): void {
    const { receipt } = sent;
    if (receipt === null) return;
    this.counters.outboxed += sent.count;
    if (this.outbox !== null) {
      this.outbox.keep(sent);
      return;
    }
    sent.receipt = null;
    waiting.push(receipt);
  }

  /** What of a forward goes to the outbox now that the peer is down. */
  private stillDue({ counter, count, frame, durable, receipt }: Sent): Buffer | null {
    if (receipt?.onDown === undefined) {
      if (!durable) this.counters.droppedDown += count;
      return durable ? frame : null;
    }
    const due = receipt.onDown(frame, counter <= this.highestWritten);
    if (due !== null) sealForward(due, this.incarnation, counter, receipt.alone);
    return due;
  }

  /** The peer is no member any more: nothing can be due to it. */
  discard(): void {
    this.outbox?.close();
    this.setDown();
    this.counters.droppedDown += this.forwards;
    this.forget();
    this.link = null;
  }

  private forget(): void {
    this.unaccepted.clear();
    this.forwards = 0;
    this.bytes = 0;
  }

  /** The peer has accepted everything up to this number; `incarnation` is ours, or one before it. */
  accepted(counter: number, incarnation = this.incarnation): void {
    if (incarnation > this.incarnation) return;
    for (let first = this.unaccepted.peek(); first !== undefined; first = this.unaccepted.peek()) {
      const isLater = first.incarnation === incarnation ? first.counter > counter : null;
      if (isLater ?? first.incarnation > incarnation) break;
      this.unaccepted.shift();
      this.forwards -= first.count;
      this.bytes -= first.frame.length;
      if (this.written > 0) this.written--;
      if (first.kept !== "no") this.outbox?.accepted(first);
      first.receipt?.accept();
    }
    this.pump();
  }

  /** Since when the oldest waits, in wall-clock milliseconds; 0: nothing does, or it is not known. */
  get oldestMs(): number {
    return this.unaccepted.peek()?.sinceMs ?? 0;
  }

  /** What the peer has not accepted, oldest first. Not to be changed meanwhile. */
  waiting(): Iterable<Sent> {
    this.closeRun();
    return this.unaccepted;
  }

  /**
   * Of these frames, the oldest that wait, those that still do are not due to the peer any more, which must be down.
   * Returns how many forwards they hold; whoever still waits for them is told that they are accepted.
   */
  giveUp(frames: readonly Sent[]): number {
    assert(this.isAway, "what a live peer is being sent cannot be given up");
    let count = 0;
    for (const sent of frames) {
      if (this.unaccepted.peek() !== sent) continue;
      this.unaccepted.shift();
      count += sent.count;
      this.forwards -= sent.count;
      this.bytes -= sent.frame.length;
      if (sent.kept !== "no") this.outbox?.accepted(sent);
      sent.receipt?.accept();
    }
    return count;
  }

  /** The peer is down, and nothing of what waits for it is on its way. */
  get isAway(): boolean {
    return this.down && this.link === null;
  }

  /** Takes note of the time, and drops what has waited too long for a peer that is down. */
  setTime(nowMs: number): void {
    this.nowMs = nowMs;
    const { outboxAgeMs = 0 } = this.limits;
    if (!this.isAway || outboxAgeMs === 0) return;
    const old: Sent[] = [];
    for (const sent of this.unaccepted) {
      if (sent.sinceMs === 0 || nowMs - sent.sinceMs < outboxAgeMs) break;
      old.push(sent);
    }
    if (old.length > 0) this.counters.outboxExpired += this.giveUp(old);
  }

  /** The peer has accepted this one, and maybe not all before it. */
  taken(counter: number, incarnation: number): void {
    for (const sent of this.unaccepted) {
      if (sent.counter !== counter || sent.incarnation !== incarnation) continue;
      const { receipt } = sent;
      sent.isTaken = true;
      sent.receipt = null;
      if (sent.kept !== "no") this.outbox?.taken(sent);
      receipt?.accept();
      return;
    }
  }

  /**
   * To be called every half `publish.ack_timeout`: what is durable and was not accepted for one whole
   * time-out is left to the outbox, so that its publisher need not wait longer. One timer for all.
   */
  tick(): void {
    const [one, two] = this.tickMarks;
    const late: Sent[] = [];
    let newest = one;
    for (const sent of this.unaccepted) {
      if (sent.incarnation !== this.incarnation) continue;
      if (sent.counter > two) break;
      if (sent.receipt !== null && sent.durable) late.push(sent);
    }
    const last = this.unaccepted.at(this.unaccepted.length - 1);
    if (last?.incarnation === this.incarnation) newest = last.counter;
    this.tickMarks = [newest, one];
    const waiting: Receipt[] = [];
    for (const sent of late) this.leave(sent, waiting);
    for (const receipt of waiting) receipt.accept();
  }

  /** Writes what was not written yet, as far as the link takes it. Called again when it drains. */
  pump(): void {
    const { link } = this;
    if (link === null) return;
    while (this.written < this.unaccepted.length) {
      if (link.dataBufferedBytes > this.limits.outputBytes) return;
      const sent = this.unaccepted.at(this.written++);
      if (sent === undefined) return;
      if (sent.isTaken) continue;
      this.highestWritten = Math.max(this.highestWritten, sent.counter);
      this.counters.forwards += sent.count;
      if (sent.expiresMs !== 0) this.countDown(sent.frame, sent.expiresMs);
      link.sendData(sent.frame);
    }
  }
}
