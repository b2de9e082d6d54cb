/** What a comparison does, in order: each run goes through all cases and, within a case, through all brokers. */
import type { Broker } from "./brokers.js";
import type { Case } from "./cases.js";
import type { CompareOptions } from "./compare-options.js";
import { median } from "../src/cli/bench/histogram.js";

/** One measurement; of several cases only where one program measures them together. */
export interface Step {
  readonly run: number;
  readonly broker: Broker;
  readonly cases: readonly Case[];
}

/** What a step is about, whichever run it belongs to. */
export function topicOf({ broker, cases }: Step): string {
  return `${cases[0]?.routes === undefined ? cases.map(({ id }) => id).join() : "routes"}, ${broker.name}`;
}

/** All steps of all runs. The first of the brokers is measured in every case that it can; it alone does the routes. */
export function stepsOf(options: CompareOptions, present: readonly Broker[]): Step[] {
  const routes = options.cases.filter(({ routes: figure }) => figure !== undefined);
  const clients = options.cases.filter(({ routes: figure }) => figure === undefined);
  const steps: Step[] = [];
  for (let run = 1; run <= options.runs; run++) {
    for (const one of clients) {
      for (const broker of present) {
        const runsMax = Math.min(one.runsMax ?? options.runs, broker.runsMax ?? options.runs);
        if (run <= runsMax && broker.can(one)) steps.push({ run, broker, cases: [one] });
      }
    }
    const [own] = present.filter(({ hasRoutes }) => hasRoutes === true);
    if (routes.length > 0 && own !== undefined) steps.push({ run, broker: own, cases: routes });
  }
  return steps;
}

/** How long measured time, warm-up and what lies around them take, as long as nothing is known. */
function guessMs({ broker, cases: [one] }: Step, options: CompareOptions): number {
  if (one?.routes !== undefined) return 15_000;
  const { durationMs, warmUpMs } = timesOf(broker, options);
  return durationMs + warmUpMs + (one?.flood === undefined ? 2500 : 6000);
}

/** Peers are measured for half the time: their figures are steadier than the differences to them. */
export function timesOf(
  broker: Broker,
  { durationMs, warmUpMs }: CompareOptions,
): { durationMs: number; warmUpMs: number } {
  return broker.isPeer === true
    ? { durationMs: durationMs / 2, warmUpMs: warmUpMs / 2 }
    : { durationMs, warmUpMs };
}

/** How long what is left will take: as long as the same took before. */
export class Forecast {
  private readonly tookMs = new Map<string, number[]>();

  constructor(private readonly options: CompareOptions) {}

  took(step: Step, ms: number): void {
    const topic = topicOf(step);
    const all = this.tookMs.get(topic);
    if (all === undefined) this.tookMs.set(topic, [ms]);
    else all.push(ms);
  }

  leftMs(steps: readonly Step[]): number {
    return steps.reduce((sum, step) => {
      const known = this.tookMs.get(topicOf(step));
      return sum + (known === undefined ? guessMs(step, this.options) : median(known));
    }, 0);
  }
}
