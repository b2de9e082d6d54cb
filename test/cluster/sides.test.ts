/** Which side of a cluster that is cut in two may act for the other: never both. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { PeerState } from "../../src/cluster/failure-detector.js";
import { Sides } from "../../src/cluster/sides.js";

/** What one node sees of the others. */
class View {
  readonly states = new Map<string, PeerState>();
  readonly sides: Sides;

  constructor(name: string, others: readonly string[]) {
    for (const other of others) this.states.set(other, "up");
    const members = { others: () => others.map((other) => ({ name: other })) };
    this.sides = new Sides({ name, members, state: (other) => this.states.get(other) ?? "down" });
  }

  /** Nobody listens where it was. */
  refused(name: string): this {
    this.sides.note({ kind: "gone", peer: name });
    return this.down(name);
  }

  /** It is not heard any more. */
  down(name: string): this {
    if (this.states.get(name) === "down") return this;
    this.states.set(name, "down");
    this.sides.onDown(name);
    return this;
  }

  unreachable(name: string): this {
    this.sides.onUnreachable(name);
    return this;
  }

  /** A new process of it is there. */
  reborn(name: string): this {
    this.sides.note({ kind: "gone", peer: name, isBack: true });
    return this.down(name);
  }

  linked(name: string): this {
    this.sides.note({ kind: "linked", peer: name });
    this.states.set(name, "up");
    return this;
  }

  get isLarger(): boolean {
    return this.sides.isLarger();
  }
}

test("more members, or as many with the lowest name, are the larger side", () => {
  assert.equal(new View("a", []).isLarger, true);
  assert.equal(new View("a", ["b"]).down("b").isLarger, true);
  assert.equal(new View("b", ["a"]).down("a").isLarger, false);
  assert.equal(new View("a", ["b", "c"]).down("b").down("c").isLarger, false);
  assert.equal(new View("c", ["a", "b"]).down("a").isLarger, true);
});

test("whoever is certainly dead is on no side, also when its place is switched off later", () => {
  assert.equal(new View("b", ["a"]).refused("a").isLarger, true);
  assert.equal(new View("b", ["a"]).refused("a").unreachable("a").isLarger, true);
  assert.equal(new View("c", ["a", "b"]).refused("a").refused("b").unreachable("a").isLarger, true);
});

test("a process that is back is asked before anybody acts for it", () => {
  const a = new View("a", ["b", "c"]).refused("b").reborn("c");
  assert.equal(a.isLarger, false);
  assert.equal(a.linked("c").isLarger, true);
});

test("what a silent node did before it died, another silent one may know", () => {
  const a = new View("a", ["b", "c"]).down("b").down("c").refused("b");
  assert.equal(a.isLarger, false);
  assert.equal(a.linked("c").isLarger, true);
  // Nobody is left who could know.
  assert.equal(new View("b", ["a"]).down("a").refused("a").isLarger, true);
});

test("a node that was dead may have begun again on the other side of a cut", () => {
  const a = new View("a", ["b", "c"]).refused("c").down("b");
  assert.equal(a.isLarger, false);
  const b = new View("b", ["a", "c"]).refused("c").linked("c").down("a");
  assert.equal(b.isLarger, true);
});

test("it has not, when nobody listens where it was since the cut was noticed", () => {
  const a = new View("a", ["b", "c"]).refused("c").down("b").refused("c");
  assert.equal(a.isLarger, true);
  assert.equal(a.unreachable("c").isLarger, false);
  // On the other side nobody can tell where it is.
  assert.equal(new View("b", ["a", "c"]).refused("c").down("a").unreachable("c").isLarger, false);
  // The silent one turns out to be dead: but the other one may have met it in between.
  assert.equal(a.refused("b").isLarger, true);
  assert.equal(new View("b", ["a", "c"]).refused("a").down("c").refused("c").isLarger, false);
});
