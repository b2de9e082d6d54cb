/**
 * What a commit of the lmdb store costs, by the number and size of its rows: `npx tsx bench/store.ts`. Each commit waits
 * for the one before, as the group commit does; "main" is the part of the processor time that the event loop spends.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { numberKey } from "../src/store/keys.js";
import { LmdbStore } from "../src/store/lmdb.js";
import { recordHead, sealRecord } from "../src/store/record.js";
import type { PartitionWrite } from "../src/store/store.js";

const shapes = [
  { partitions: 1, bytes: 200 },
  { partitions: 1, bytes: 30_000 },
  { partitions: 10, bytes: 3000 },
  { partitions: 100, bytes: 300 },
  { partitions: 1000, bytes: 130 },
];
const measureMs = 3000;

for (const durability of ["process", "power"] as const) {
  const directory = mkdtempSync(join(tmpdir(), "trellis-bench-"));
  const store = new LmdbStore({ directory, maxBytes: 2 ** 36, durability });
  for (const { partitions, bytes } of shapes) {
    let commits = 0;
    const waits: number[] = [];
    const beganMs = performance.now();
    const cpu = process.cpuUsage();
    const loop = performance.eventLoopUtilization();
    while (performance.now() - beganMs < measureMs) {
      const startMs = performance.now();
      await store.write(writes(partitions, bytes, commits++));
      waits.push(performance.now() - startMs);
    }
    const tookMs = performance.now() - beganMs;
    const { user, system } = process.cpuUsage(cpu);
    const { active } = performance.eventLoopUtilization(loop);
    waits.sort((a, b) => a - b);
    const at = (share: number): string => (waits[Math.floor(waits.length * share)] ?? 0).toFixed(2);
    process.stdout.write(
      `${durability.padEnd(8)} ${partitions} x ${bytes} bytes: ${Math.round((commits / tookMs) * 1000)} commits/s, ` +
        `${Math.round((user + system) / commits)} us CPU each (main ${Math.round((active / commits) * 1000)}), ` +
        `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms\n`,
    );
  }
  await store.close();
  rmSync(directory, { recursive: true });
}

function writes(partitions: number, bytes: number, round: number): PartitionWrite[] {
  return Array.from({ length: partitions }, (_, index) => {
    const value = sealRecord(1, Buffer.alloc(recordHead + bytes, round));
    const operations = [{ kind: "put", key: numberKey(round), value } as const];
    return { partition: `session/client-${index}`, operations };
  });
}
