/** What V8 writes of its collections is read, and one that was interrupted does not count for more. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { collectionsIn, undisturbedMs } from "../../bench/gc-trace.js";

const line = (pause: string, kind: string, allocated: number): string =>
  `[77:0x7baace0]      162 ms: pause=${pause} mutator=144.3 gc=${kind} reduce_memory=0 scavenge=5.35 ` +
  `total_size_after=3657584 allocated=${allocated} promoted=0`;

test("young and old collections are told apart, other lines passed over", () => {
  const output = ["Trellis 0.1.0: running", line("0.4", "s", 1000), line("15.4", "mc", 20)].join(
    "\n",
  );
  assert.deepEqual(collectionsIn(output), [
    { isYoung: true, pauseMs: 0.4, allocatedBytes: 1000 },
    { isYoung: false, pauseMs: 15.4, allocatedBytes: 20 },
  ]);
  assert.deepEqual(collectionsIn("pause=1"), []);
});

test("each counts as long as the one that nine in ten exceed", () => {
  const pauses = [0.5, 90, 0.4, 0.5, 80, 0.6, 70, 0.5, 0.5, 0.5, 0.5];
  const output = pauses.map((pause) => line(String(pause), "s", 1)).join("\n");
  assert.equal(undisturbedMs(collectionsIn(output)), 11 * 0.5);
  assert.equal(undisturbedMs([]), 0);
});
