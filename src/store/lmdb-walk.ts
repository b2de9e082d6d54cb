/**
 * Walks through a database file page by page (lmdb-pages.ts): to check that lmdb can use it, and to get out of a damaged
 * one what can still be read. Nothing in the file can end the process or take it into a loop.
 */
import { Damage, type Meta, type Node, type PageFile, type Tree } from "./lmdb-pages.js";

export interface WalkUser {
  /** One row of what is stored, its key as lmdb has it. */
  row(key: Buffer, value: Buffer): void;
}

/** What is known of a page. */
const unknown = 0;
const used = 1;
const freed = 2;

export class Walk {
  /** The first things that were wrong. */
  readonly damages: string[] = [];
  damageCount = 0;
  rows = 0;
  private readonly pages: Uint8Array;
  private entries = 0;
  private pageCount = 0;

  constructor(
    private readonly file: PageFile,
    private readonly user: WalkUser,
  ) {
    this.pages = new Uint8Array(file.pageCount);
  }

  /** Walks through one state of the database; afterwards `damages` is empty when lmdb can go on from it. */
  walk(meta: Meta): void {
    this.attempt(() => {
      if (meta.lastPage >= this.file.pageCount)
        throw new Damage("the file is shorter than it says");
    });
    this.tree(meta.main, Buffer.compare, (key, value) => {
      this.rows++;
      this.user.row(key, value);
    });
    const lists: Buffer[] = [];
    this.tree(meta.free, compareNumbers, (_key, value) => void lists.push(value));
    for (const list of lists) this.attempt(() => this.freeList(list, meta.lastPage));
  }

  /**
   * After `walk` found damage: rows of whole leaves to which nothing leads any more, newest first. Among them may be
   * rows that were deleted or replaced shortly before.
   */
  orphans(): void {
    const leaves: { readonly page: number; readonly transaction: number }[] = [];
    for (let page = 2; page < this.file.pageCount; page++) {
      if (this.pages[page] !== unknown) continue;
      const leaf = this.quietly(() => this.file.page(page));
      if (leaf?.kind === "leaf") leaves.push({ page, transaction: leaf.transaction });
    }
    leaves.sort((a, b) => b.transaction - a.transaction);
    for (const { page } of leaves) {
      for (const node of this.quietly(() => this.file.page(page))?.nodes ?? []) {
        const found = this.quietly(() => this.file.value(node));
        // Lists of free pages have eight bytes as a key; no row's name is that short and has no NUL.
        if (found === null || !node.key.includes(0) || node.key.length === 8) continue;
        this.rows++;
        this.user.row(node.key, found.value);
      }
    }
  }

  private tree(tree: Tree, order: Order, row: WalkUser["row"]): void {
    this.entries = 0;
    this.pageCount = 0;
    const before = this.damageCount;
    if (tree.root !== null) {
      const { root } = tree;
      this.attempt(() => this.page(root, tree.depth, new Bounds(order, null, null), row));
    }
    if (this.damageCount > before) return;
    this.attempt(() => {
      if (this.entries !== tree.entries || this.pageCount !== tree.pages) {
        throw new Damage("a tree does not hold as much as it says");
      }
    });
  }

  private page(number: number, depth: number, bounds: Bounds, row: WalkUser["row"]): void {
    const page = this.file.page(number);
    this.mark(number, 1, used);
    if (depth < 1 || (depth === 1) !== (page.kind === "leaf")) {
      throw new Damage(`page ${number} is not at its place`);
    }
    if (page.kind === "leaf") {
      for (const node of page.nodes) this.attempt(() => this.leafNode(node, bounds, row));
      return;
    }
    if (page.nodes.length === 0) throw new Damage(`page ${number} is empty`);
    for (const [index, node] of page.nodes.entries()) {
      const from = index === 0 ? bounds.from : node.key;
      const to = page.nodes[index + 1]?.key ?? bounds.to;
      const inner = new Bounds(bounds.order, from, to);
      this.attempt(() => this.page(node.child, depth - 1, inner, row));
    }
  }

  private leafNode(node: Node, bounds: Bounds, row: WalkUser["row"]): void {
    bounds.take(node.key);
    this.entries++;
    const { value, page, pages } = this.file.value(node);
    if (pages > 0) this.mark(page, pages, used);
    row(node.key, value);
  }

  /** A count, then numbers of free pages; a negative one is a length, and the number after it begins the run. */
  private freeList(list: Buffer, lastPage: number): void {
    const count = list.length >= 8 ? list.readBigInt64LE(0) : -1n;
    if (count < 0n || (Number(count) + 1) * 8 > list.length) {
      throw new Damage("a list of free pages is longer than its place");
    }
    for (let at = 1; at <= Number(count); at++) {
      const entry = Number(list.readBigInt64LE(at * 8));
      if (entry === 0) continue;
      if (entry < 0) at++;
      if (at > Number(count)) throw new Damage("a list of free pages ends within a run");
      const first = entry > 0 ? entry : Number(list.readBigInt64LE(at * 8));
      const length = entry > 0 ? 1 : -entry;
      if (first + length - 1 > lastPage) throw new Damage(`there is no page ${first} to be free`);
      this.mark(first, length, freed);
    }
  }

  /** Each page has one use; the file may end before the last free ones. */
  private mark(first: number, count: number, as: number): void {
    if (first < 2) throw new Damage(`page ${first} is in use`);
    for (let page = first; page < first + count && page < this.pages.length; page++) {
      if (this.pages[page] !== unknown) throw new Damage(`page ${page} has two uses`);
      this.pages[page] = as;
    }
    this.pageCount += count;
  }

  private attempt(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof Damage)) throw error;
      this.damageCount++;
      if (this.damages.length < 10) this.damages.push(error.message);
    }
  }

  private quietly<T>(step: () => T): T | null {
    try {
      return step();
    } catch (error) {
      if (error instanceof Damage) return null;
      throw error;
    }
  }
}

/** Keys below a page come in order, between what the page above says. */
class Bounds {
  private last: Buffer | null = null;

  constructor(
    readonly order: Order,
    readonly from: Buffer | null,
    readonly to: Buffer | null,
  ) {}

  take(key: Buffer): void {
    const { order, from, to, last } = this;
    const inOrder =
      (last === null || order(last, key) < 0) &&
      (from === null || order(from, key) <= 0) &&
      (to === null || order(key, to) < 0);
    this.last = key;
    if (!inOrder) throw new Damage("a key is not at its place");
  }
}

type Order = (a: Buffer, b: Buffer) => number;

/** Keys of the free tree are numbers in the machine's order of bytes. */
function compareNumbers(a: Buffer, b: Buffer): number {
  if (a.length !== 8 || b.length !== 8) throw new Damage("a key of the free tree is no number");
  const difference = a.readBigUInt64LE() - b.readBigUInt64LE();
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}
