/**
 * The comparison's table: medians of the runs of each case and broker, in Markdown,
 * and notes on what went wrong.
 */
import type { Case } from "./cases.js";
import { median } from "../src/cli/bench/histogram.js";
import type { LoadResult } from "../src/cli/bench/run.js";

/** What the runs of one case with one broker gave. */
export interface Measured {
  readonly case: Case;
  readonly broker: string;
  readonly results: LoadResult[];
  /** Why a run failed; such a run has no result. */
  readonly errors: string[];
}

const heading = [
  "| case | broker | msg/s | times | msg per CPU s | times | p99 ms | lost | twice | load CPU | other CPU |",
  "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
];

/**
 * One line per case and broker. "times" is how many times as much the first broker of the case does,
 * in messages a second and in messages per CPU second of the broker.
 */
export function table(measured: readonly Measured[]): string {
  const lines = measured.map((one) => {
    const first = measured.find((other) => other.case.id === one.case.id);
    return row(one, first === one ? undefined : first);
  });
  return [...heading, ...lines].join("\n");
}

/** A line for each failed run, and for each run with something that ought to be 0 and has no column. */
export function notes(measured: readonly Measured[]): string[] {
  return measured.flatMap((one) => {
    const name = `${one.case.title}, ${one.broker}:`;
    const odd = one.results.map(oddities).filter((text) => text !== "");
    return [...one.errors, ...odd].map((text) => `${name} ${text}`);
  });
}

function oddities(result: LoadResult): string {
  const counts: [number, string][] = [
    [result.outOfOrder, "out of order"],
    [result.foreign, "strange"],
    [result.refused, "refused"],
    [result.unanswered, "unanswered"],
  ];
  const odd = counts.filter(([count]) => count > 0);
  return odd.map(([count, what]) => `${thousands(count)} ${what}`).join(", ");
}

function row(one: Measured, first: Measured | undefined): string {
  const name = `| ${one.case.title} | ${one.broker}`;
  if (one.results.length === 0) return `${name} | failed | | | | | | | | |`;
  const rate = middle(one, (result) => result.msgsPerSecond);
  const perCpu = middle(one, (result) => result.perCpuSecond);
  const cells = [
    thousands(rate),
    times(first && middle(first, (result) => result.msgsPerSecond), rate),
    thousands(perCpu),
    times(first && middle(first, (result) => result.perCpuSecond), perCpu),
    middle(one, (result) => result.p99Ms)?.toFixed(1) ?? "–",
    // Of loss and duplicates the worst run counts, not the median.
    thousands(Math.max(...one.results.map((result) => result.lost))),
    thousands(Math.max(...one.results.map((result) => result.duplicates))),
    percent(middle(one, (result) => result.generatorCpuPercent)),
    percent(middle(one, (result) => result.othersCpuPercent)),
  ];
  return `${name} | ${cells.join(" | ")} |`;
}

function middle(one: Measured, of: (result: LoadResult) => number | null): number | undefined {
  const values = one.results.map(of).filter((value) => value !== null);
  return values.length === 0 ? undefined : median(values);
}

function times(first: number | undefined, own: number | undefined): string {
  return first === undefined || own === undefined || own === 0 ? "" : (first / own).toFixed(1);
}

function percent(value: number | undefined): string {
  return value === undefined ? "–" : `${value.toFixed(0)} %`;
}

function thousands(value: number | undefined): string {
  return value === undefined ? "–" : Math.round(value).toLocaleString("en-US");
}
