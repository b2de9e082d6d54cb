/**
 * Reads the pages of a database file as lmdb lays them out, by plain reads and believing nothing: lmdb itself maps the
 * file into memory and follows what it finds there, so that a damaged file ends the process. Every page number, offset
 * and length is checked here before it is used; what is wrong throws `Damage`.
 */
import { fstatSync, readSync } from "node:fs";

/** Something in the file is not as lmdb would have written it. */
export class Damage extends Error {
  override name = "Damage";
}

/** The head of a tree, as a meta page has it. */
export interface Tree {
  readonly depth: number;
  readonly pages: number;
  readonly entries: number;
  /** Null: the tree is empty. */
  readonly root: number | null;
}

/** One state of the database. */
export interface Meta {
  readonly transaction: number;
  /** The flushes of the commit it belongs to were not over when it was written. */
  readonly unflushed: boolean;
  readonly bootId: bigint;
  readonly lastPage: number;
  readonly free: Tree;
  readonly main: Tree;
}

export interface Node {
  readonly key: Buffer;
  /** In leaves: the value, or the head of one that is on pages of its own. */
  readonly data: Buffer;
  readonly valueBytes: number;
  readonly isBig: boolean;
  /** In branches: the page below. */
  readonly child: number;
}

export interface Page {
  readonly kind: "branch" | "leaf";
  readonly transaction: number;
  readonly nodes: readonly Node[];
}

/** lmdb is told to use pages of this size. */
export const pageBytes = 4096;
const headBytes = 24;
const branchFlag = 0x01;
const leafFlag = 0x02;
const overflowFlag = 0x04;
const metaFlag = 0x08;
const bigDataFlag = 0x01;
const magic = 0xbeefc0de;
const formatVersion = 2;
const overlappingSyncFlag = 0x1000;
const metaOffsets = [0, pageBytes, pageBytes / 2] as const;
const nothing = 0xffff_ffff_ffff_ffffn;

/** The three states that a file names, null where it has none that makes sense: even, odd, flushed. */
export type Metas = readonly [Meta | null, Meta | null, Meta | null];

/** The pages of an open file. */
export class PageFile {
  readonly pageCount: number;

  constructor(private readonly fd: number) {
    this.pageCount = Math.floor(fstatSync(fd).size / pageBytes);
  }

  metas(): Metas {
    const [even, odd, flushed] = metaOffsets.map((offset) => this.meta(offset));
    return [even ?? null, odd ?? null, flushed ?? null];
  }

  /** @throws Damage when the page is no whole page of a tree */
  page(number: number): Page {
    const bytes = this.bytes(number, 1);
    const flags = bytes.readUInt16LE(18);
    if (flags !== branchFlag && flags !== leafFlag)
      throw new Damage(`page ${number} is of no kind`);
    const lower = bytes.readUInt16LE(20);
    const upper = bytes.readUInt16LE(22);
    if (lower % 2 !== 0 || lower > upper || upper + headBytes > pageBytes) {
      throw new Damage(`page ${number} has impossible bounds`);
    }
    const kind = flags === leafFlag ? "leaf" : "branch";
    const nodes: Node[] = [];
    for (let at = 0; at < lower; at += 2) {
      const offset = bytes.readUInt16LE(headBytes + at) + headBytes;
      if (offset < headBytes + upper) throw new Damage(`page ${number} has an impossible offset`);
      nodes.push(readNode(bytes, offset, kind, number));
    }
    return { kind, transaction: number64(bytes, 8), nodes };
  }

  /** The value of a leaf's node, and how many pages of its own it has from `page` on. */
  value(node: Node): { readonly value: Buffer; readonly page: number; readonly pages: number } {
    if (!node.isBig) return { value: node.data, page: 0, pages: 0 };
    const page = number64(node.data, 0);
    const pages = Math.floor((headBytes - 1 + node.valueBytes) / pageBytes) + 1;
    const bytes = this.bytes(page, pages);
    if (bytes.readUInt16LE(18) !== overflowFlag || bytes.readUInt32LE(20) < pages) {
      throw new Damage(`page ${page} does not hold a big value`);
    }
    return { value: bytes.subarray(headBytes, headBytes + node.valueBytes), page, pages };
  }

