/**
 * The workers of one node: several broker processes behind the same ports, each started, watched and started
 * again by this process, which hands out connections where the system does not. They start and stop together;
 * in between each crashes, and is given up, for itself.
 */
import { answers } from "../../admin/ctl-client.js";
import { alreadyRuns } from "../../admin/ctl-server.js";
import { readCookie } from "../../config/cookie.js";
import type { LoadedConfig } from "../../config/load.js";
import { createLog, type Log } from "../../lib/log.js";
import { Refusal } from "../../lib/refusal.js";
import { type Child, startWorker } from "../child.js";
import type { Dependencies } from "../dependencies.js";
import { Keeper } from "../keeper.js";
import { logPath } from "../log-path.js";
import { argumentsOf, type CommonOptions } from "../options.js";
import { type StartOutcome, tellParent } from "../parent.js";
import { onReloadSignal, onStopSignal } from "../signals.js";
import { startReportText } from "../start-report.js";
import {
  openSupervisorSocket,
  type SupervisorSocket,
  supervisorPath,
  type WorkerState,
} from "../supervisor-socket.js";
import type { WorkerIdentity } from "./identity.js";
import { planWorkers, type WorkersPlan } from "./plan.js";

type Started = Extract<StartOutcome, { started: unknown }>["started"];

/** Background: the start is reported to the process that asked for it. Returns the exit code. */
export async function superviseWorkers(
  options: CommonOptions,
  loaded: LoadedConfig,
  log: Log,
  dependencies: Dependencies,
): Promise<number> {
  let crew: Crew;
  try {
    const plan = await planWorkers(loaded.config);
    const file = logPath(loaded.config.node.data_dir);
    crew = new Crew(options, loaded, plan, file, log, dependencies);
    const started = await crew.start();
    dependencies.terminal.print(startReportText(started, dependencies.version, loaded));
    tellParent({ started });
  } catch (error) {
    tellParent({ refused: error instanceof Refusal ? error.message : String(error) });
    return 1;
  }
  return crew.run();
}

/**
 * Runs the workers in this terminal. `meanwhile` is called when they run. Returns the exit code.
 * @throws Refusal when they cannot start
 */
export async function foregroundWorkers(
  options: CommonOptions,
  loaded: LoadedConfig,
  dependencies: Dependencies,
  meanwhile?: () => Promise<void>,
): Promise<number> {
  const { environment, random, terminal, version } = dependencies;
  const { node, cluster } = loaded.config;
  const path = supervisorPath(node.run_dir, node.name);
  if (await answers(path)) throw new Refusal(alreadyRuns(node.name, path));
  // Made once, before several processes want it.
  readCookie(cluster.cookie_file, environment.cookie, random);
  const log = createLog(loaded.config.log.level).child({ supervisor: node.name });
  const plan = await planWorkers(loaded.config);
  const crew = new Crew(options, loaded, plan, null, log, dependencies);
  terminal.print(startReportText(await crew.start(), version, loaded));
  void meanwhile?.().then(() => crew.stop());
  const code = await crew.run();
  if (code === 0) return 0;
  throw new Refusal(`the workers of ${node.name} that have crashed too often are left down`);
}

class Crew {
  private readonly keepers: readonly Keeper[];
  private socket: SupervisorSocket | null = null;
  private stopping: Promise<void> | null = null;

  constructor(
    private readonly options: CommonOptions,
    private readonly loaded: LoadedConfig,
    private readonly plan: WorkersPlan,
    /** Null: workers write to this terminal. */
    private readonly logFile: string | null,
    log: Log,
    private readonly dependencies: Dependencies,
  ) {
    // What node:cluster makes in this process, such as Unix sockets of listeners, is nobody else's.
    process.umask(0o077);
    this.keepers = plan.names.map(
      (name, i) =>
        new Keeper(() => this.startOne(i + 1), log.child({ worker: name }), dependencies),
    );
  }

  /** Starts all. @throws Refusal when one of them refuses; then none runs */
  async start(): Promise<Started> {
    onStopSignal(this.dependencies.clock, () => void this.stop());
    onReloadSignal(() => {
      for (const keeper of this.keepers) keeper.reload();
    });
    const outcomes = await Promise.all(this.keepers.map((keeper) => keeper.startFirst()));
    const started: Started[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      if ("started" in outcome) {
        started.push(outcome.started);
        continue;
      }
      await this.stop();
      throw new Refusal(`its worker ${this.plan.names[i]} refuses: ${outcome.refused}`);
    }
    const [first] = started;
    if (first === undefined) throw new Refusal("there are no workers to start");
    const { name, run_dir: runDir } = this.loaded.config.node;
    // The run directory is there: the workers have made it and checked it.
    this.socket = await openSupervisorSocket(
      supervisorPath(runDir, name),
      () => ({ workers: this.states() }),
      () => void this.stop(),
    );
    const workers = started.map((one) => ({ name: one.name, linkPort: one.linkPort }));
    return { ...first, name, workers };
  }

  /** Until all have stopped or are given up. Returns the exit code: 1 when one is given up. */
  async run(): Promise<number> {
    try {
      return Math.max(...(await Promise.all(this.keepers.map((keeper) => keeper.run()))));
    } finally {
      await this.socket?.close();
    }
  }

  stop(): Promise<void> {
    this.stopping ??= Promise.all(this.keepers.map((keeper) => keeper.stop())).then(
      () => undefined,
    );
    return this.stopping;
  }

  private states(): WorkerState[] {
    return this.keepers.map(({ state, pid }, i) => ({
      ...{ name: this.plan.names[i] ?? "", state, pid: pid ?? null },
    }));
  }

  private startOne(number: number): Child {
    const { names, ports } = this.plan;
    const siblings = names.filter((_, i) => i + 1 !== number && this.keepers[i]?.state !== "down");
    const identity: WorkerIdentity = { number, siblings, ports };
    const { logFile, options, dependencies } = this;
    const args = ["foreground", ...argumentsOf(options), "--worker", JSON.stringify(identity)];
    return startWorker(args, logFile, dependencies);
  }
}
