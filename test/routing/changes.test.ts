/** Matching one filter with one topic, as it decides whether a topic's result is stale. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { filterMatches } from "../../src/routing/changes.js";
import { anyFilter, anyTopic, matches } from "./naive.js";

test("a filter matches a topic as the specification words it", () => {
  fc.assert(
    fc.property(anyFilter, anyTopic, (filter, topic) => {
      assert.equal(filterMatches(filter, topic), matches(filter, topic));
    }),
    { numRuns: 5000 },
  );
  const pairs = ["a/#|a", "a/#|a/", "a/#|ab", "a/+|a/", "a/+|a", "+|", "#|", "a/+/#|a/b", "a|a/"];
  for (const pair of pairs) {
    const [filter, topic] = pair.split("|") as [string, string]; // each has one bar
    assert.equal(filterMatches(filter, topic), matches(filter, topic), pair);
  }
});
