/**
 * The comparison's table in Markdown: of the runs of each case and broker the median, least and most, and notes on
 * what went wrong.
 */
import { median } from "../src/cli/bench/histogram.js";
import { type Case, isCost } from "./cases.js";
import type { Figures } from "./figures.js";

/** What the runs of one case with one broker gave. */
export interface Measured {
  readonly case: Case;
  readonly broker: string;
  readonly results: Figures[];
  /** Why a run failed; such a run has no result. */
  readonly errors: string[];
}

const heading = [
  "| case | broker | figure | median | least – most | times | per CPU s | least – most | times | p99 ms | lost | twice | load CPU | other CPU |",
  "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
];
const columns = heading[1]?.split("|").length ?? 0;

/**
 * One line per case and broker. "times" is how many times as much the first broker of the case does (of memory: how
 * many times as little it takes), for the figure and per CPU second of the broker.
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
    const odd = one.results.map((result) => result.odd).filter((text) => text !== "");
    return [...one.errors, ...odd].map((text) => `${name} ${text}`);
  });
}

/** The middle of what the runs have; undefined: none has it. */
export function middle(one: Measured, of: (result: Figures) => number | null): number | undefined {
  const values = valuesOf(one, of);
  return values.length === 0 ? undefined : median(values);
}

/** Figures that are shares of others in the table: two nodes of one, connects of what Node can do at all. */
export function shares(measured: readonly Measured[]): string[] {
  const value = (id: string, broker: string, of: (result: Figures) => number | null) => {
    const one = measured.find((other) => other.case.id === id && other.broker === broker);
    return one && middle(one, of);
  };
  const [own] = measured;
  if (own === undefined) return [];
  const found: string[] = [];
  const perCpu = (result: Figures): number | null => result.perCpuSecond;
  for (const qos of ["qos0", "qos1", "qos1-w1000"]) {
    const [two, one] = [`nodes-${qos}`, `1to1-${qos}`].map((id) => value(id, own.broker, perCpu));
    if (two === undefined || one === undefined) continue;
    const title = measured.find(({ case: { id } }) => id === `nodes-${qos}`)?.case.title;
    found.push(`${title}: ${(two / one).toFixed(2)} of what a single node does per CPU second`);
  }
  const ours = value("connect", own.broker, (result) => result.value);
  const bare = value("connect", "accept loop", (result) => result.value);
  if (ours !== undefined && bare !== undefined) {
    found.push(`connects: ${(ours / bare).toFixed(2)} of what a bare Node accept loop does`);
  }
  return found;
}

function row(one: Measured, first: Measured | undefined): string {
  const name = `| ${one.case.title} | ${one.broker} | ${one.case.unit}`;
  if (one.results.length === 0) return `${name} | failed ${"| ".repeat(columns - 6)}|`;
  const value = (result: Figures): number => result.value;
  const perCpu = (result: Figures): number | null => result.perCpuSecond;
  const isLessBetter = isCost(one.case.unit);
  const [mine, theirs] = [first && middle(first, value), middle(one, value)];
  const cells = [
    thousands(theirs),
    range(valuesOf(one, value)),
    isLessBetter ? times(theirs, mine) : times(mine, theirs),
    thousands(middle(one, perCpu)),
    range(valuesOf(one, perCpu)),
    times(first && middle(first, perCpu), middle(one, perCpu)),
    middle(one, (result) => result.p99Ms)?.toFixed(2) ?? "–",
    // Of loss and duplicates the worst run counts, not the median.
    worst(one, (result) => result.lost),
    worst(one, (result) => result.duplicates),
    percent(middle(one, (result) => result.loadCpuPercent)),
    percent(middle(one, (result) => result.othersCpuPercent)),
  ];
  return `${name} | ${cells.join(" | ")} |`;
}

function valuesOf(one: Measured, of: (result: Figures) => number | null): number[] {
  return one.results.map(of).filter((value) => value !== null);
}

function worst(one: Measured, of: (result: Figures) => number | null): string {
  const values = valuesOf(one, of);
  return values.length === 0 ? "–" : Math.max(...values).toLocaleString("en-US");
}

function range(values: readonly number[]): string {
  if (values.length < 2) return "";
  return `${thousands(Math.min(...values))} – ${thousands(Math.max(...values))}`;
}

function times(first: number | undefined, own: number | undefined): string {
  return first === undefined || own === undefined || own === 0 ? "" : (first / own).toFixed(1);
}

function percent(value: number | undefined): string {
  return value === undefined ? "–" : `${value.toFixed(0)} %`;
}

function thousands(value: number | undefined): string {
  if (value === undefined) return "–";
  return value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en-US");
}
