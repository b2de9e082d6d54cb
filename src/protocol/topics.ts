/** Topic names and filters: what is well formed [MQTT-4.7]. Limits of size are the configuration's. */
import { isUtf8 } from "node:buffer";
import { ProtocolError } from "./protocol-error.js";
import { ReasonCode } from "./reason-codes.js";

const slash = 0x2f;
const plus = 0x2b;
const hash = 0x23;
const sharePrefixLength = "$share/".length;

/**
 * The topic name in `bytes` from `start` to `end`.
 * @throws ProtocolError malformed packet: no text (see `isText`), empty [MQTT-4.7.3-1]; protocol error: a wildcard
 *   in it [MQTT-3.3.2-2], which can be read but is not allowed; topic name invalid: over 65,535 bytes [MQTT-4.7.3-3]
 */
export function topicName(bytes: Buffer, start: number, end: number): string {
  if (end <= start) throw new ProtocolError(ReasonCode.MalformedPacket);
  if (end - start > 65_535) throw new ProtocolError(ReasonCode.TopicNameInvalid);
  let plain = true;
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number; // below end
    if (byte === plus || byte === hash)
      throw new ProtocolError(ReasonCode.ProtocolError, "wildcard");
    if (byte < 0x20 || byte >= 0x7f) plain = false;
  }
  // ASCII without control characters is text, and the same in both encodings.
  return plain ? bytes.toString("latin1", start, end) : text(bytes, start, end);
}

/**
 * The string in `bytes` from `start` to `end`.
 * @throws ProtocolError malformed packet: see `isText`
 */
export function text(bytes: Buffer, start: number, end: number): string {
  if (!isText(bytes, start, end)) throw new ProtocolError(ReasonCode.MalformedPacket);
  return bytes.toString("utf8", start, end);
}

/**
 * Is it UTF-8 [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2]? Control characters and non-characters, which
 * [MQTT5 1.5.4] lets a server refuse, are refused too.
 */
export function isText(bytes: Buffer, start: number, end: number): boolean {
  let ascii = start;
  while (ascii < end && isPrintable(bytes[ascii] as number)) ascii++; // below end
  if (ascii === end) return true;
  if (!isUtf8(bytes.subarray(ascii, end))) return false;
  for (let i = ascii; i < end; i++) {
    const byte = bytes[i] as number; // below end
    if (isPrintable(byte)) continue;
    if (byte < 0x80) return false;
    // What follows a lead byte is there: it is UTF-8.
    if (byte === 0xc2 && (bytes[i + 1] as number) < 0xa0) return false;
    if (byte >= 0xef && isNonCharacter(bytes, i)) return false;
  }
  return true;
}

function isPrintable(byte: number): boolean {
  return byte >= 0x20 && byte < 0x7f;
}

/** U+FDD0 to U+FDEF, and the last two of each plane; the lead byte at `at` is 0xef or more. */
function isNonCharacter(bytes: Buffer, at: number): boolean {
  const lead = bytes[at] as number;
  const next = bytes[at + 1] as number;
  const third = bytes[at + 2] as number;
  if (lead === 0xef) {
    return (next === 0xb7 && third >= 0x90 && third <= 0xaf) || (next === 0xbf && third >= 0xbe);
  }
  return (next & 0x0f) === 0x0f && third === 0xbf && (bytes[at + 3] as number) >= 0xbe;
}

/** Is a topic of these bytes longer or deeper than allowed (`limits.topic_bytes`, `_levels`)? */
export function beyondTopicLimits(
  bytes: Buffer,
  start: number,
  end: number,
  bytesMax: number,
  levelsMax: number,
): boolean {
  if (end - start > bytesMax) return true;
  // Fewer bytes than levels allowed: no need to count.
  if (end - start < levelsMax) return false;
  let levels = 1;
  for (let i = start; i < end; i++) if (bytes[i] === slash) levels++;
  return levels > levelsMax;
}

/** The same for a filter or topic given as text. */
export function textBeyondTopicLimits(name: string, bytesMax: number, levelsMax: number): boolean {
  const bytes = Buffer.from(name, "utf8");
  return beyondTopicLimits(bytes, 0, bytes.length, bytesMax, levelsMax);
}

/** What is wrong with a filter, in a few words; undefined: nothing. */
export function filterFault(filter: string): string | undefined {
  return wildcardFault(filter) ?? sharedFault(filter);
}

/** What is wrong with a filter's text and wildcards [MQTT-4.7.1, MQTT-4.7.3]. */
export function wildcardFault(filter: string): string | undefined {
  if (filter.length === 0) return "a filter is never empty";
  if (filter.includes("\0")) return "a filter has no U+0000";
  if (/\p{Surrogate}/u.test(filter)) return "a filter is valid Unicode";
  const manyAt = filter.indexOf("#");
  if (manyAt !== -1) {
    if (manyAt !== filter.length - 1) return "# stands only at the end";
    if (manyAt > 0 && filter.charCodeAt(manyAt - 1) !== slash) return "# fills a whole level";
  }
  for (let at = filter.indexOf("+"); at !== -1; at = filter.indexOf("+", at + 1)) {
    const alone =
      (at === 0 || filter.charCodeAt(at - 1) === slash) &&
      (at === filter.length - 1 || filter.charCodeAt(at + 1) === slash);
    if (!alone) return "+ fills a whole level";
  }
  return undefined;
}

/** Is it a shared subscription's filter, `$share/name/filter` [MQTT-4.8.2]? */
export function isShared(filter: string): boolean {
  return filter === "$share" || filter.startsWith("$share/");
}

/** What topics are matched with: a shared subscription's filter without `$share/name/`. */
export function plainFilter(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf("/", sharePrefixLength) + 1) : filter;
}

/** What is wrong with `$share/name/filter` [MQTT-4.8.2-1, MQTT-4.8.2-2]; undefined for other filters. */
export function sharedFault(filter: string): string | undefined {
  if (!isShared(filter)) return undefined;
  const nameEnd = filter.indexOf("/", sharePrefixLength);
  if (nameEnd === -1) return "$share/name is followed by a filter";
  if (nameEnd === sharePrefixLength) return "the name in $share/name/filter is not empty";
  if (/[+#]/.test(filter.slice(sharePrefixLength, nameEnd))) {
    return "the name in $share/name/filter has no wildcard";
  }
  return nameEnd === filter.length - 1
    ? "the filter in $share/name/filter is not empty"
    : undefined;
}
