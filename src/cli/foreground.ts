/** Runs one node in this process until it is told to stop. */
import cluster from "node:cluster";
import { answers } from "../admin/ctl-client.js";
import { ctlPath } from "../admin/ctl-protocol.js";
import { alreadyRuns } from "../admin/ctl-server.js";
import { readCookie } from "../config/cookie.js";
import type { LoadedConfig } from "../config/load.js";
import { sleep } from "../lib/clock.js";
import { createLog, type Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import type { Dependencies, RunningNode } from "./dependencies.js";
import { type CommonOptions, configOf } from "./options.js";
import { tellParent } from "./parent.js";
import { onReloadSignal, onStopSignal, onWorkerSignals } from "./signals.js";
import { startReportText } from "./start-report.js";
import { foregroundWorkers } from "./workers/crew.js";
import { configOfWorker, parseIdentity, type WorkerIdentity } from "./workers/identity.js";
import { refuseWorkersData } from "./workers/plan.js";

export interface ForegroundOptions extends CommonOptions {
  /** Stop when the process that started this one is gone. */
  readonly "stop-with-parent"?: boolean | undefined;
  /** This is one of the workers of a node; written by their supervisor. */
  readonly worker?: string | undefined;
}

/**
 * Starts a node, prints its report, and waits until it has stopped. `meanwhile` is called when it
 * runs. Returns the exit code.
 * @throws Refusal when it cannot start
 */
export async function foreground(
  options: ForegroundOptions,
  dependencies: Dependencies,
  meanwhile?: () => Promise<void>,
): Promise<number> {
  const loaded = configOf(options, dependencies);
  const worker = options.worker === undefined ? null : parseIdentity(options.worker);
  if (worker === null && loaded.config.node.workers > 0) {
    return foregroundWorkers(options, loaded, dependencies, meanwhile);
  }
  let node: RunningNode;
  let log: Log;
  try {
    ({ node, log } = await start(loaded, worker, dependencies));
  } catch (error) {
    tellParent({ refused: error instanceof Refusal ? error.message : String(error) });
    throw error;
  }
  tellParent({ started: node.report });
  const end = (): void => void stop(node, log, dependencies);
  if (worker === null) onStopSignal(dependencies.clock, end);
  else onWorkerSignals(end);
  onReloadSignal(() => void node.reload());
  onUncaught(log);
  const endsWithParent = worker !== null || options["stop-with-parent"] === true;
  // node:cluster would end a worker at once when its supervisor is gone; it shall stop in order.
  if (cluster.worker !== undefined) cluster.worker.exitedAfterDisconnect = true;
  if (endsWithParent) process.once("disconnect", end);
  try {
    await Promise.race([node.stopped, meanwhile?.().then(() => node.stop()) ?? node.stopped]);
    await node.stopped;
    return 0;
  } catch (error) {
    log.error({ error: String(error) }, "the node had to stop");
    throw new Refusal(`the node ${node.report.name} had to stop: ${String(error)}`);
  } finally {
    // Whoever listens for the parent's end keeps the process alive.
    process.off("disconnect", end);
    // The channel to a supervisor of workers would, too.
    if (worker !== null && process.connected) process.disconnect();
  }
}

async function start(
  given: LoadedConfig,
  worker: WorkerIdentity | null,
  dependencies: Dependencies,
): Promise<{ node: RunningNode; log: Log }> {
  const { environment, random, terminal, version } = dependencies;
  const loaded = worker === null ? given : configOfWorker(given, worker);
  const { config } = loaded;
  if (worker === null) refuseWorkersData(config.node);
  const path = ctlPath(config.node.run_dir, config.node.name);
  if (await answers(path)) throw new Refusal(alreadyRuns(config.node.name, path));
  const cookie = readCookie(config.cluster.cookie_file, environment.cookie, random);
  const log = createLog(config.log.level);
  const node = await dependencies.startBroker({
    ...{ config, cookie, log, version },
    siblings: worker?.siblings ?? [],
    linkPortPreferred: worker === null ? 0 : worker.number - 1,
  });
  // Of workers their supervisor prints one for all.
  if (worker === null) terminal.print(startReportText(node.report, version, loaded));
  return { node, log };
}

/** Stops in order; a stop that hangs ends the process all the same. */
async function stop(
  node: RunningNode,
  log: Log,
  { clock, supervision }: Dependencies,
): Promise<void> {
  const late = sleep(clock, supervision.stopMs / 2).then(() => "late");
  const ended = node.stop().then(
    () => "ended",
    (error: unknown) => String(error),
  );
  const outcome = await Promise.race([late, ended]);
  if (outcome === "ended") return;
  log.error({ outcome }, "the node does not stop in order; the process ends now");
  process.exit(1);
}

/** A bug anywhere: the process ends before it could acknowledge what it may not hold. */
function onUncaught(log: Log): void {
  process.on("uncaughtException", (error: unknown) => {
    const stack = error instanceof Error ? error.stack : String(error);
    log.error({ error: stack }, "uncaught exception: the process ends");
    process.exit(1);
  });
}
