/**
 * Whole numbers of sessions that nobody uses, as short texts: most are small, or little more than the one some places before, and take
 * one byte instead of the eight of an array. Idle sessions come by the hundred thousand.
 */
import { recordHead } from "../../store/record.js";
import { ByteReader, ByteWriter } from "./bytes.js";

const writer = new ByteWriter();
const bufferKept = 64 * 1024;

/**
 * Numbers from -1 on. The first `growing` of each `stride` numbers never get smaller from one stride to the next, and are
 * written as what they grow by.
 */
export function pack(numbers: readonly number[], stride: number, growing: number): string {
  for (let i = 0; i < numbers.length; i++) {
    const number = numbers[i] as number; // below length
    const before = i >= stride && i % stride < growing ? (numbers[i - stride] ?? 0) : -1;
    writer.number(number - before);
  }
  const text = writer.buffer.toString("latin1", recordHead, writer.at);
  writer.clear(bufferKept);
  return text;
}

/** What `pack` made a text of. */
export function unpack(text: string, stride: number, growing: number): number[] {
  const reader = new ByteReader(Buffer.from(text, "latin1"));
  const numbers: number[] = [];
  for (let i = 0; !reader.done; i++) {
    const before = i >= stride && i % stride < growing ? (numbers[i - stride] ?? 0) : -1;
    numbers.push(reader.number() + before);
  }
  return numbers;
}
