/**
 * The nodes of the trie: records of eight 32-bit numbers in pages, so that a million of them are no
 * objects to the garbage collector and none is moved when there are more. Node 0 is the root.
 */
import { IdTable } from "./id-table.js";

/** Fields of a node. */
export const Field = {
  parent: 0,
  /** The name of the level that leads here; 0: it is `+`, or the root. */
  level: 1,
  /** The child for `+`; 0: none. */
  plus: 2,
  /** References of the entries of the filter that ends here, and of the one that goes on with `#`. */
  entry: 3,
  hashEntry: 4,
  /** How many children have names. */
  named: 5,
} as const;
type Field = (typeof Field)[keyof typeof Field];

const fieldBits = 3;
const pageBits = 12;
const pageNodes = 1 << pageBits;

export class TrieNodes {
  private readonly pages: Int32Array[] = [new Int32Array(pageNodes << fieldBits)];
  private readonly children = new IdTable();
  private readonly free: number[] = [];
  /** One more than the highest node ever in use. */
  end = 1;

  get(node: number, field: Field): number {
    const page = this.pages[node >>> pageBits] as Int32Array; // nodes come from here
    return page[((node & (pageNodes - 1)) << fieldBits) + field] as number; // within the page
  }

  set(node: number, field: Field, value: number): void {
    const page = this.pages[node >>> pageBits] as Int32Array; // as above
    page[((node & (pageNodes - 1)) << fieldBits) + field] = value;
  }

  /** The child of that name; 0: none. */
  child(node: number, level: number): number {
    if (level === 0 || this.get(node, Field.named) === 0) return 0;
    const hash = edgeHash(node, level);
    let id = this.children.first(hash);
    while (
      id !== 0 &&
      (this.get(id, Field.level) !== level || this.get(id, Field.parent) !== node)
    ) {
      id = this.children.next(hash);
    }
    return id;
  }

  /** A new child; level 0 is `+`. */
  add(parent: number, level: number): number {
    const node = this.free.pop() ?? this.end++;
    if (node >>> pageBits === this.pages.length) {
      this.pages.push(new Int32Array(pageNodes << fieldBits));
    }
    this.set(node, Field.parent, parent);
    this.set(node, Field.level, level);
    if (level === 0) this.set(parent, Field.plus, node);
    else {
      this.children.add(edgeHash(parent, level), node);
      this.set(parent, Field.named, this.get(parent, Field.named) + 1);
    }
    return node;
  }

  /** Has it neither entries nor children? */
  isEmpty(node: number): boolean {
    return (
      this.get(node, Field.entry) === 0 &&
      this.get(node, Field.hashEntry) === 0 &&
      this.get(node, Field.plus) === 0 &&
      this.get(node, Field.named) === 0
    );
  }

  /** Removes an empty node. */
  remove(node: number): void {
    const parent = this.get(node, Field.parent);
    const level = this.get(node, Field.level);
    if (level === 0) this.set(parent, Field.plus, 0);
    else {
      this.children.remove(edgeHash(parent, level), node);
      this.set(parent, Field.named, this.get(parent, Field.named) - 1);
    }
    this.free.push(node);
  }
}

/** Both numbers are given out one after the other, not chosen by clients. */
function edgeHash(node: number, level: number): number {
  let h = Math.imul(node, 0x9e3779b1) ^ Math.imul(level, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) | 0;
}
