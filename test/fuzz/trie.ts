/** The trie of filters against the plain rules of matching, through random changes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Entry } from "../../src/routing/leaf.js";
import { LevelScan } from "../../src/routing/level-scan.js";
import { FilterTrie } from "../../src/routing/trie.js";

const level = fc.constantFrom("", "a", "b", "é", "$x", "a b", "constructor", "__proto__");
const topics = fc.array(level, { minLength: 1, maxLength: 5 });
const filters = fc
  .tuple(
    fc.array(
      fc.oneof({ arbitrary: level, weight: 2 }, { arbitrary: fc.constant("+"), weight: 1 }),
      {
        minLength: 1,
        maxLength: 4,
      },
    ),
    fc.boolean(),
  )
  .map(([levels, hash]) => [...levels, ...(hash ? ["#"] : [])]);

/** @throws Error with the counterexample and its seed */
export function fuzzTrie(cases: number, seed: number): void {
  const steps = fc.array(fc.tuple(fc.boolean(), filters), { maxLength: 12 });
  const property = fc.property(steps, topics, (changes, topic) => {
    const trie = new FilterTrie();
    const scan = new LevelScan();
    const model = new Map<string, readonly string[]>();
    for (const [adds, filter] of changes) {
      const name = filter.join("/");
      scan.read(name);
      const place = adds ? trie.make(scan) : trie.find(scan);
      // An entry is what it is; the trie does not look into it.
      if (place !== -1) trie.set(place, adds ? (name as unknown as Entry) : undefined);
      if (adds) model.set(name, filter);
      else model.delete(name);
      assert.equal(trie.get(trie.find(scan)), adds ? name : undefined);
      if (adds) assert.equal(trie.filterAt(place), name);
    }
    const found: unknown[] = [];
    scan.read(topic.join("/"));
    trie.match(scan, { add: (entry) => found.push(entry) });
    const expected = [...model].filter(([, filter]) => matches(filter, topic));
    assert.deepEqual(found.sort(), expected.map(([name]) => name).sort());
    const all = Array.from({ length: trie.end }, (_, place) => place);
    const held = all.filter((place) => trie.get(place) !== undefined);
    const names = held.map((place) => trie.filterAt(place));
    assert.deepEqual(names.sort(), [...model.keys()].sort());
  });
  fc.assert(property, { numRuns: cases, seed });
}

/** [MQTT-4.7.1-1, 4.7.1-2, 4.7.2-1], level by level. */
function matches(filter: readonly string[], topic: readonly string[]): boolean {
  if (topic[0]?.startsWith("$") && (filter[0] === "+" || filter[0] === "#")) return false;
  for (const [i, part] of filter.entries()) {
    if (part === "#") return true;
    if (i >= topic.length || (part !== "+" && part !== topic[i])) return false;
  }
  return filter.length === topic.length;
}
