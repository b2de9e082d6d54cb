/** What the processes of a broker use, from /proc (Linux). Children are not followed. */
import { readFileSync } from "node:fs";

/** Linux counts process times in 1/100 s for programs, whatever the kernel's own tick is. */
const ticksPerSecond = 100;

/** User and system CPU seconds that all of `pids` have used; throws when one of them is gone. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) ticks += cpuTicks(readFileSync(`/proc/${pid}/stat`, "latin1"));
  return ticks / ticksPerSecond;
}

/** User and system time in a line of /proc/PID/stat. The name in it may hold spaces and brackets. */
export function cpuTicks(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[11]) + Number(fields[12]);
  if (!Number.isFinite(ticks)) throw new Error("/proc/PID/stat has an unknown form");
  return ticks;
}

/** Resident memory of all of `pids`, in bytes. */
export function residentBytes(pids: readonly number[]): number {
  let kibibytes = 0;
  for (const pid of pids) {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    kibibytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
  }
  return kibibytes * 1024;
}
