/**
 * Names of nodes: `name@host`, as operators write them and as nodes know each other by. One node has
 * one spelling: the host is in lower case, an IPv6 address in its shortest form and in brackets.
 */
import { isIP, isIPv4 } from "node:net";
import { Refusal } from "../lib/refusal.js";

/** A node's name, and where to ask for it. */
export interface NodeAddress {
  /** `name@host`, without a port. */
  readonly node: string;
  /** The part before the `@`. */
  readonly name: string;
  /** Hostname or address to dial; an IPv6 address is without its brackets. */
  readonly host: string;
  /** Link port; null: one of the port range of that host. */
  readonly port: number | null;
}

const namePattern = /^[A-Za-z0-9_.-]{1,64}$/;
// A label as DNS has it, plus the underscore that container names have.
const labelPattern = /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
const hostLengthMax = 253;

/**
 * Reads `name@host`.
 * @throws Refusal when it is no such name, or has a port
 */
export function parseNodeName(text: string): NodeAddress {
  const address = parseNodeAddress(text);
  if (address.port === null) return address;
  throw new Refusal(`"${text}" has a port: a node's name is name@host alone (${address.node})`);
}

/**
 * Reads `name@host` or `name@host:port`; an IPv6 host stands in brackets.
 * @throws Refusal with a sentence that says what is wrong
 */
export function parseNodeAddress(text: string): NodeAddress {
  const at = text.indexOf("@");
  if (at < 0) {
    throw new Refusal(
      `"${text}" is no node name: write name@host or name@host:port, such as node1@192.168.1.10`,
    );
  }
  const name = text.slice(0, at);
  if (!namePattern.test(name)) {
    throw new Refusal(
      `"${text}" is no node name: before the @ there must be 1 to 64 of the characters A-Z a-z 0-9 _ . -`,
    );
  }
  const { host, port } = parseHostPort(text.slice(at + 1), text);
  return { node: `${name}@${hostText(host)}`, name, host, port };
}

/**
 * Reads `host` or `host:port`, as `cluster.advertise` has it.
 * @throws Refusal with a sentence that names `whole`
 */
export function parseHostPort(
  text: string,
  whole: string = text,
): { readonly host: string; readonly port: number | null } {
  if (isIP(text) === 6) {
    throw new Refusal(
      `"${whole}" has no valid host: an IPv6 address stands in brackets, [${text}]`,
    );
  }
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (match === null) throw new Refusal(`"${whole}" has no valid host`);
  const [, bracketed, plain, portText] = match;
  const host =
    bracketed === undefined ? hostName(plain ?? "", whole) : hostOfIpv6(bracketed, whole);
  return { host, port: portText === undefined ? null : portNumber(portText, whole) };
}

/** A host as it stands in a name or before a port: an IPv6 address gets its brackets. */
export function hostText(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

function hostOfIpv6(text: string, whole: string): string {
  if (isIP(text) !== 6 || text.includes("%")) {
    throw new Refusal(`"${whole}" has no valid host: [${text}] is no IPv6 address`);
  }
  // The URL parser writes an address in its one shortest form.
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}

function hostName(text: string, whole: string): string {
  const host = text.toLowerCase();
  if (isIPv4(host)) return host;
  const labels = host.split(".");
  const valid =
    host.length <= hostLengthMax &&
    labels.every((label) => labelPattern.test(label)) &&
    // Digits alone at the end are meant to be an address (RFC 1123, 2.1), and it is not one.
    !/^[0-9]+$/.test(labels.at(-1) ?? "");
  if (valid) return host;
  throw new Refusal(
    `"${whole}" has no valid host: "${text}" is neither a host name nor an IPv4 address`,
  );
}

function portNumber(text: string, whole: string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new Refusal(`"${whole}" has no valid port: "${text}" is not a number from 1 to 65535`);
}
