/**
 * One measurement: a broker started for it alone on its core, a generator on another; or a program that needs
 * neither. Every step has a time limit.
 */
import { fileURLToPath } from "node:url";
import type { ConnectResult } from "../src/cli/bench/connects.js";
import type { LoadResult } from "../src/cli/bench/run.js";
import { realClock, sleep } from "../src/lib/clock.js";
import type { Broker, RunningBroker } from "./brokers.js";
import type { Case } from "./cases.js";
import { Child, core } from "./children.js";
import {
  type Figures,
  figuresOf,
  figuresOfMqttload,
  figuresOfRoutes,
  mqttloadArguments,
  withFlood,
} from "./figures.js";

const generator = fileURLToPath(new URL("load.ts", import.meta.url));
const routesProgram = fileURLToPath(new URL("routes.ts", import.meta.url));
const routesMs = 300_000;
/** The load's own limits come first: some for the set-up, 10 to 40 s for what is outstanding. */
const overheadMs = 90_000;
/** From the start of the flood until it runs at full speed. */
const floodLeadMs = 1500;
const floodSetUpMs = 30_000;
/** Until the broker has seen the last of the clients that led go. */
const afterLeadMs = 500;

export interface MeasureOptions {
  readonly durationMs: number;
  readonly warmUpMs: number;
  /** Path of a generator that takes the place of ours; null: none. */
  readonly mqttload: string | null;
}

/** One broker, started for this alone, under one load. */
export async function measure(
  one: Case,
  broker: Broker,
  options: MeasureOptions,
): Promise<Figures> {
  const running = await broker.start(realClock, one.nodes);
  try {
    if (one.flood !== undefined) return await floodedLoad(one, one.flood, running, options);
    const warmUpMs = Math.max(options.warmUpMs, one.warmUpMinMs ?? 0);
    const { durationMs, mqttload } = options;
    if (one.lead !== undefined) {
      await generate(one.lead, running, { durationMs, warmUpMs });
      await sleep(realClock, afterLeadMs);
    }
    const args = argumentsOf(one.args, running, { durationMs, warmUpMs });
    const theirs = mqttload === null ? null : mqttloadArguments(args);
    const load =
      mqttload === null || theirs === null
        ? ownGenerator(args)
        : new Child(realClock, mqttload, theirs, core.load);
    const line = await lastLine(load, durationMs + warmUpMs + overheadMs);
    // Our own generator's line: its form is that of its results.
    return theirs === null
      ? figuresOf(one, JSON.parse(line) as LoadResult | ConnectResult)
      : figuresOfMqttload(one, line);
  } finally {
    await running.stop();
  }
}

/** Those cases that one run of bench/routes.ts measures, all with the same arguments; in their order. */
export async function measureRoutes(cases: readonly Case[]): Promise<Figures[]> {
  const own = [
    "--runs",
    "1",
    "--only",
    "rows,match,subscribe",
    "--json",
    ...(cases[0]?.args ?? []),
  ];
  const flags = ["--expose-gc", "--max-old-space-size=6144", "--import", "tsx"];
  const child = new Child(
    realClock,
    process.execPath,
    [...flags, routesProgram, ...own],
    core.broker,
  );
  const line = await lastLine(child, routesMs);
  return cases.map((one) => figuresOfRoutes(one, line));
}

/**
 * The case's own load is measured while another client floods the broker from a process of its own, which has to let
 * the first go before it on their core. The flood begins when all clients of the case are connected.
 */
async function floodedLoad(
  one: Case,
  flood: readonly string[],
  running: RunningBroker,
  options: MeasureOptions,
): Promise<Figures> {
  const { durationMs } = options;
  const slow = argumentsOf([...one.args, "--announce"], running, {
    durationMs,
    warmUpMs: 2 * floodLeadMs,
  });
  const load = ownGenerator(slow);
  await announced(load);
  const loud = ownGenerator(
    argumentsOf(flood, running, { durationMs: durationMs + 3 * floodLeadMs, warmUpMs: 0 }),
    ["nice", "-n", "10"],
  );
  const limitMs = durationMs + 3 * floodLeadMs + overheadMs;
  const line = await lastLine(load, limitMs);
  if (!loud.isLive) throw new Error(`the flood ended too early: ${loud.tail.trim()}`);
  const floodLine = await lastLine(loud, limitMs);
  // Lines of our own generator.
  return withFlood(
    figuresOf(one, JSON.parse(line) as LoadResult),
    JSON.parse(floodLine) as LoadResult,
  );
}

/** What our generator says of one load with these arguments, in one line of JSON. */
export function generate(
  args: readonly string[],
  running: RunningBroker,
  times: Omit<MeasureOptions, "mqttload">,
): Promise<string> {
  const load = ownGenerator(argumentsOf(args, running, times));
  return lastLine(load, times.durationMs + times.warmUpMs + overheadMs);
}

function ownGenerator(args: readonly string[], before: readonly string[] = []): Child {
  const [program = process.execPath, ...rest] = [
    ...before,
    ...[process.execPath, "--import", "tsx", generator],
    ...args,
  ];
  return new Child(realClock, program, rest, core.load);
}

function argumentsOf(
  args: readonly string[],
  { ports, pids }: RunningBroker,
  { durationMs, warmUpMs }: Omit<MeasureOptions, "mqttload">,
): string[] {
  return [
    ...args,
    ...["--pub", `127.0.0.1:${ports[0]}`, "--sub", `127.0.0.1:${ports.at(-1)}`],
    ...["--seconds", String(durationMs / 1000)],
    ...["--warm-up", String(warmUpMs / 1000), "--pid", pids.join(",")],
  ];
}

/** Until it has written that all its clients are connected. */
async function announced(load: Child): Promise<void> {
  const untilMs = realClock.monotonicMs() + floodSetUpMs;
  while (!load.tail.includes("connected")) {
    if (!load.isLive) throw new Error(load.tail.trim());
    if (realClock.monotonicMs() > untilMs) throw new Error("its clients do not get connected");
    await sleep(realClock, 20);
  }
}

/** What it printed last, when it has ended well. */
async function lastLine(child: Child, limitMs: number): Promise<string> {
  const code = await child.end(limitMs);
  if (code !== 0) throw new Error(child.tail.trim().replace(/\s+/g, " "));
  return child.output.trim().split("\n").at(-1) ?? "";
}
