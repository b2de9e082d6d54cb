/**
 * Forwards of one publisher that lie side by side in the bytes where they arrived: they cross the link as one
 * frame, and are copied together. A run is open until something else is to be sent, or the turn ends; its
 * bytes must stay as they are until then.
 */
import type { Receipt } from "./ports.js";
import { forwardsHeaderBytes, writeForwardsHeader } from "./wire/frames.js";

/** The end of a read cuts the frame that it falls into, and what is cut is copied: so frames are not long. */
export const runBytesMax = 16_384;

/** Everybody who waits for the forwards of one run. */
class RunReceipt implements Receipt {
  readonly expiresMs = 0;

  constructor(private readonly receipts: readonly Receipt[]) {}

  accept(): void {
    const { receipts } = this;
    for (let i = 0; i < receipts.length; i++) (receipts[i] as Receipt).accept(); // below length
  }
}

export class Run {
  /** Forwards in it; 0: none is open. */
  count = 0;
  /** Of the first forward; 0: nobody waits for any. */
  firstCounter = 0;
  durable = false;
  private nextCounter = 0;
  private head: Buffer | null = null;
  private bytes: Buffer | null = null;
  private start = 0;
  private end = 0;
  private kind = 0;
  private alike = false;
  private receipts: Receipt[] = [];

  /** Bytes of its frame. */
  get frameBytes(): number {
    return forwardsHeaderBytes + (this.head?.length ?? 0) + this.end - this.start;
  }

  get lastCounter(): number {
    return this.firstCounter === 0 ? 0 : this.nextCounter - 1;
  }

  /** Adds the forward in `bytes` from `start` to `end`, if it goes on where the run ends. */
  extend(
    head: object,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): boolean {
    if (
      this.bytes !== bytes ||
      this.end !== start ||
      this.head !== head ||
      this.nextCounter !== counter ||
      this.durable !== durable ||
      end - this.start > runBytesMax
    ) {
      return false;
    }
    this.end = end;
    this.count++;
    if (kind !== this.kind) this.alike = false;
    if (receipt !== null) {
      this.nextCounter++;
      this.receipts.push(receipt);
    }
    return true;
  }

  /** Begins anew with this forward. `receipt` is null with counter 0. */
  open(
    head: Buffer,
    counter: number,
    bytes: Buffer,
    start: number,
    end: number,
    kind: number,
    durable: boolean,
    receipt: Receipt | null,
  ): void {
    this.head = head;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.kind = kind;
    this.alike = kind !== 0;
    this.durable = durable;
    this.count = 1;
    this.firstCounter = counter;
    this.nextCounter = receipt === null ? 0 : counter + 1;
    if (receipt !== null) this.receipts.push(receipt);
  }

  /** Copies the whole frame, of `frameBytes`, to `at`. */
  encode(incarnation: number, into: Buffer, at: number): void {
    const { head, bytes, start, end } = this;
    const { frameBytes, firstCounter, count, alike } = this;
    writeForwardsHeader(into, at, frameBytes, incarnation, firstCounter, count, alike);
    if (head === null || bytes === null) return;
    into.set(head, at + forwardsHeaderBytes);
    const view = new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);
    into.set(view, at + forwardsHeaderBytes + head.length);
  }

  /** Nothing is open any more. Returns who waits, as one. */
  close(): Receipt | null {
    const { receipts } = this;
    this.count = 0;
    this.bytes = this.head = null;
    if (receipts.length === 0) return null;
    this.receipts = [];
    const [only] = receipts;
    return receipts.length === 1 && only !== undefined ? only : new RunReceipt(receipts);
  }
}
