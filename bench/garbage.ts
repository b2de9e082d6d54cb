/**
 * What garbage costs: the share of the broker's CPU time in which it stood still for the collector, and how many bytes
 * of heap a message takes, from what V8 itself writes (`--trace-gc`, `--trace-gc-nvp`).
 * `npm run bench:garbage`, or after a build `npx tsx bench/garbage.ts [--seconds N] [--runs N] [--only CASE,...]`
 */
import { parseArgs } from "node:util";
import { cpuSeconds } from "../src/cli/bench/processes.js";
import type { LoadResult } from "../src/cli/bench/run.js";
import { realClock, sleep } from "../src/lib/clock.js";
import { startTrellis } from "./brokers.js";
import { type Case, cases } from "./cases.js";
import { stopAll } from "./children.js";
import { collectionsIn, undisturbedMs } from "./gc-trace.js";
import { generate } from "./measure.js";
import { whole } from "./options.js";
import { runTable } from "./routes-table.js";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    runs: { type: "string", default: "3" },
    only: {
      type: "string",
      default:
        "1to1-qos0,1to1-qos1-w1000,1to1-qos2,mixed-qos1,fanin-qos1,nodes-qos0,nodes-qos1-w1000",
    },
  },
});
const durationMs = 1000 * whole("seconds", options.seconds, 1, 60);
const runs = whole("runs", options.runs, 1, 20);
/** V8's lines are written a moment after what they tell of. */
const settleMs = 200;

interface Shares {
  readonly msgsPerCpuSecond: number;
  readonly youngPercent: number;
  readonly oldPercent: number;
  readonly bytesPerMessage: number;
  /** Of one collection. */
  readonly youngMs: number;
  readonly bytesPerYoung: number;
}

/** All nodes of the case together, from the first client to the last message. */
async function measureOnce(one: Case): Promise<Shares> {
  const flags = ["--trace-gc", "--trace-gc-nvp"];
  const running = await startTrellis(realClock, one.nodes, [], undefined, flags);
  try {
    const before = running.outputs().map((output) => output.length);
    const cpuBefore = cpuSeconds(running.pids);
    // One generator's line, in its own form.
    const line = await generate(one.args, running, { durationMs, warmUpMs: 1000 });
    const load = JSON.parse(line) as LoadResult;
    await sleep(realClock, settleMs);
    const cpuMs = 1000 * (cpuSeconds(running.pids) - cpuBefore);
    const all = running.outputs().flatMap((output, i) => collectionsIn(output.slice(before[i])));
    const young = all.filter(({ isYoung }) => isYoung);
    const allocated = all.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
    return {
      msgsPerCpuSecond: (1000 * load.delivered) / cpuMs,
      youngPercent: (100 * undisturbedMs(young)) / cpuMs,
      oldPercent: (100 * undisturbedMs(all.filter(({ isYoung }) => !isYoung))) / cpuMs,
      // Without collections nothing is known of it.
      bytesPerMessage: young.length === 0 ? Number.NaN : allocated / load.delivered,
      youngMs: undisturbedMs(young) / young.length,
      bytesPerYoung: allocated / young.length,
    };
  } finally {
    await running.stop();
  }
}

function shown(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? "–" : value.toFixed(digits);
}

try {
  console.log(
    "| case | msg per CPU s | young generation, % of CPU | old generation | bytes of heap a message | ms, MiB for each young collection |",
  );
  console.log("| --- | ---: | ---: | ---: | ---: | ---: |");
  for (const id of options.only.split(",")) {
    const one = cases.find((known) => known.id === id);
    if (one === undefined) throw new Error(`there is no case ${id}`);
    const { note, medians } = runTable();
    for (let run = 0; run < runs; run++) {
      const shares = await measureOnce(one);
      for (const [name, value] of Object.entries(shares)) note(name, value);
    }
    const { msgsPerCpuSecond, youngPercent, oldPercent, bytesPerMessage, youngMs, bytesPerYoung } =
      medians();
    const cells = [
      Math.round(msgsPerCpuSecond ?? 0).toLocaleString("en-US"),
      (youngPercent ?? 0).toFixed(1),
      (oldPercent ?? 0).toFixed(1),
      shown(bytesPerMessage, 0),
      `${shown(youngMs, 2)}, ${shown(bytesPerYoung && bytesPerYoung / 2 ** 20, 1)}`,
    ];
    console.log(`| ${one.title} | ${cells.join(" | ")} |`);
  }
} finally {
  await stopAll();
}
