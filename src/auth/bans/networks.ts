/**
 * Networks of addresses, and whether an address is in one of them: one look-up for each length of prefix in use, however
 * many networks there are. IPv4 in the form of IPv6 (::ffff:10.0.0.1) is IPv4.
 */
import { isIPv4, isIPv6, SocketAddress } from "node:net";

export interface Network {
  /** As it is shown and known by: `10.0.0.0/8`; a single address without its length. */
  readonly text: string;
  /** By which its addresses find it. */
  readonly key: string;
  readonly family: 4 | 6;
  readonly prefix: number;
}

interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

const bitsOf = { 4: 32, 6: 128 } as const;
/** Of IPv4 in the form of IPv6: the first 96 bits. */
const mappedPrefix = 0xffffn;

/** `address` or `address/prefix`, its other bits cleared; null: neither. */
export function networkOf(text: string): Network | null {
  const [, host = "", length] = /^([^/]*)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const address = addressOf(host);
  if (address === null) return null;
  const { family, value } = address;
  const bits = bitsOf[family];
  // The length counts the bits of the form in which it was written.
  const written = isIPv6(host) && family === 4 ? 128 - bits : 0;
  const prefix = length === undefined ? bits : Number(length) - written;
  if (prefix < 0 || prefix > bits) return null;
  const free = BigInt(bits - prefix);
  const shown = textOf({ family, value: (value >> free) << free });
  const suffix = prefix === bits ? "" : `/${prefix}`;
  return { text: `${shown}${suffix}`, key: keyOf(family, prefix, value), family, prefix };
}

export class Networks<T> {
  private readonly items = new Map<string, T>();
  /** How many networks there are of each family and length. */
  private readonly lengths = { 4: new Map<number, number>(), 6: new Map<number, number>() };

  get size(): number {
    return this.items.size;
  }

  set({ key, family, prefix }: Network, item: T): void {
    const lengths = this.lengths[family];
    if (!this.items.has(key)) lengths.set(prefix, (lengths.get(prefix) ?? 0) + 1);
    this.items.set(key, item);
  }

  delete({ key, family, prefix }: Network): void {
    if (!this.items.delete(key)) return;
    const lengths = this.lengths[family];
    const left = (lengths.get(prefix) ?? 0) - 1;
    if (left > 0) lengths.set(prefix, left);
    else lengths.delete(prefix);
  }

  /** The items of all networks that the address is in; none for what is no address. */
  *find(host: string): Iterable<T> {
    if (this.items.size === 0) return;
    const address = addressOf(host);
    if (address === null) return;
    const { family, value } = address;
    for (const prefix of this.lengths[family].keys()) {
      const item = this.items.get(keyOf(family, prefix, value));
      if (item !== undefined) yield item;
    }
  }
}

function keyOf(family: 4 | 6, prefix: number, value: bigint): string {
  return `${family}/${prefix}/${(value >> BigInt(bitsOf[family] - prefix)).toString(16)}`;
}

function addressOf(host: string): Address | null {
  if (isIPv4(host)) return { family: 4, value: numberOfV4(host) };
  const plain = host.split("%")[0] ?? "";
  if (!isIPv6(plain)) return null;
  const value = numberOfV6(plain);
  if (value >> 32n === mappedPrefix) return { family: 4, value: value & 0xffff_ffffn };
  return { family: 6, value };
}

function numberOfV4(host: string): bigint {
  return host.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

/** `host` is known to be IPv6. */
function numberOfV6(host: string): bigint {
  const [head = "", tail] = host.split("::");
  const first = groupsOf(head);
  const last = groupsOf(tail ?? "");
  const zeros = new Array<bigint>(8 - first.length - last.length).fill(0n);
  return [...first, ...zeros, ...last].reduce((sum, group) => (sum << 16n) | group, 0n);
}

function groupsOf(text: string): bigint[] {
  if (text === "") return [];
  return text.split(":").flatMap((group) => {
    if (!group.includes(".")) return [BigInt(`0x${group}`)];
    const value = numberOfV4(group);
    return [value >> 16n, value & 0xffffn];
  });
}

function textOf({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((by) => (value >> by) & 0xffn).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => (value >> BigInt(112 - 16 * i)) & 0xffffn);
  const address = groups.map((group) => group.toString(16)).join(":");
  return new SocketAddress({ address, family: "ipv6" }).address;
}
