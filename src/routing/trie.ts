/**
 * Filters with wildcards, one tree level per topic level. Walks are iterative: a filter may have as
 * many levels as a topic has bytes. A node's first child is held inline, since most have only one.
 */
import type { Entry } from "./leaf.js";

class TrieNode {
  /** Entry of the filter that ends here, and of the filter that goes on with `#`. */
  entry: Entry | undefined = undefined;
  hashEntry: Entry | undefined = undefined;
  plus: TrieNode | undefined = undefined;
  private firstKey: string | undefined = undefined;
  private firstChild: TrieNode | undefined = undefined;
  private others: Map<string, TrieNode> | undefined = undefined;

  child(level: string): TrieNode | undefined {
    return this.firstKey === level ? this.firstChild : this.others?.get(level);
  }

  /** The node for one level of a filter, made when it is missing. */
  descend(level: string): TrieNode {
    if (level === "+") {
      this.plus ??= new TrieNode();
      return this.plus;
    }
    const known = this.child(level);
    if (known !== undefined) return known;
    const made = new TrieNode();
    if (this.firstKey === undefined) {
      this.firstKey = level;
      this.firstChild = made;
    } else {
      this.others ??= new Map();
      this.others.set(level, made);
    }
    return made;
  }

  next(level: string): TrieNode | undefined {
    return level === "+" ? this.plus : this.child(level);
  }

  remove(level: string): void {
    if (level === "+") this.plus = undefined;
    else if (this.firstKey === level) {
      this.firstKey = undefined;
      this.firstChild = undefined;
    } else if (this.others?.delete(level) && this.others.size === 0) this.others = undefined;
  }

  isEmpty(): boolean {
    return (
      this.entry === undefined &&
      this.hashEntry === undefined &&
      this.plus === undefined &&
      this.firstKey === undefined &&
      this.others === undefined
    );
  }

  *named(): Iterable<[string, TrieNode]> {
    if (this.plus !== undefined) yield ["+", this.plus];
    if (this.firstKey !== undefined && this.firstChild !== undefined) {
      yield [this.firstKey, this.firstChild];
    }
    if (this.others !== undefined) yield* this.others;
  }
}

export class FilterTrie {
  private root = new TrieNode();

  get(filter: string): Entry | undefined {
    const { levels, hash } = split(filter);
    let node: TrieNode | undefined = this.root;
    for (const level of levels) {
      node = node.next(level);
      if (node === undefined) return undefined;
    }
    return hash ? node.hashEntry : node.entry;
  }

  /** Puts an entry in place of the one there was; `undefined` deletes and prunes the branch. */
  set(filter: string, entry: Entry | undefined): void {
    const { levels, hash } = split(filter);
    const path: TrieNode[] = [this.root];
    let node = this.root;
    for (const level of levels) {
      node = node.descend(level);
      path.push(node);
    }
    if (hash) node.hashEntry = entry;
    else node.entry = entry;
    if (entry === undefined) prune(path, levels);
  }

  /** Calls `visit` with the entry of every filter that matches the topic. */
  match(topic: string, visit: (entry: Entry) => void): void {
    this.walk(topic, null, visit);
  }

  /** The same, with the filters: for those who ask why. */
  matchNamed(topic: string, visit: (entry: Entry, filter: string) => void): void {
    this.walk(topic, [undefined], visit);
  }

  /** `paths`: a stack of the filters so far, kept only when they are wanted. */
  private walk(
    topic: string,
    paths: (string | undefined)[] | null,
    visit: (entry: Entry, filter: string) => void,
  ): void {
    const levels = topic.split("/");
    const nodes: TrieNode[] = [this.root];
    const depths: number[] = [0];
    // [MQTT-4.7.2-1]: a leading wildcard does not match topics that begin with $.
    const reserved = topic.charCodeAt(0) === 0x24;
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      const depth = depths.pop() ?? 0;
      const path = paths === null ? undefined : paths.pop();
      const wild = depth > 0 || !reserved;
      // "sport/#" also matches "sport" [MQTT-4.7.1-2].
      if (wild && node.hashEntry !== undefined) {
        visit(node.hashEntry, paths === null ? "" : join(path, "#"));
      }
      const level = levels[depth];
      if (level === undefined) {
        if (node.entry !== undefined) visit(node.entry, path ?? "");
        continue;
      }
      if (wild && node.plus !== undefined) {
        nodes.push(node.plus);
        depths.push(depth + 1);
        paths?.push(join(path, "+"));
      }
      const child = node.child(level);
      if (child !== undefined) {
        nodes.push(child);
        depths.push(depth + 1);
        paths?.push(join(path, level));
      }
    }
  }

  /** Every filter with its entry, in no order. */
  *entries(): Iterable<[string, Entry]> {
    const stack: [string | undefined, TrieNode][] = [[undefined, this.root]];
    for (let top = stack.pop(); top !== undefined; top = stack.pop()) {
      const [prefix, node] = top;
      if (node.entry !== undefined && prefix !== undefined) yield [prefix, node.entry];
      if (node.hashEntry !== undefined) yield [join(prefix, "#"), node.hashEntry];
      for (const [level, child] of node.named()) stack.push([join(prefix, level), child]);
    }
  }
}

const join = (prefix: string | undefined, level: string): string =>
  prefix === undefined ? level : `${prefix}/${level}`;

function split(filter: string): { levels: string[]; hash: boolean } {
  const levels = filter.split("/");
  const hash = levels[levels.length - 1] === "#";
  if (hash) levels.pop();
  return { levels, hash };
}

function prune(path: TrieNode[], levels: string[]): void {
  for (let i = levels.length - 1; i >= 0; i--) {
    const level = levels[i];
    if (level === undefined || !path[i + 1]?.isEmpty()) return;
    path[i]?.remove(level);
  }
}
