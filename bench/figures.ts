/** What one run of a case gave, whichever generator made the load. */
import type { ConnectResult } from "../src/cli/bench/connects.js";
import type { LoadResult } from "../src/cli/bench/run.js";
import { type Case, isCost } from "./cases.js";

export interface Figures {
  /** In the unit of the case. */
  readonly value: number;
  /** Messages or connects per CPU second of the broker; null where there are none or its CPU is not known. */
  readonly perCpuSecond: number | null;
  readonly p99Ms: number | null;
  /** Null: nothing was published. */
  readonly lost: number | null;
  readonly duplicates: number | null;
  /** Null: there was no load. */
  readonly loadCpuPercent: number | null;
  /** What programs outside the measurement took, in percent of one core; null: not known. */
  readonly othersCpuPercent: number | null;
  /** What ought to be 0 and has no column; empty: all of it was. */
  readonly odd: string;
}

/** From one line of our own generator. */
export function figuresOf(one: Case, result: LoadResult | ConnectResult): Figures {
  if (!("connectsPerSecond" in result)) return loadFigures(one, result);
  const isMemory = one.unit === "bytes per client";
  return {
    value: isMemory ? (result.bytesPerClient ?? Number.NaN) : result.connectsPerSecond,
    perCpuSecond: isMemory ? null : result.perCpuSecond,
    p99Ms: isMemory ? null : result.p99Ms,
    ...{ lost: null, duplicates: null, othersCpuPercent: null, odd: "" },
    loadCpuPercent: result.generatorCpuPercent,
  };
}

function loadFigures(one: Case, result: LoadResult): Figures {
  const counts: [number, string][] = [
    [result.outOfOrder, "out of order"],
    [result.foreign, "strange"],
    [result.refused, "refused"],
    [result.unanswered, "unanswered"],
  ];
  const { msgsPerSecond, sizeBytes, perCpuSecond, p99Ms, lost, duplicates } = result;
  return {
    ...{ perCpuSecond, p99Ms, lost, duplicates, odd: oddities(counts) },
    value: one.unit === "p99 ms" ? (p99Ms ?? Number.NaN) : figureOf(one, msgsPerSecond, sizeBytes),
    loadCpuPercent: result.generatorCpuPercent,
    othersCpuPercent: result.othersCpuPercent,
  };
}

/** The slow ones' figures, with what the flood that ran meanwhile came to for each CPU second of the broker. */
export function withFlood(slow: Figures, flood: LoadResult): Figures {
  const { generatorCpuPercent, perCpuSecond } = flood;
  return {
    ...slow,
    perCpuSecond,
    loadCpuPercent: (slow.loadCpuPercent ?? 0) + generatorCpuPercent,
    // The other generator is one of the others.
    othersCpuPercent: Math.max(0, (slow.othersCpuPercent ?? 0) - generatorCpuPercent),
  };
}

/** From the last line of bench/routes.ts. @throws Error when it is not there */
export function figuresOfRoutes(one: Case, line: string): Figures {
  const value = number(record(JSON.parse(line))[one.routes ?? ""]);
  return {
    ...{ value, perCpuSecond: isCost(one.unit) ? null : value, p99Ms: null, lost: null },
    ...{ duplicates: null, loadCpuPercent: null, othersCpuPercent: null, odd: "" },
  };
}

/** The last line of mqttload. @throws Error when it is not what mqttload prints */
export function figuresOfMqttload(one: Case, line: string): Figures {
  const root = record(JSON.parse(line));
  if (one.unit === "connects/s") {
    return {
      value: number(root.connects_per_s),
      perCpuSecond: numberOrNull(root.per_broker_cpu_s),
      p99Ms: number(record(root.handshake_us).p99) / 1000,
      ...{ lost: null, duplicates: null, othersCpuPercent: null, odd: "" },
      loadCpuPercent: number(root.gen_busiest_thread_pct),
    };
  }
  const cpu = record(root.cpu);
  const counts: [number, string][] = [
    [number(root.out_of_order), "out of order"],
    [number(root.foreign), "strange"],
    [number(root.nacked), "refused"],
    [number(root.unacked), "unanswered"],
  ];
  return {
    value: figureOf(one, number(root.received_per_s), number(root.size)),
    perCpuSecond: numberOrNull(cpu.per_broker_cpu_s),
    p99Ms: number(record(root.latency_us).p99) / 1000,
    lost: number(root.lost),
    duplicates: number(root.duplicates),
    loadCpuPercent: number(cpu.gen_busiest_thread_pct),
    othersCpuPercent: null,
    odd: oddities(counts),
  };
}

/** Arguments of our generator as mqttload takes them; null: it cannot do this case. */
export function mqttloadArguments(args: readonly string[]): string[] | null {
  if (args.includes("--subscribe")) return null;
  const names: Record<string, string> = {
    "--window": "--inflight",
    "--backlog": "--max-backlog",
    "--seconds": "--duration",
    "--warm-up": "--warmup",
  };
  const translated = args.map((word) => names[word] ?? word);
  // Ours holds publishers in any case.
  const isFlood = args[0] !== "latency" && args[0] !== "connect";
  if (isFlood && !args.includes("--backlog")) translated.push("--max-backlog", "10000");
  return [...translated, "--gen-cpu"];
}

function figureOf(one: Case, msgsPerSecond: number, sizeBytes: number): number {
  return one.unit === "MB/s" ? (msgsPerSecond * sizeBytes) / 1e6 : msgsPerSecond;
}

function oddities(counts: readonly [number, string][]): string {
  const odd = counts.filter(([count]) => count > 0);
  return odd.map(([count, what]) => `${count.toLocaleString("en-US")} ${what}`).join(", ");
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw new Error("mqttload: no such figures");
  return { ...value };
}

function number(value: unknown): number {
  if (typeof value !== "number") throw new Error("mqttload: a figure is missing");
  return value;
}

function numberOrNull(value: unknown): number | null {
  return typeof value === "number" ? value : null;
}
