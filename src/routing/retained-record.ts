/**
 * A retained message, or the trace of a deleted one, as it is stored. The time it has left is kept as a deadline on
 * the wall clock, so that it goes on while the node is away.
 *
 *   f64 stamp | f64 deadline, 0: never | u8 QoS, + 4: deleted | u32 length of properties |
 *   u16 length, topic | u16 length, publisher | u16 length, user | properties, payload
 */
import type { Clock } from "../lib/clock.js";
import { openRecord, recordHead, sealRecord } from "../store/record.js";
import type { Qos } from "../protocol/publish.js";
import { RetainedEntry } from "./retained-entry.js";

const recordVersion = 1;
const deletedBit = 4;
const fixedBytes = 8 + 8 + 1 + 4;
const lengthBytes = 2;

export function encodeRetained(entry: RetainedEntry, clock: Clock): Buffer {
  const { topic, publisher, user, content, expiresMs } = entry;
  const texts = [topic, publisher, user];
  const textBytes = texts.map((text) => (text === "" ? 0 : Buffer.byteLength(text)));
  const contentBytes = content === null ? 0 : content.length;
  let length = recordHead + fixedBytes + contentBytes;
  for (const bytes of textBytes) length += lengthBytes + bytes;
  const record = Buffer.allocUnsafe(length);
  const deadlineMs = expiresMs === 0 ? 0 : expiresMs + clock.wallMs() - clock.monotonicMs();
  let at = record.writeDoubleBE(entry.stamp, recordHead);
  at = record.writeDoubleBE(deadlineMs, at);
  at = record.writeUInt8(entry.qos | (content === null ? deletedBit : 0), at);
  at = record.writeUInt32BE(entry.propertiesBytes, at);
  for (const [i, text] of texts.entries()) {
    at = record.writeUInt16BE(textBytes[i] ?? 0, at);
    at += text === "" ? 0 : record.write(text, at, "utf8");
  }
  if (typeof content === "string") record.write(content, at, "latin1");
  else if (content !== null) content.copy(record, at);
  return sealRecord(recordVersion, record);
}

/** Null: it cannot be read (counted). `ttlMs`: `limits.retained_ttl`, which may have become shorter. */
export function decodeRetained(record: Buffer, clock: Clock, ttlMs: number): RetainedEntry | null {
  const body = openRecord(recordVersion, record);
  if (body === null || body.length < fixedBytes) return null;
  const flags = body.readUInt8(16);
  const texts: string[] = [];
  let at = fixedBytes;
  while (texts.length < 3) {
    if (at + lengthBytes > body.length) return null;
    const end = at + lengthBytes + body.readUInt16BE(at);
    if (end > body.length) return null;
    texts.push(body.toString("utf8", at + lengthBytes, end));
    at = end;
  }
  const [topic = "", publisher = "", user = ""] = texts;
  const entry = new RetainedEntry(topic, body.readDoubleBE(0), publisher);
  if ((flags & deletedBit) !== 0) return entry;
  entry.user = user;
  // Two bits that were a QoS.
  entry.qos = (flags & 3) as Qos;
  entry.restore(body, body.readUInt32BE(17), at);
  entry.expiresMs = expiryOf(body.readDoubleBE(8), entry, clock, ttlMs);
  return entry;
}

/** On the monotonic clock of this process; of what has expired a moment that is past. */
function expiryOf(storedMs: number, entry: RetainedEntry, clock: Clock, ttlMs: number): number {
  let deadlineMs = storedMs === 0 ? Number.POSITIVE_INFINITY : storedMs;
  if (ttlMs > 0) deadlineMs = Math.min(deadlineMs, entry.setMs + ttlMs);
  if (deadlineMs === Number.POSITIVE_INFINITY) return 0;
  return Math.max(1, Math.floor(deadlineMs - clock.wallMs() + clock.monotonicMs()));
}
