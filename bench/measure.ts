/** One measurement: a broker started for it alone on its core, a generator on another. Every step has a time limit. */
import { fileURLToPath } from "node:url";
import type { ConnectResult } from "../src/cli/bench/connects.js";
import type { LoadResult } from "../src/cli/bench/run.js";
import { realClock } from "../src/lib/clock.js";
import type { Broker } from "./brokers.js";
import type { Case } from "./cases.js";
import { Child, core } from "./children.js";
import { type Figures, figuresOf, figuresOfMqttload, mqttloadArguments } from "./figures.js";

const generator = fileURLToPath(new URL("load.ts", import.meta.url));

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
    const args = [
      ...one.args,
      ...["--pub", `127.0.0.1:${running.ports[0]}`, "--sub", `127.0.0.1:${running.ports.at(-1)}`],
      ...["--seconds", String(options.durationMs / 1000)],
      ...["--warm-up", String(options.warmUpMs / 1000), "--pid", running.pids.join(",")],
    ];
    const { mqttload } = options;
    const theirs = mqttload === null ? null : mqttloadArguments(args);
    const load =
      mqttload === null || theirs === null
        ? new Child(realClock, process.execPath, ["--import", "tsx", generator, ...args], core.load)
        : new Child(realClock, mqttload, theirs, core.load);
    // The load's own limits: a minute for the set-up, 10 s for what is outstanding.
    const code = await load.end(options.durationMs + options.warmUpMs + 90_000);
    if (code !== 0) throw new Error(load.tail.trim());
    const line = load.output.trim().split("\n").at(-1) ?? "";
    // Our own generator's line: its form is that of its results.
    return theirs === null
      ? figuresOf(one, JSON.parse(line) as LoadResult | ConnectResult)
      : figuresOfMqttload(one, line);
  } finally {
    await running.stop();
  }
}
