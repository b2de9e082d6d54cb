/** The comparison's table: medians, ratios, the worst loss. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { cases } from "../../bench/cases.js";
import type { LoadResult } from "../../src/cli/bench/run.js";
import { type Measured, notes, table } from "../../bench/table.js";

function result(msgsPerSecond: number, perCpuSecond: number | null, lost: number): LoadResult {
  return {
    mode: "throughput",
    qos: 0,
    sizeBytes: 100,
    seconds: 1,
    msgs: msgsPerSecond,
    msgsPerSecond,
    perCpuSecond,
    generatorCpuPercent: 50,
    othersCpuPercent: perCpuSecond === null ? null : 3,
    sent: msgsPerSecond,
    delivered: msgsPerSecond - lost,
    lost,
    duplicates: 0,
    outOfOrder: 0,
    refused: 0,
    unanswered: 0,
    foreign: 0,
    p50Ms: 1,
    maxMs: 9,
    p99Ms: 2.345,
    rssBytes: null,
  };
}

function measured(broker: string, results: LoadResult[], at = 0): Measured {
  const one = cases[at];
  assert.ok(one !== undefined);
  return { case: one, broker, results, errors: [] };
}

test("a line has the medians of a broker's runs, its worst loss, and the ratio to the first", () => {
  const text = table([
    measured("ours", [result(3000, 9000, 0), result(1000, 4000, 0), result(2000, 5000, 0)]),
    measured("peer", [result(900, 1000, 7), result(1000, 2000, 0), result(1100, 3000, 1)]),
  ]);
  assert.deepEqual(text.split("\n").slice(2), [
    "| 1 → 1, QoS 0 | ours | 2,000 |  | 5,000 |  | 2.3 | 0 | 0 | 50 % | 3 % |",
    "| 1 → 1, QoS 0 | peer | 1,000 | 2.0 | 2,000 | 2.5 | 2.3 | 7 | 0 | 50 % | 3 % |",
  ]);
});

test("a broker whose runs all failed has a line that says so, and no ratio to it is made up", () => {
  const text = table([
    measured("ours", []),
    measured("peer", [result(1000, null, 0)]),
    measured("ours", [result(500, null, 0)], 1),
  ]);
  assert.deepEqual(text.split("\n").slice(2), [
    "| 1 → 1, QoS 0 | ours | failed | | | | | | | | |",
    "| 1 → 1, QoS 0 | peer | 1,000 |  | – |  | 2.3 | 0 | 0 | 50 % | – |",
    "| 1 → 1, QoS 1 | ours | 500 |  | – |  | 2.3 | 0 | 0 | 50 % | – |",
  ]);
});

test("failures, and counts that ought to be 0, are noted", () => {
  const odd = { ...result(1000, null, 0), outOfOrder: 1234, unanswered: 1 };
  const failed = { ...measured("ours", [result(1000, null, 0)]), errors: ["it ended at start"] };
  assert.deepEqual(notes([failed, measured("peer", [odd])]), [
    "1 → 1, QoS 0, ours: it ended at start",
    "1 → 1, QoS 0, peer: 1,234 out of order, 1 unanswered",
  ]);
});
