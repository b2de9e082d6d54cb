/**
 * Numbers, texts and bytes into a buffer that grows, and out of one again: what the records of journals are
 * made of. Whole numbers take seven bits a byte, so that small ones, by far the commonest, take one.
 */
import { recordHead } from "../../store/record.js";

const firstBytes = 256;

export class ByteWriter {
  /** The record so far, behind the room for its head. */
  buffer = Buffer.allocUnsafe(firstBytes);
  at = recordHead;

  /** Bytes of the body so far. */
  get length(): number {
    return this.at - recordHead;
  }

  byte(value: number): void {
    if (this.at === this.buffer.length) this.grow(1);
    this.buffer[this.at++] = value;
  }

  /** A whole number from 0 to 2^53 - 1. */
  number(value: number): void {
    if (this.at + 8 > this.buffer.length) this.grow(8);
    const { buffer } = this;
    let { at } = this;
    while (value >= 0x80) {
      buffer[at++] = (value % 0x80) | 0x80;
      value = value < 0x8000_0000 ? value >>> 7 : Math.floor(value / 0x80);
    }
    buffer[at++] = value;
    this.at = at;
  }

  double(value: number): void {
    if (this.at + 8 > this.buffer.length) this.grow(8);
    this.at = this.buffer.writeDoubleBE(value, this.at);
  }

  text(value: string): void {
    // A UTF-16 unit takes three bytes at most.
    const most = value.length * 3;
    if (this.at + most + 8 > this.buffer.length) this.grow(most + 8);
    if (value.length === 0) {
      this.byte(0);
      return;
    }
    const length = Buffer.byteLength(value);
    this.number(length);
    this.at += this.buffer.write(value, this.at);
  }

  /** The bytes of `from` from `start` to `end`, without their length. */
  copy(from: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.at + length > this.buffer.length) this.grow(length);
    const { buffer, at } = this;
    // A short loop is quicker than a view of a few bytes.
    if (length <= 32) for (let i = 0; i < length; i++) buffer[at + i] = from[start + i] as number;
    else from.copy(buffer, at, start, end);
    this.at = at + length;
  }

  /** The record: a copy with room for its head. The writer begins anew. */
  take(): Buffer {
    const record = Buffer.allocUnsafe(this.at);
    this.buffer.copy(record, recordHead, recordHead, this.at);
    this.at = recordHead;
    return record;
  }

  /** Empties it; a large buffer is not kept. */
  clear(keepBytes: number): void {
    this.at = recordHead;
    if (this.buffer.length > keepBytes) this.buffer = Buffer.allocUnsafe(firstBytes);
  }

  private grow(room: number): void {
    const grown = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + room));
    this.buffer.copy(grown, 0, 0, this.at);
    this.buffer = grown;
  }
}

/** Reads what a `ByteWriter` wrote. Beyond the end it throws a RangeError: the record is damaged. */
export class ByteReader {
  at = 0;

  constructor(readonly bytes: Buffer) {}

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const value = this.bytes[this.at++];
    if (value === undefined) throw new RangeError("a record ends too early");
    return value;
  }

  number(): number {
    let value = this.byte();
    if (value < 0x80) return value;
    value &= 0x7f;
    for (let factor = 0x80; ; factor *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  }

  double(): number {
    const value = this.bytes.readDoubleBE(this.at);
    this.at += 8;
    return value;
  }

  text(): string {
    const length = this.number();
    const start = this.skip(length);
    return this.bytes.toString("utf8", start, start + length);
  }

  /** Goes on behind `length` bytes; returns where they begin. */
  skip(length: number): number {
    const start = this.at;
    if (start + length > this.bytes.length) throw new RangeError("a record ends too early");
    this.at = start + length;
    return start;
  }
}
