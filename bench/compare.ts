/**
 * The comparison: for each case, one broker at a time on a core of its own, the load on another, and
 * the brokers in turn within each run, so that a slow minute of the machine meets all of them. Ends by
 * itself: every start, load and stop has a time limit. Each result is written as it comes.
 */
import { availableParallelism } from "node:os";
import { realClock } from "../src/lib/clock.js";
import type { Broker } from "./brokers.js";
import { canPin, core, stopAll } from "./children.js";
import { type CompareOptions, compareUsage, parseCompareOptions } from "./compare-options.js";
import { UsageError } from "../src/cli/usage.js";
import { chart } from "./chart.js";
import { writeDocuments } from "./documents.js";
import type { Figures } from "./figures.js";
import { measure, measureRoutes } from "./measure.js";
import { Forecast, type Step, stepsOf, timesOf, topicOf } from "./plan.js";
import { ResultsFile } from "./results-file.js";
import { type Measured, notes, shares, table } from "./table.js";

const disturbedPercent = 25;

/** Measures everything that is not in the file; progress goes to standard error. */
async function compare(options: CompareOptions, present: readonly Broker[]): Promise<Measured[]> {
  const steps = stepsOf(options, present);
  const measured = newTable(steps);
  const settings = { ...description(options, present), cases: options.cases.map(({ id }) => id) };
  const file =
    options.results === null
      ? null
      : ResultsFile.open(options.results, settings, options.isContinued);
  for (const result of file?.before ?? []) {
    find(measured, result.case, result.broker)?.results.push(result.figures);
  }
  const known = new Set(file?.before.map((one) => keyOf(one.run, one.case, one.broker)));
  const left = steps.filter(
    ({ run, broker, cases }) => !cases.every(({ id }) => known.has(keyOf(run, id, broker.name))),
  );
  const forecast = new Forecast(options);
  const untilMs = realClock.monotonicMs() + options.limitMs;
  while (left.length > 0) {
    const step = left[0] as Step; // there is one
    const fromMs = realClock.monotonicMs();
    const label = `run ${step.run} of ${options.runs}, ${topicOf(step)}`;
    try {
      const figures = await measureUndisturbed(step, options, () => {
        return realClock.monotonicMs() + forecast.leftMs(left) < untilMs;
      });
      for (const [i, one] of step.cases.entries()) {
        const own = figures[i];
        if (own === undefined) continue;
        find(measured, one.id, step.broker.name)?.results.push(own);
        file?.add({ run: step.run, case: one.id, broker: step.broker.name, figures: own });
      }
      progress(
        `${label}: ${step.cases.map((one, i) => `${Math.round(figures[i]?.value ?? 0)} ${one.unit}`).join(", ")}`,
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      for (const { id } of step.cases) find(measured, id, step.broker.name)?.errors.push(reason);
      progress(`${label}: failed: ${reason}`);
    }
    left.shift();
    forecast.took(step, realClock.monotonicMs() - fromMs);
    progress(`  ${minutes(forecast.leftMs(left))} left, ${left.length} measurements`);
  }
  return measured;
}

function progress(text: string): void {
  console.error(text);
}

function minutes(ms: number): string {
  return `${(ms / 60_000).toFixed(1)} minutes`;
}

const keyOf = (run: number, id: string, broker: string): string => `${run} ${id} ${broker}`;

/** A line for each case and broker, in the order of the cases, empty yet. */
function newTable(steps: readonly Step[]): Measured[] {
  const all: Measured[] = [];
  for (const { broker, cases } of steps) {
    for (const one of cases) {
      if (find(all, one.id, broker.name) !== undefined) continue;
      all.push({ case: one, broker: broker.name, results: [], errors: [] });
    }
  }
  return all;
}

function find(all: readonly Measured[], id: string, broker: string): Measured | undefined {
  return all.find((one) => one.case.id === id && one.broker === broker);
}

/**
 * Measures again, once, when other programs took more than a quarter of a core and there is time; the result with
 * the least of that counts, whatever its figures.
 */
async function measureUndisturbed(
  step: Step,
  options: CompareOptions,
  hasTime: () => boolean,
): Promise<Figures[]> {
  const first = await measureOnce(step, options);
  if (!options.repeats || taken(first) <= disturbedPercent || !hasTime()) return first;
  const second = await measureOnce(step, options);
  return taken(second) < taken(first) ? second : first;
}

async function measureOnce({ cases, broker }: Step, options: CompareOptions): Promise<Figures[]> {
  const [one] = cases;
  if (one === undefined) return [];
  if (one.routes !== undefined) return measureRoutes(cases);
  const { mqttload } = options;
  return [await measure(one, broker, { ...timesOf(broker, options), mqttload })];
}

function taken([result]: readonly Figures[]): number {
  return result?.othersCpuPercent ?? 0;
}

/** What is measured, and how. */
function description(options: CompareOptions, present: readonly Broker[]) {
  const { runs, durationMs, warmUpMs, mqttload } = options;
  return {
    versions: present.map((broker) => `${broker.name} ${broker.version()}`),
    node: process.versions.node,
    cores: availableParallelism(),
    isPinned: canPin(),
    ...{ runs, durationMs, warmUpMs, mqttload },
  };
}

/** The same in a sentence, printed above the table. */
function sentence(options: CompareOptions, present: readonly Broker[]): string {
  const { versions, node, cores, isPinned } = description(options, present);
  const pinned = isPinned
    ? `brokers on core ${core.broker}, load on core ${core.load}`
    : "not pinned to cores";
  const { runs, durationMs, warmUpMs, mqttload } = options;
  const generatedBy =
    mqttload === null ? "our own generator" : "mqttload (idle: our own generator)";
  return (
    `${versions.join(", ")}; Node ${node}, ${cores} cores, ` +
    `${pinned}; load by ${generatedBy}; ${runs} runs of ${durationMs / 1000} s after ` +
    `${warmUpMs / 1000} s (peers half of both), ${today()}.`
  );
}

function today(): string {
  return new Date(realClock.wallMs()).toISOString().slice(0, 10);
}

function presentOf({ brokers }: CompareOptions): Broker[] {
  return brokers.filter((broker) => {
    const reason = broker.missing();
    if (reason !== undefined) progress(`${broker.name} is left out: ${reason}`);
    return reason === undefined;
  });
}

/** The command. Exit 0 when every run was whole, 1 when one failed, 2 for wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(compareUsage);
    return 0;
  }
  const startedMs = realClock.monotonicMs();
  try {
    const options = parseCompareOptions(args);
    const present = presentOf(options);
    const measured = await compare(options, present);
    const text = sentence(options, present);
    const remarks = [...shares(measured), ...notes(measured)].map((line) => `- ${line}`);
    const body = [text, "", table(measured), "", ...remarks];
    if (options.json) console.log(JSON.stringify({ description: text, measured }, null, 2));
    else console.log(body.join("\n"));
    if (options.docs !== null) {
      const picture = "![Messages per CPU second of each broker](performance.svg)";
      writeDocuments(options.docs, [picture, "", ...body].join("\n"), chart(measured, text));
      progress(`written: performance.md and performance.svg in ${options.docs}`);
    }
    progress(`it took ${minutes(realClock.monotonicMs() - startedMs)}`);
    return measured.some(({ errors }) => errors.length > 0) ? 1 : 0;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? 2 : 1;
  } finally {
    await stopAll();
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => {
    console.error("stopped: --continue goes on from here");
    void stopAll().then(() => process.exit(1));
  });
}
process.exitCode = await main(process.argv.slice(2));
