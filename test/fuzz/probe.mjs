/**
 * Loaded into a node that is fuzzed: how long at most its event loop did not turn, by the clock; by the processor time that
 * the process took meanwhile, all its threads together; and by that time without what the collection of garbage held it up.
 * Where the machine is busy with others only the first grows. The first minute, in which code is compiled, does not count.
 */
import { writeFileSync } from "node:fs";
import { PerformanceObserver } from "node:perf_hooks";

const everyMs = 5;
const warmUpMs = 60_000;
/** Collections are told of some turns later. */
const toldAfterMs = 100;
const place = process.env.FUZZ_PROBE ?? "";
const longest = { wallMs: 0, cpuMs: 0, ownMs: 0 };
let collections = [];

new PerformanceObserver((list) => {
  collections.push(...list.getEntries());
}).observe({ entryTypes: ["gc"] });

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** A turn from one moment to another, both in milliseconds since the start. */
function judge(from, to, cpu) {
  let collected = 0;
  for (const { startTime, duration } of collections) {
    collected += Math.max(0, Math.min(to, startTime + duration) - Math.max(from, startTime));
  }
  collections = collections.filter(({ startTime }) => startTime > to - 1000);
  longest.wallMs = Math.max(longest.wallMs, to - from);
  longest.cpuMs = Math.max(longest.cpuMs, cpu);
  longest.ownMs = Math.max(longest.ownMs, cpu - collected);
  writeFileSync(place, JSON.stringify(longest));
}

let wallBefore = performance.now();
let cpuBefore = cpuMs();
writeFileSync(place, JSON.stringify(longest));
setInterval(() => {
  const from = wallBefore + everyMs;
  const to = performance.now();
  const cpuNow = cpuMs();
  const cpu = Math.min(cpuNow - cpuBefore, to - from);
  wallBefore = to;
  cpuBefore = cpuNow;
  if (to < warmUpMs) collections.length = 0;
  else if (to - from > longest.wallMs || cpu > longest.ownMs) {
    setTimeout(judge, toldAfterMs, from, to, cpu).unref();
  }
}, everyMs).unref();
