/** What /proc says about a process. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  busyTicks,
  cpuSeconds,
  cpuTicks,
  machineCpuSeconds,
  residentBytes,
} from "../../../src/cli/bench/processes.js";

test("user and system time are found behind any name", () => {
  const rest = "S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 100";
  assert.equal(cpuTicks(`12 (node) ${rest}`), 300);
  assert.equal(cpuTicks(`12 (a (b) c) d) ${rest}`), 300);
  assert.throws(() => cpuTicks("12 (node) S 1"), /unknown form/);
});

test("idle time and waiting for disks is not time used", () => {
  assert.equal(busyTicks("cpu  1 2 4 1000 2000 8 16 32 5 5\ncpu0 9 9"), 63);
  assert.throws(() => busyTicks("cpu  1 2\n"), /unknown form/);
  assert.ok(machineCpuSeconds() > 0);
});

test("our own process has used some time and memory", () => {
  assert.ok(cpuSeconds([process.pid]) > 0);
  assert.ok(residentBytes([process.pid]) > 1_000_000);
  assert.equal(cpuSeconds([]), 0);
});

test("a process that is gone is an error, not a zero", () => {
  assert.throws(() => cpuSeconds([2 ** 30]), /ENOENT/);
});
