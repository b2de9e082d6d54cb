/**
 * The comparison: for each case, one broker at a time on a core of its own, the load on another, and
 * the brokers in turn within each run, so that a slow minute of the machine meets all of them. Ends by
 * itself: every start, load and stop has a time limit.
 */
import { availableParallelism } from "node:os";
import { realClock } from "../src/lib/clock.js";
import type { Broker } from "./brokers.js";
import type { Case } from "./cases.js";
import { canPin, core, stopAll } from "./children.js";
import { type CompareOptions, compareUsage, parseCompareOptions } from "./compare-options.js";
import { UsageError } from "../src/cli/usage.js";
import { chart } from "./chart.js";
import { writeDocuments } from "./documents.js";
import type { Figures } from "./figures.js";
import { measure } from "./measure.js";
import { type Measured, notes, table } from "./table.js";

const disturbedPercent = 25;
const triesMore = 2;

/** Measures everything; progress goes to standard error. */
async function compare(options: CompareOptions): Promise<Measured[]> {
  const present = options.brokers.filter((broker) => {
    const reason = broker.missing();
    if (reason !== undefined) console.error(`${broker.name} is left out: ${reason}`);
    return reason === undefined;
  });
  const pairs = options.cases.flatMap((one) =>
    present
      .filter((broker) => broker.can(one))
      .map((broker) => ({
        broker,
        measured: newMeasured(one, broker),
      })),
  );
  for (let run = 1; run <= options.runs; run++) {
    for (const { broker, measured } of pairs) {
      const label = `run ${run} of ${options.runs}, ${measured.case.id}, ${broker.name}`;
      try {
        const result = await measureUndisturbed(measured.case, broker, options);
        measured.results.push(result);
        console.error(`${label}: ${Math.round(result.value)} ${measured.case.unit}`);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        measured.errors.push(reason);
        console.error(`${label}: failed: ${reason}`);
      }
    }
  }
  return pairs.map(({ measured }) => measured);
}

function newMeasured(one: Case, broker: Broker): Measured {
  return { case: one, broker: broker.name, results: [], errors: [] };
}

/**
 * Measures again, at most twice, while other programs took more than a quarter of a core; the result with
 * the least of that counts, whatever its figures.
 */
async function measureUndisturbed(
  one: Case,
  broker: Broker,
  options: CompareOptions,
): Promise<Figures> {
  let best = await measure(one, broker, options);
  for (
    let again = 0;
    options.repeats && again < triesMore && taken(best) > disturbedPercent;
    again++
  ) {
    const next = await measure(one, broker, options);
    if (taken(next) < taken(best)) best = next;
  }
  return best;
}

function taken(result: Figures): number {
  return result.othersCpuPercent ?? 0;
}

/** What was measured, where, and how: printed above the table. */
function description(options: CompareOptions): string {
  const versions = options.brokers
    .filter((broker) => broker.missing() === undefined)
    .map((broker) => `${broker.name} ${broker.version()}`);
  const pinned = canPin()
    ? `brokers on core ${core.broker}, load on core ${core.load}`
    : "not pinned to cores";
  const { runs, durationMs, warmUpMs, mqttload } = options;
  const generatedBy =
    mqttload === null ? "our own generator" : "mqttload (idle: our own generator)";
  return (
    `${versions.join(", ")}; Node ${process.versions.node}, ${availableParallelism()} cores, ` +
    `${pinned}; load by ${generatedBy}; ${runs} runs of ${durationMs / 1000} s after ` +
    `${warmUpMs / 1000} s, ${today()}.`
  );
}

function today(): string {
  return new Date(realClock.wallMs()).toISOString().slice(0, 10);
}

/** The command. Exit 0 when every run was whole, 1 when one failed, 2 for wrong usage. */
async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(compareUsage);
    return 0;
  }
  try {
    const options = parseCompareOptions(args);
    const measured = await compare(options);
    const text = description(options);
    const body = [text, "", table(measured), "", ...notes(measured).map((line) => `- ${line}`)];
    if (options.json) console.log(JSON.stringify({ description: text, measured }, null, 2));
    else console.log(body.join("\n"));
    if (options.docs !== null) {
      const picture = "![Messages per CPU second of each broker](performance.svg)";
      writeDocuments(options.docs, [picture, "", ...body].join("\n"), chart(measured, text));
      console.error(`written: performance.md and performance.svg in ${options.docs}`);
    }
    return measured.some(({ errors }) => errors.length > 0) ? 1 : 0;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? 2 : 1;
  } finally {
    await stopAll();
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void stopAll().then(() => process.exit(1)));
}
process.exitCode = await main(process.argv.slice(2));
