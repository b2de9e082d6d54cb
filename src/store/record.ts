/**
 * Records: what is stored under a key, encoded once for all stores. A record says its version and carries a
 * checksum of all the rest of itself, so that damage is never taken for a value:
 *
 *   version (1 byte) | CRC-32C of the version and the body (4 bytes, big endian) | body
 */
import { Packr } from "msgpackr";
import { crc32c } from "../lib/crc32c.js";

/** Bytes before the body; `sealRecord` wants that much room at the start of its buffer. */
export const recordHead = 5;

/** What decoding has met, for metrics. */
export const recordCounters = {
  /** Records with a wrong checksum, too short to have one, or whose body is no value. */
  damaged: 0,
  /** Records of a version that this program does not know. */
  unknownVersion: 0,
};

// Maps stay plain objects, and no record depends on another one.
const packr = new Packr({ useRecords: false, mapsAsObjects: true });

/** Encodes a plain value (what msgpack can hold). `version` (0-255) is the caller's, of this kind of record. */
export function encodeRecord(version: number, value: unknown): Buffer {
  const body = packr.pack(value);
  const record = Buffer.allocUnsafe(recordHead + body.length);
  body.copy(record, recordHead);
  return sealRecord(version, record);
}

/**
 * The value of a record of `version`; null, counted, when its checksum is wrong or it is of another version. The
 * caller leaves such a record out, and checks the form of a value before it relies on it.
 */
export function decodeRecord(version: number, record: Buffer): { readonly value: unknown } | null {
  const body = openRecord(version, record);
  if (body === null) return null;
  try {
    return { value: packr.unpack(body) };
  } catch {
    recordCounters.damaged++;
    return null;
  }
}

/**
 * Fills in the first `recordHead` bytes of `record`, whose body is behind them. Returns the same buffer, which is not to
 * be changed afterwards.
 */
export function sealRecord(version: number, record: Buffer): Buffer {
  record[0] = version;
  record.writeUInt32BE(checksum(record), 1);
  return record;
}

/** The body of a sealed record of `version`, a view of the same bytes; null, counted, as for `decodeRecord`. */
export function openRecord(version: number, record: Buffer): Buffer | null {
  if (!recordIsWhole(record)) {
    recordCounters.damaged++;
    return null;
  }
  if (record[0] !== version) {
    recordCounters.unknownVersion++;
    return null;
  }
  return record.subarray(recordHead);
}

/** Whether a record's checksum is right, whatever its version. Counts nothing. */
export function recordIsWhole(record: Buffer): boolean {
  return record.length >= recordHead && record.readUInt32BE(1) === checksum(record);
}

/** Of the body, with the version mixed in: a version byte that changed is damage too. */
function checksum(record: Buffer): number {
  return (crc32c(record, recordHead, record.length) ^ ((record[0] ?? 0) * 0x01010101)) >>> 0;
}
