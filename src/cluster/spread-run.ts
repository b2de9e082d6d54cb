/**
 * Forwards of one publisher that leave for a peer as they came, while what it sent between them goes elsewhere (or
 * nowhere): they cross the link as one frame, each behind its number. A run is open until something else is to be sent,
 * or the turn ends; the bytes must stay as they are until then.
 */
import type { Receipt } from "./ports.js";
import { runBytesMax } from "./run.js";
import { forwardsSpreadHeaderBytes, writeForwardsSpreadHeader } from "./wire/frames.js";

/** What such forwards have in common, and what becomes of them when the peer goes down. */
export interface SpreadHead {
  /** Precedes them in the frame. */
  readonly bytes: Buffer;
  /** The forwards of a whole frame one by one, in its order; `waiting` has who waits for each. */
  split(frame: Buffer, waiting: readonly Receipt[]): readonly SingleForward[];
}

/** One of them by itself, as it would have been sent alone. */
export interface SingleForward {
  readonly counter: number;
  readonly frame: Buffer;
  readonly receipt: Receipt;
}

/** Everybody who waits for the forwards of one run. */
export class SpreadReceipt implements Receipt {
  readonly expiresMs = 0;

  constructor(
    private readonly head: SpreadHead,
    private readonly receipts: readonly Receipt[],
  ) {}

  accept(): void {
    const { receipts } = this;
    for (let i = 0; i < receipts.length; i++) (receipts[i] as Receipt).accept(); // below length
  }

  /** Instead of `onDown`, which each of them has for itself. */
  split(frame: Buffer): readonly SingleForward[] {
    return this.head.split(frame, this.receipts);
  }
}

/** Bytes of a number in the frame. */
const numberBytes = 4;

export class SpreadRun {
  /** Forwards in it; 0: none is open. */
  count = 0;
  /** Of the first forward; 0: nobody waits for any. */
  firstCounter = 0;
  lastCounter = 0;
  readonly durable = false;
  private head: SpreadHead | null = null;
  private bytes: Buffer | null = null;
  /** Of all forwards and their numbers. */
  private length = 0;
  /** Of each: what its number is above that of the first, and where it is. Beyond `count`: of earlier runs. */
  private readonly numbers: number[] = [];
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private receipts: Receipt[] = [];

  /** Bytes of its frame. */
  get frameBytes(): number {
    return forwardsSpreadHeaderBytes + (this.head?.bytes.length ?? 0) + this.length;
  }

  /** Adds the forward in `bytes` from `start` to `end`, if it is one of these; see `Run.extend`. */
  extend(
    head: object,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    _kind: number,
    _durable: boolean,
    receipt: Receipt | null,
  ): boolean {
    if (
      this.head !== head ||
      this.bytes !== bytes ||
      (counter === 0) !== (this.firstCounter === 0) ||
      this.length + end - start > runBytesMax
    ) {
      return false;
    }
    this.add(counter, start, end, receipt);
    return true;
  }

  /** Begins anew with this forward. `receipt` is null with counter 0. */
  open(
    head: SpreadHead,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    receipt: Receipt | null,
  ): void {
    this.head = head;
    this.bytes = bytes;
    this.length = 0;
    this.count = 0;
    this.firstCounter = counter;
    this.add(counter, start, end, receipt);
  }

  /** Copies the whole frame, of `frameBytes`, to `at`. */
  encode(incarnation: number, into: Buffer, at: number): void {
    const { head, bytes, starts, ends, numbers, count, firstCounter, lastCounter } = this;
    if (head === null || bytes === null) return;
    const span = lastCounter - firstCounter;
    const length = this.frameBytes;
    writeForwardsSpreadHeader(into, at, length, incarnation, firstCounter, count, span);
    into.set(head.bytes, at + forwardsSpreadHeaderBytes);
    let to = at + forwardsSpreadHeaderBytes + head.bytes.length;
    const { buffer, byteOffset } = bytes;
    for (let i = 0; i < count; i++) {
      // All three are below `count`.
      const number = numbers[i] as number;
      const start = starts[i] as number;
      const forwardBytes = (ends[i] as number) - start;
      into[to] = number >>> 24;
      into[to + 1] = number >>> 16;
      into[to + 2] = number >>> 8;
      into[to + 3] = number;
      into.set(new Uint8Array(buffer, byteOffset + start, forwardBytes), to + numberBytes);
      to += numberBytes + forwardBytes;
    }
  }

  /** Nothing is open any more. Returns who waits, as one. */
  close(): Receipt | null {
    const { receipts, head } = this;
    this.count = 0;
    this.bytes = this.head = null;
    if (receipts.length === 0 || head === null) return null;
    this.receipts = [];
    return new SpreadReceipt(head, receipts);
  }

  private add(counter: number, start: number, end: number, receipt: Receipt | null): void {
    const place = this.count++;
    this.numbers[place] = counter - this.firstCounter;
    this.starts[place] = start;
    this.ends[place] = end;
    this.length += numberBytes + end - start;
    this.lastCounter = counter;
    if (receipt !== null) this.receipts.push(receipt);
  }
}
