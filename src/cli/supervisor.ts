/**
 * Keeps one node, or the workers of one, running in the background. It answers on a socket of its own, so that a
 * node can be stopped also while it is down between two tries.
 */
import { createLog } from "../lib/log.js";
import { startChild } from "./child.js";
import type { Dependencies } from "./dependencies.js";
import { Keeper } from "./keeper.js";
import { argumentsOf, type CommonOptions, configOf } from "./options.js";
import { tellParent } from "./parent.js";
import { onReloadSignal, onStopSignal } from "./signals.js";
import { openSupervisorSocket, supervisorPath } from "./supervisor-socket.js";
import { logPath } from "./log-path.js";
import { superviseWorkers } from "./workers/crew.js";

/** Runs until the node was stopped or is given up. Returns the exit code. */
export async function supervise(
  options: CommonOptions,
  dependencies: Dependencies,
): Promise<number> {
  const loaded = configOf(options, dependencies);
  const { name, data_dir: dataDir, run_dir: runDir, workers } = loaded.config.node;
  const log = createLog("info").child({ supervisor: name });
  try {
    if (workers > 0) return await superviseWorkers(options, loaded, log, dependencies);
    const keeper = new Keeper(
      () => startChild(["foreground", ...argumentsOf(options)], logPath(dataDir), dependencies),
      log,
      dependencies,
    );
    onStopSignal(dependencies.clock, () => void keeper.stop());
    onReloadSignal(() => keeper.reload());
    // The first start comes before the socket: the node makes the run directory and checks it.
    const first = await keeper.startFirst();
    if ("refused" in first) {
      tellParent(first);
      return 1;
    }
    const state = () => ({ workers: null });
    const path = supervisorPath(runDir, name);
    const socket = await openSupervisorSocket(path, state, () => void keeper.stop());
    tellParent(first);
    try {
      return await keeper.run();
    } finally {
      await socket.close();
    }
  } finally {
    if (process.connected) process.disconnect();
  }
}
