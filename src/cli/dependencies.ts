/** What the command line is handed: the real world, or a test's. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import type { StartReport } from "../admin/parts.js";
import { type Environment, readEnvironment } from "../config/environment.js";
import type { Config } from "../config/schema.js";
import { type Clock, realClock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import { type Random, realRandom } from "../lib/random.js";
import { realTerminal, type Terminal } from "./output.js";

/** A node that runs in this process. */
export interface RunningNode {
  readonly report: StartReport;
  /** Reads the files again that may change while it runs. */
  reload(): Promise<void>;
  /** Begins an orderly stop, whoever asks for it; resolves when it is over. */
  stop(): Promise<void>;
  /** Resolves when the node has stopped; rejects when it had to because of a bug. */
  readonly stopped: Promise<void>;
}

export type StartBroker = (options: {
  readonly config: Config;
  readonly cookie: string;
  readonly log: Log;
  readonly version: string;
  /** Nodes that are started together with it: clients are let in when it is linked with them. */
  readonly siblings: readonly string[];
  /** Which port of `cluster.port_range` to try first, as a distance from its first. */
  readonly linkPortPreferred: number;
}) => Promise<RunningNode>;

/** When a crashed node is started again, and when it is left down. */
export interface Supervision {
  readonly firstWaitMs: number;
  readonly mostWaitMs: number;
  /** With so many crashes within `windowMs` it is left down. */
  readonly crashesMax: number;
  readonly windowMs: number;
  /** How long a node may take to stop before it is killed. */
  readonly stopMs: number;
}

export interface Dependencies {
  readonly terminal: Terminal;
  readonly clock: Clock;
  readonly random: Random;
  readonly environment: Environment;
  readonly place: { readonly cwd: string; readonly home: string; readonly uid: number };
  readonly version: string;
  /** Program and first arguments that run this command line again. */
  readonly self: readonly string[];
  readonly startBroker: StartBroker;
  readonly supervision: Supervision;
}

/** This process, this machine, and the real broker. */
export function realDependencies(): Dependencies {
  const launcher = fileURLToPath(new URL("../../bin/broker", import.meta.url));
  return {
    terminal: realTerminal,
    clock: realClock,
    random: realRandom,
    environment: readEnvironment(),
    place: { cwd: process.cwd(), home: homedir(), uid: process.getuid?.() ?? 0 },
    version: packageVersion(),
    self: [process.execPath, launcher],
    // Loaded when it is needed: `broker ctl` starts without it.
    startBroker: async (options) => (await import("../broker.js")).startBroker(options),
    supervision: {
      firstWaitMs: 500,
      mostWaitMs: 10_000,
      crashesMax: 5,
      windowMs: 60_000,
      stopMs: 20_000,
    },
  };
}

function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}