  /** Pages as they are, whose first one says which it is. */
  private bytes(number: number, count: number): Buffer {
    if (!(number >= 2 && number + count <= this.pageCount)) {
      throw new Damage(`there is no page ${number}`);
    }
    const bytes = this.read(number * pageBytes, count * pageBytes);
    if (number64(bytes, 0) !== number) throw new Damage(`page ${number} is not that page`);
    return bytes;
  }

  private read(position: number, length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    let got = 0;
    try {
      got = readSync(this.fd, bytes, 0, length, position);
    } catch (error) {
      throw new Damage(`byte ${position}: ${error instanceof Error ? error.message : error}`);
    }
    if (got !== length) throw new Damage(`the file ends before byte ${position + length}`);
    return bytes;
  }

  private meta(offset: number): Meta | null {
    if (this.pageCount < 2) return null;
    const bytes = this.read(offset, 168);
    // The flushed state has no page of its own, and no head before the first flush.
    const hasHead = bytes.readUInt16LE(18) === metaFlag && bytes.readUInt32LE(24) === magic;
    if (offset !== pageBytes / 2 && !hasHead) return null;
    if (hasHead && (bytes.readUInt32LE(28) & 0xffff) !== formatVersion) return null;
    const meta: Meta = {
      transaction: number64(bytes, 152),
      unflushed: (bytes.readUInt16LE(52) & overlappingSyncFlag) !== 0,
      bootId: bytes.readBigInt64LE(160),
      lastPage: number64(bytes, 144),
      free: readTree(bytes, 48),
      main: readTree(bytes, 96),
    };
    // The free tree's head holds the size of a page.
    const pageSize = bytes.readUInt32LE(48);
    if (offset !== pageBytes / 2 && pageSize !== pageBytes) return null;
    return meta.lastPage >= 1 && meta.lastPage < maxPages ? meta : null;
  }
}

const maxPages = 2 ** 40;

/**
 * The state that lmdb goes on from when it opens the file: the latest, if the machine has not been started anew since or
 * it had been flushed, else the one before. Null: lmdb would refuse the file.
 */
export function currentMeta(metas: Metas, boot: bigint): Meta | null {
  const [even, odd, flushed] = metas;
  if (even === null || odd === null) return null;
  const first = pick(even, odd, boot);
  return flushed === null || flushed.transaction === 0 ? first : pick(first, flushed, boot);
}

function pick(a: Meta, b: Meta, boot: bigint): Meta {
  if (b.transaction === 0) return a;
  const [latest, other] = a.transaction >= b.transaction ? [a, b] : [b, a];
  const sameBoot = latest.bootId !== 0n && latest.bootId === boot;
  return sameBoot || !latest.unflushed ? latest : other;
}

function readTree(bytes: Buffer, at: number): Tree {
  const root = bytes.readBigUInt64LE(at + 40) === nothing ? null : number64(bytes, at + 40);
  return {
    depth: bytes.readUInt16LE(at + 6),
    pages: number64(bytes, at + 8) + number64(bytes, at + 16) + number64(bytes, at + 24),
    entries: number64(bytes, at + 32),
    root,
  };
}

function readNode(bytes: Buffer, offset: number, kind: Page["kind"], number: number): Node {
  const keyAt = offset + 8;
  if (keyAt > pageBytes) throw new Damage(`page ${number} has an impossible offset`);
  const low = bytes.readUInt32LE(offset);
  const flags = bytes.readUInt16LE(offset + 4);
  const dataAt = keyAt + bytes.readUInt16LE(offset + 6);
  const isBig = kind === "leaf" && (flags & bigDataFlag) !== 0;
  if (kind === "leaf" && (flags & ~bigDataFlag) !== 0) {
    throw new Damage(`page ${number} has an entry of no kind`);
  }
  const dataBytes = kind === "branch" ? 0 : isBig ? 24 : low;
  if (dataAt + dataBytes > pageBytes) throw new Damage(`page ${number} has an impossible length`);
  return {
    key: bytes.subarray(keyAt, dataAt),
    data: bytes.subarray(dataAt, dataAt + dataBytes),
    valueBytes: low,
    isBig,
    child: kind === "branch" ? low + flags * 0x1_0000_0000 : 0,
  };
}

/** Eight bytes as a number; past 2^53 it is none that can be meant, and infinite. */
function number64(bytes: Buffer, at: number): number {
  const high = bytes.readUInt32LE(at + 4);
  return high > 0x1f_ffff
    ? Number.POSITIVE_INFINITY
    : high * 0x1_0000_0000 + bytes.readUInt32LE(at);
}
