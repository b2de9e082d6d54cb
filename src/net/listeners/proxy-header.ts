/**
 * The PROXY protocol header, versions 1 and 2, as its specification (2020/03/05) has it: the first bytes of a
 * connection, by which a proxy tells whose connection it carries. Pure and strict: what is not exactly
 * right is malformed.
 */
import { isIPv4, isIPv6 } from "node:net";

/** `more`: a beginning. `host` null: the connection is the proxy's own (a health check), or untold. */
export type ProxyHeader =
  | { readonly state: "more" }
  | { readonly state: "malformed" }
  | {
      readonly state: "whole";
      readonly length: number;
      readonly host: string | null;
      readonly port: number;
    };

const more = { state: "more" } as const;
const malformed = { state: "malformed" } as const;

const textStart = Buffer.from("PROXY ");
/** The longest line: `PROXY UNKNOWN`, two IPv6 addresses, two ports, CR LF. */
const textBytesMax = 107;
const binaryStart = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const binaryHeadBytes = 16;
/** A proxy sends the header in one segment, and no segment is promised to hold more. */
const binaryBytesMax = 536;

/** Reads the header at the beginning of `bytes`. */
export function parseProxyHeader(bytes: Buffer): ProxyHeader {
  if (begins(bytes, binaryStart)) {
    return bytes.length < binaryHeadBytes ? more : parseBinary(bytes);
  }
  if (begins(bytes, textStart)) return parseText(bytes);
  return malformed;
}

/** Do `bytes` begin with `start`, as far as they go? */
function begins(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.compare(start, 0, length, 0, length) === 0;
}

function parseText(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, textBytesMax).indexOf("\r\n");
  if (end === -1) return bytes.length < textBytesMax ? more : malformed;
  const length = end + 2;
  const words = bytes.toString("latin1", textStart.length, end).split(" ");
  const [family, source = "", destination = "", ...ports] = words;
  if (family === "UNKNOWN") return { state: "whole", length, host: null, port: 0 };
  const isAddress = family === "TCP4" ? isIPv4 : family === "TCP6" ? isIPv6 : undefined;
  if (isAddress === undefined || !isAddress(source) || !isAddress(destination)) return malformed;
  if (ports.length !== 2 || !ports.every(isPort)) return malformed;
  return { state: "whole", length, host: source, port: Number(ports[0]) };
}

const isPort = (text: string): boolean => /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) < 65536;

/** Bytes of both addresses and ports, by the byte of family and transport; only streams carry MQTT. */
const addressBytes: ReadonlyMap<number, number> = new Map([
  [0x00, 0],
  [0x11, 12],
  [0x21, 36],
  [0x31, 216],
]);

function parseBinary(bytes: Buffer): ProxyHeader {
  const command = bytes.readUInt8(12);
  const family = bytes.readUInt8(13);
  const length = binaryHeadBytes + bytes.readUInt16BE(14);
  if (command !== 0x20 && command !== 0x21) return malformed;
  if (length > binaryBytesMax) return malformed;
  if (bytes.length < length) return more;
  // LOCAL: the proxy's own connection, and what follows is to be skipped.
  if (command === 0x20) return { state: "whole", length, host: null, port: 0 };
  const extensionsAt = binaryHeadBytes + (addressBytes.get(family) ?? Number.POSITIVE_INFINITY);
  if (!extensionsFill(bytes, extensionsAt, length)) return malformed;
  if (family === 0x11) {
    const host = bytes.subarray(16, 20).join(".");
    return { state: "whole", length, host, port: bytes.readUInt16BE(24) };
  }
  if (family !== 0x21) return { state: "whole", length, host: null, port: 0 };
  return { state: "whole", length, host: ipv6Text(bytes, 16), port: bytes.readUInt16BE(48) };
}

/** Type, length and value after each other must end exactly where the header does. */
function extensionsFill(bytes: Buffer, start: number, end: number): boolean {
  let at = start;
  while (at + 3 <= end) at += 3 + bytes.readUInt16BE(at + 1);
  return at === end;
}

/** The usual short form: the longest run of zeros is left out. */
function ipv6Text(bytes: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(at + 2 * index));
  const full = groups.map((group) => group.toString(16)).join(":");
  return new URL(`http://[${full}]`).hostname.slice(1, -1);
}
