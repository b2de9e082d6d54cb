/** What the processes of a broker and the whole machine use, from /proc (Linux). */
import { readFileSync } from "node:fs";

/** Linux counts process times in 1/100 s for programs, whatever the kernel's own tick is. */
const ticksPerSecond = 100;

/** User and system CPU seconds that all of `pids` used, without children; throws when one is gone. */
export function cpuSeconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) ticks += cpuTicks(readFileSync(`/proc/${pid}/stat`, "latin1"));
  return ticks / ticksPerSecond;
}

/** CPU seconds that everything on this machine has used, what other guests took from it included. */
export function machineCpuSeconds(): number {
  return busyTicks(readFileSync("/proc/stat", "latin1")) / ticksPerSecond;
}

/** All but idle time and waiting for disks, in the first line of /proc/stat. */
export function busyTicks(stat: string): number {
  // user, nice, system, idle, iowait, irq, softirq, steal; what follows is in user and nice already.
  const fields = stat.slice(0, stat.indexOf("\n")).split(/\s+/).slice(1, 9).map(Number);
  const busy = fields.filter((_, i) => i !== 3 && i !== 4);
  if (fields.length !== 8 || !fields.every(Number.isFinite)) {
    throw new Error("/proc/stat has an unknown form");
  }
  return busy.reduce((sum, ticks) => sum + ticks, 0);
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
