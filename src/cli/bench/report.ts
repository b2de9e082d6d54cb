/** What `broker bench` prints at its end: a table, and in words what a broker should not have done. */
import { table } from "../../admin/render.js";
import { type BenchTarget, type CaseName, titleOf } from "./cases.js";
import type { ConnectResult } from "./connects.js";
import type { LoadResult } from "./run.js";

/** One case that was run. */
export type Measured =
  | { readonly name: CaseName; readonly load: LoadResult }
  | { readonly name: CaseName; readonly connects: ConnectResult }
  | { readonly name: CaseName; readonly failed: string };

const none = "";

/** One line a case. */
export function benchTable(measured: readonly Measured[], target: BenchTarget): string {
  const perCpu = target.pids.length > 0;
  const header = ["case", "per second", "MB/s", "p50 ms", "p99 ms", "max ms", "lost", "twice"];
  header.push("out of order", "load CPU");
  if (perCpu) header.push("per broker CPU s");
  const rows = measured.map((one) => {
    const title = titleOf(one.name, target);
    if ("failed" in one) return [title, "failed", ...Array(header.length - 2).fill(none)];
    const figures = "load" in one ? one.load : one.connects;
    const times = [figures.p50Ms, figures.p99Ms, figures.maxMs].map(milliseconds);
    const cpu = `${Math.round(figures.generatorCpuPercent)} %`;
    const last = perCpu ? [thousands(figures.perCpuSecond)] : [];
    if ("connects" in one) {
      const rate = thousands(one.connects.connectsPerSecond);
      return [title, rate, none, ...times, none, none, none, cpu, ...last];
    }
    const { msgsPerSecond, sizeBytes, lost, duplicates, outOfOrder } = one.load;
    const megabytes = ((msgsPerSecond * sizeBytes) / 1e6).toFixed(1);
    const counts = [lost, duplicates, outOfOrder].map(thousands);
    return [title, thousands(msgsPerSecond), megabytes, ...times, ...counts, cpu, ...last];
  });
  return table(header, rows);
}

/** A sentence for everything that a broker owes and did not do. Loss with QoS 0 is allowed, and in the table. */
export function complaints(measured: readonly Measured[], target: BenchTarget): string[] {
  return measured.flatMap((one) => {
    const title = titleOf(one.name, target);
    if ("failed" in one) return [`${title}: ${one.failed}`];
    if ("connects" in one) return [];
    const { qos, lost, duplicates, outOfOrder, refused, unanswered, foreign } = one.load;
    const found: [number, string][] = [
      [qos > 0 ? lost : 0, "lost"],
      [qos !== 1 ? duplicates : 0, "delivered twice"],
      [outOfOrder, "out of order"],
      [refused, "refused by the broker"],
      [unanswered, "never acknowledged"],
      [foreign, "that nobody sent"],
    ];
    const wrong = found.filter(([count]) => count > 0);
    if (wrong.length === 0) return [];
    const words = wrong.map(([count, what]) => `${thousands(count)} ${what}`);
    return [`${title}: messages ${words.join(", ")}`];
  });
}

function milliseconds(value: number | null): string {
  return value === null ? none : value.toFixed(value < 10 ? 2 : 1);
}

/** 1,234,567; empty where there is no figure. */
export function thousands(value: number | null): string {
  return value === null ? none : Math.round(value).toLocaleString("en-US");
}
