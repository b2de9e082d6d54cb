/**
 * Filters with wildcards, one node per level. Walks are iterative: a filter may have as many levels as a
 * topic has bytes. A match visits each node at most once, and only those whose filters begin like the topic:
 * of n levels at most 2^n, and never more than there are nodes.
 */
import { EntryTable } from "./entry-table.js";
import type { Entry } from "./leaf.js";
import { LevelNames } from "./level-names.js";
import type { LevelScan } from "./level-scan.js";
import { Field, TrieNodes } from "./trie-nodes.js";

const dollar = 0x24;
const root = 0;
/** Where there is no filter. */
const nowhere = -1;
/** A level of the topic whose name was not looked up yet. */
const unread = -1;

/** Takes what a match finds. `place`: of the filter, see `filterAt`. */
export interface MatchSink {
  add(entry: Entry, place: number): void;
}

export class FilterTrie {
  private readonly nodes = new TrieNodes();
  private readonly names = new LevelNames();
  private readonly entries = new EntryTable();
  /** Used by one walk after the other: nodes to visit and their depths, and the topic's level names. */
  private stack = new Int32Array(32);
  private depths = new Int32Array(32);
  private levels = new Int32Array(32);

  /** The place of a filter that was scanned; -1: it is not here. */
  find(scan: LevelScan): number {
    const many = scan.endsMany;
    const depth = many ? scan.count - 1 : scan.count;
    let node = root;
    for (let level = 0; level < depth; level++) {
      const wild = scan.isPlus(level);
      node = wild
        ? this.nodes.get(node, Field.plus)
        : this.nodes.child(node, this.names.find(scan, level));
      if (node === 0) return nowhere;
    }
    return placeOf(node, many);
  }

  /** The place of a filter that was scanned, made when it is missing: it must get an entry. */
  make(scan: LevelScan): number {
    const { nodes } = this;
    const many = scan.endsMany;
    const depth = many ? scan.count - 1 : scan.count;
    let node = root;
    for (let level = 0; level < depth; level++) {
      const wild = scan.isPlus(level);
      const known = wild
        ? nodes.get(node, Field.plus)
        : nodes.child(node, this.names.find(scan, level));
      node = known !== 0 ? known : nodes.add(node, wild ? 0 : this.names.take(scan, level));
    }
    return placeOf(node, many);
  }

  get(place: number): Entry | undefined {
    if (place === nowhere) return undefined;
    return this.entries.get(this.nodes.get(place >>> 1, fieldOf(place)));
  }

  /** Sets the entry of a place; `undefined` deletes the filter and prunes the branch. */
  set(place: number, entry: Entry | undefined): void {
    const { nodes } = this;
    let node = place >>> 1;
    const field = fieldOf(place);
    nodes.set(node, field, this.entries.replace(nodes.get(node, field), entry));
    while (node !== root && nodes.isEmpty(node)) {
      const level = nodes.get(node, Field.level);
      const parent = nodes.get(node, Field.parent);
      nodes.remove(node);
      if (level !== 0) this.names.release(level);
      node = parent;
    }
  }

  /** Gives `sink` the entry of every filter that matches the topic. */
  match(topic: LevelScan, sink: MatchSink): void {
    const { nodes } = this;
    this.prepare(topic.count);
    const { stack, depths } = this;
    // [MQTT-4.7.2-1]: a leading wildcard does not match topics that begin with $.
    const reserved = topic.text.charCodeAt(0) === dollar;
    let top = 0;
    stack[0] = root;
    depths[0] = 0;
    while (top >= 0) {
      const node = stack[top] as number; // what was pushed
      const depth = depths[top--] as number;
      const wild = depth > 0 || !reserved;
      // "sport/#" also matches "sport" [MQTT-4.7.1-2].
      if (wild) this.offer(node, Field.hashEntry, sink);
      if (depth === topic.count) {
        this.offer(node, Field.entry, sink);
        continue;
      }
      const next = wild ? nodes.get(node, Field.plus) : 0;
      if (next !== 0) {
        stack[++top] = next;
        depths[top] = depth + 1;
      }
      if (nodes.get(node, Field.named) === 0) continue;
      const child = nodes.child(node, this.levelOf(topic, depth));
      if (child !== 0) {
        stack[++top] = child;
        depths[top] = depth + 1;
      }
    }
  }

  /** The filter of a place. */
  filterAt(place: number): string {
    const levels: string[] = (place & 1) === 1 ? ["#"] : [];
    for (let node = place >>> 1; node !== root; node = this.nodes.get(node, Field.parent)) {
      const level = this.nodes.get(node, Field.level);
      levels.push(level === 0 ? "+" : this.names.name(level));
    }
    return levels.reverse().join("/");
  }

  /** One more than the highest place ever in use: whoever walks all of them starts at 0. */
  get end(): number {
    return this.nodes.end * 2;
  }

  private offer(node: number, field: typeof Field.entry | typeof Field.hashEntry, to: MatchSink) {
    const entry = this.entries.get(this.nodes.get(node, field));
    if (entry !== undefined) to.add(entry, placeOf(node, field === Field.hashEntry));
  }

  /** The name of a level of the topic; 0: no filter has it there or anywhere. */
  private levelOf(topic: LevelScan, depth: number): number {
    const known = this.levels[depth] as number; // `prepare` made room
    if (known !== unread) return known;
    const found = this.names.find(topic, depth);
    this.levels[depth] = found;
    return found;
  }

  /** Room for a topic of so many levels: a walk has at most one more node waiting. */
  private prepare(levels: number): void {
    if (this.stack.length < levels + 2) {
      const length = 2 * (levels + 2);
      this.stack = new Int32Array(length);
      this.depths = new Int32Array(length);
      this.levels = new Int32Array(length);
    }
    this.levels.fill(unread, 0, levels);
  }
}

const placeOf = (node: number, many: boolean): number => node * 2 + (many ? 1 : 0);

const fieldOf = (place: number): typeof Field.entry | typeof Field.hashEntry =>
  (place & 1) === 1 ? Field.hashEntry : Field.entry;
