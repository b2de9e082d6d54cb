/**
 * The index of retained messages: a tree of topic levels in which messages and branches are kept apart, and
 * for every name of a level the nodes under which it occurs. So a filter with wildcards costs about
 * what it matches: "+" at the end looks at messages only, and "a/+/b" looks up who has a "b" when far
 * fewer have one than "a" has branches.
 */
import type { RetainedEntry } from "./retained-entry.js";
import { type Sibling, Siblings } from "./retained-siblings.js";

export class RetainedNode implements Sibling {
  sequence = 0;
  gone = false;
  values: Siblings<RetainedEntry> | null = null;
  branches: Siblings<RetainedNode> | null = null;

  constructor(
    readonly parent: RetainedNode | null,
    readonly name: string,
    /** Levels above its values: 0 in the root. */
    readonly depth: number,
  ) {}
}

/** Stands for any name; no level is called so. */
const anyName = "/";
/** Going by names instead of by branches must be worth its list. */
const shortcutFactor = 8;

/** Names of levels, and the nodes that have them. */
class Occurrences {
  private readonly levels: Map<string, RetainedNode | Set<RetainedNode>>[] = [];

  add(depth: number, name: string, node: RetainedNode): void {
    while (this.levels.length <= depth) this.levels.push(new Map());
    const names = this.levels[depth];
    const before = names?.get(name);
    if (before instanceof Set) before.add(node);
    else names?.set(name, before === undefined ? node : new Set([before, node]));
  }

  delete(depth: number, name: string, node: RetainedNode): void {
    const names = this.levels[depth];
    const before = names?.get(name);
    if (before instanceof Set) {
      before.delete(node);
      if (before.size === 0) names?.delete(name);
    } else if (before === node) names?.delete(name);
  }

  count(depth: number, name: string): number {
    const nodes = this.levels[depth]?.get(name);
    return nodes instanceof Set ? nodes.size : nodes === undefined ? 0 : 1;
  }

  nodes(depth: number, name: string): Iterable<RetainedNode> {
    const nodes = this.levels[depth]?.get(name);
    return nodes instanceof Set ? nodes : nodes === undefined ? [] : [nodes];
  }
}

export class RetainedTree {
  readonly values = new Occurrences();
  readonly branches = new Occurrences();
  readonly root = new RetainedNode(null, "", 0);

  get(topic: string): RetainedEntry | undefined {
    const last = topic.lastIndexOf("/") + 1;
    const parent = this.parentOf(topic, last, false);
    return parent?.values?.get(topic.slice(last));
  }

  /** `entry`: of a topic that has none here. */
  add(entry: RetainedEntry): void {
    const node = this.parentOf(entry.topic, entry.topic.length - entry.name.length, true);
    if (node === null) return;
    if (node.values === null) {
      node.values = new Siblings(entry);
      this.values.add(node.depth, anyName, node);
    } else node.values.add(entry);
    this.values.add(node.depth, entry.name, node);
  }

  /** `entry`: one that was added. Branches that lead to nothing go with it. */
  delete(entry: RetainedEntry): void {
    const node = this.parentOf(entry.topic, entry.topic.length - entry.name.length, false);
    if (node === null || node.values === null) return;
    node.values.delete(entry);
    this.values.delete(node.depth, entry.name, node);
    if (node.values.size > 0) return;
    node.values = null;
    this.values.delete(node.depth, anyName, node);
    this.prune(node);
  }

  /** Walks what the filter matches. */
  match(filter: string): RetainedWalk {
    return new RetainedWalk(this, filter.split("/"), false);
  }

  /** Walks everything. */
  all(): RetainedWalk {
    return new RetainedWalk(this, ["#"], true);
  }

  /** The node whose values have the topic's first levels, up to the one that begins at `last`. */
  private parentOf(topic: string, last: number, make: boolean): RetainedNode | null {
    let node = this.root;
    for (let start = 0; start < last; ) {
      const end = topic.indexOf("/", start);
      const name = topic.slice(start, end);
      let child = node.branches?.get(name);
      if (child === undefined) {
        if (!make) return null;
        child = new RetainedNode(node, name, node.depth + 1);
        if (node.branches === null) node.branches = new Siblings(child);
        else node.branches.add(child);
        this.branches.add(node.depth, name, node);
      }
      node = child;
      start = end + 1;
    }
    return node;
  }

  private prune(from: RetainedNode): void {
    let node = from;
    while (node.values === null && node.branches === null) {
      const { parent } = node;
      if (parent === null || parent.branches === null) return;
      parent.branches.delete(node);
      this.branches.delete(parent.depth, node.name, parent);
      if (parent.branches.size > 0) return;
      parent.branches = null;
      node = parent;
    }
  }
}

/** A node on the way of a walk, and how far the walk has come in it. */
interface Place {
  readonly node: RetainedNode;
  readonly level: number;
  part: "values" | "branches" | "shortcut";
  sequence: number;
  near: number;
  /** Nodes further down that have a name which the filter wants there. */
  readonly shortcut: readonly RetainedNode[] | null;
}

/**
 * One walk through the tree, as slow as whoever walks it likes: what is changed meanwhile is seen as it is
 * when the walk comes to it.
 */
