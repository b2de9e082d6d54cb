/**
 * Loaded into a node that is fuzzed: how long at most its event loop did not turn, by the clock and by the processor time
 * that the process took meanwhile, all its threads together. Where the machine is busy with others the first grows and the
 * second does not. The first minute, in which code is compiled, does not count.
 */
import { writeFileSync } from "node:fs";

const everyMs = 5;
const warmUpMs = 60_000;
const place = process.env.FUZZ_PROBE ?? "";
const longest = { wallMs: 0, cpuMs: 0 };

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

let wallBefore = performance.now();
let cpuBefore = cpuMs();
writeFileSync(place, JSON.stringify(longest));
setInterval(() => {
  const wallNow = performance.now();
  const cpuNow = cpuMs();
  const wall = wallNow - wallBefore - everyMs;
  const cpu = Math.min(cpuNow - cpuBefore, wall);
  wallBefore = wallNow;
  cpuBefore = cpuNow;
  if (wallNow < warmUpMs || (wall <= longest.wallMs && cpu <= longest.cpuMs)) return;
  longest.wallMs = Math.max(longest.wallMs, wall);
  longest.cpuMs = Math.max(longest.cpuMs, cpu);
  writeFileSync(place, JSON.stringify(longest));
}, everyMs).unref();