export class RetainedWalk {
  /** Nothing is left. */
  done = false;
  /** Messages and branches looked at. */
  visited = 0;
  private readonly places: Place[] = [];
  private found: RetainedEntry | null = null;

  constructor(
    private readonly tree: RetainedTree,
    private readonly levels: readonly string[],
    /** Wildcards at the first level match also what begins with "$". */
    private readonly systemToo: boolean,
  ) {
    this.enter(tree.root, 0);
  }

  /** Goes one step further: an entry that matches, or null when this step found none. */
  step(): RetainedEntry | null {
    if (this.found === null) this.advance();
    const { found } = this;
    this.found = null;
    if (this.places.length === 0) this.done = true;
    return found;
  }

  private advance(): void {
    const place = this.places[this.places.length - 1];
    if (place === undefined) return;
    this.visited++;
    switch (place.part) {
      case "values":
        this.nextValue(place);
        break;
      case "branches":
        this.nextBranch(place);
        break;
      case "shortcut":
        this.nextShortcut(place);
        break;
    }
  }

  private nextValue(place: Place): void {
    const value = place.node.values?.after(place.sequence, place.near);
    if (value !== undefined) {
      place.sequence = value.sequence;
      place.near = Siblings.found + 1;
      if (!this.hides(place.node, value.name)) this.found = value;
      return;
    }
    if (this.isLast(place.level) && this.levels[place.level] === "+") this.places.pop();
    else {
      place.part = "branches";
      place.sequence = place.near = 0;
    }
  }

  private nextBranch(place: Place): void {
    const { node, level } = place;
    const branch = node.branches?.after(place.sequence, place.near);
    if (branch === undefined) {
      this.places.pop();
      return;
    }
    place.sequence = branch.sequence;
    place.near = Siblings.found + 1;
    if (this.hides(node, branch.name)) return;
    this.enter(branch, this.levels[level] === "#" ? level : level + 1);
  }

  private nextShortcut(place: Place): void {
    const node = place.shortcut?.[place.near++];
    if (node === undefined) {
      this.places.pop();
      return;
    }
    let above: RetainedNode | null = node;
    while (above !== null && above.depth > place.node.depth) {
      const wanted = this.levels[above.depth - 1];
      if (wanted !== "+" && wanted !== above.name) return;
      if (above.parent !== null && this.hides(above.parent, above.name)) return;
      above = above.parent;
    }
    if (above === place.node) this.enter(node, node.depth);
  }

  /** The walk comes to a node; the filter's levels before `level` are matched. */
  private enter(from: RetainedNode, from_: number): void {
    let node = from;
    let level = from_;
    for (;;) {
      const name = this.levels[level];
      if (name === undefined) return;
      if (name === "+" || name === "#") {
        this.enterWildcard(node, level);
        return;
      }
      const below = this.levels[level + 1];
      // "a/#" matches "a" too [MQTT-4.7.1-2].
      if (below === undefined || below === "#") this.found = node.values?.get(name) ?? null;
      const branch = node.branches?.get(name);
      if (below === undefined || branch === undefined) return;
      node = branch;
      level++;
    }
  }

  private enterWildcard(node: RetainedNode, level: number): void {
    const shortcut = this.levels[level] === "+" ? this.shortcutFrom(node, level) : null;
    const below = this.levels[level + 1];
    const valuesMatch = this.levels[level] === "#" || below === undefined || below === "#";
    const part = shortcut !== null ? "shortcut" : valuesMatch ? "values" : "branches";
    this.places.push({ node, level, part, sequence: 0, near: 0, shortcut });
  }

  /** From a "+": the nodes that have the rarest name further on, if they are far fewer than the branches. */
  private shortcutFrom(node: RetainedNode, level: number): RetainedNode[] | null {
    if (node.branches === null) return null;
    let least = node.branches.size / shortcutFactor;
    let rarest = -1;
    for (let at = level + 1; at <= this.levels.length; at++) {
      const name = this.levels[at];
      if (name === "#") break;
      if (name === "+" || (name === undefined && at === level + 1)) continue;
      const count = this.countAt(at);
      if (count >= least) continue;
      least = count;
      rarest = at;
    }
    return rarest === -1 ? null : this.nodesAt(rarest);
  }

  /** How many nodes have the name at this place of the filter, or if it ends there, any value. */
  private countAt(at: number): number {
    const { values, branches } = this.tree;
    const name = this.levels[at];
    if (name === undefined) return values.count(at - 1, anyName);
    const below = this.levels[at + 1];
    if (below === undefined) return values.count(at, name);
    return branches.count(at, name) + (below === "#" ? values.count(at, name) : 0);
  }

  private nodesAt(at: number): RetainedNode[] {
    const { values, branches } = this.tree;
    const name = this.levels[at];
    if (name === undefined) return [...values.nodes(at - 1, anyName)];
    const below = this.levels[at + 1];
    if (below === undefined) return [...values.nodes(at, name)];
    const nodes = branches.nodes(at, name);
    return below === "#" ? [...new Set([...nodes, ...values.nodes(at, name)])] : [...nodes];
  }

  private isLast(level: number): boolean {
    return level === this.levels.length - 1;
  }

  /** [MQTT-4.7.2-1] */
  private hides(node: RetainedNode, name: string): boolean {
    return node.depth === 0 && !this.systemToo && name.startsWith("$");
  }
}
