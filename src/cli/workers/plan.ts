/**
 * What is settled before the first worker starts: everything that can be refused is refused here, with a
 * sentence, and listeners that take any free port get theirs, the same for all workers.
 */
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { answers } from "../../admin/ctl-client.js";
import { ctlPath } from "../../admin/ctl-protocol.js";
import { alreadyRuns } from "../../admin/ctl-server.js";
import { enabledListeners } from "../../config/listeners.js";
import type { Config } from "../../config/schema.js";
import { Refusal } from "../../lib/refusal.js";
import { whyNot } from "../../net/listeners/acceptor.js";
import { clearSocket } from "../../net/listeners/unix.js";
import { workerDirectory, workerName } from "./identity.js";

/** What a plain node keeps in its data directory, and a node with workers only in those of the workers. */
const stateFile = "cluster.state";

const portMax = 65_535;

export interface WorkersPlan {
  readonly names: readonly string[];
  /** By listener. */
  readonly ports: Readonly<Record<string, number>>;
}

/** @throws Refusal when the workers cannot run as they are configured, or should not with the data there is */
export async function planWorkers(config: Config): Promise<WorkersPlan> {
  const { name, workers, run_dir: runDir } = config.node;
  const names = Array.from({ length: workers }, (_, i) => workerName(name, i + 1));
  refuseSettings(config);
  refuseOtherCounts(config);
  for (const worker of names) {
    const path = ctlPath(runDir, worker);
    if (await answers(path)) throw new Refusal(alreadyRuns(worker, path));
  }
  const ports: Record<string, number> = {};
  for (const listener of enabledListeners(config.listeners)) {
    if (listener.kind === "unix") await clearSocket(listener.path, listener.name);
    else {
      const port = await portFor(listener);
      if (listener.port === 0) ports[listener.name] = port;
    }
  }
  return { names, ports };
}

/** @throws Refusal when the data directory is that of a node with workers, which the node would not serve */
export function refuseWorkersData({ name, data_dir: dataDir }: Config["node"]): void {
  const count = workersIn(dataDir);
  if (count === 0) return;
  throw new Refusal(
    `the data directory ${dataDir} holds what ${count} workers of ${name} keep, which a node without ` +
      `workers does not serve: start it with --workers ${count}, or give another --data`,
  );
}

function refuseSettings({ node, cluster, admin }: Config): void {
  if (admin.enabled && admin.port > 0 && admin.port + node.workers - 1 > portMax) {
    throw new Refusal(
      `admin.port = ${admin.port} leaves no room for the ports of ${node.workers} workers, one each: take a lower one`,
    );
  }
  const [first, last] = cluster.port_range;
  const range = `cluster.port_range ${first}-${last}`;
  if (last === 0) {
    throw new Refusal(`workers find each other by their link ports: ${range} must name some`);
  }
  if (last - first + 1 < node.workers) {
    throw new Refusal(
      `${range} has ${last - first + 1} ports, and each of ${node.workers} workers needs one: widen it`,
    );
  }
  if (/:\d+$/.test(cluster.advertise)) {
    throw new Refusal(
      `cluster.advertise = ${cluster.advertise} names one link port, and each worker has its own: name a host alone`,
    );
  }
}

/** Data of workers that would not be started must not vanish from sight without a word. */
function refuseOtherCounts({ node }: Config): void {
  const { name, data_dir: dataDir, workers } = node;
  if (existsSync(join(dataDir, stateFile))) {
    throw new Refusal(
      `the data directory ${dataDir} holds what the node ${name} kept without workers, which workers do not ` +
        "serve: give another --data, or move that directory away if nothing in it is needed",
    );
  }
  const before = workersIn(dataDir);
  if (before <= workers) return;
  const surplus = workerName(name, before);
  throw new Refusal(
    `${name} had ${before} workers, and ${workers} would not serve the sessions that are in ` +
      `${workerDirectory(dataDir, before)}: start ${before}, or give up what ${surplus} holds by moving that ` +
      `directory away and, when the others run, \`broker ctl remove_from_cluster ${surplus}\``,
  );
}

/** The highest number of a worker that has left something in the directory. */
function workersIn(dataDir: string): number {
  if (!existsSync(dataDir)) return 0;
  const numbers = readdirSync(dataDir).map((entry) => /^worker-(\d{1,6})$/.exec(entry)?.[1]);
  const started = numbers.filter(
    (number) => number !== undefined && existsSync(join(dataDir, `worker-${number}`, stateFile)),
  );
  return Math.max(0, ...started.map(Number));
}

/**
 * The port of the listener, or a free one where it takes any. Nobody else has it now; workers that share a port by
 * the system's means would share it with a stranger, too.
 */
function portFor({ name, bind: host, port }: Wanted): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      reject(
        new Refusal(`the listener ${name} cannot listen ${whyNot(error, { host, port }, name)}`),
      );
    });
    server.listen({ host, port, exclusive: true }, () => {
      const bound = server.address();
      // The address of a TCP server is an object while it listens.
      const got = typeof bound === "object" && bound !== null ? bound.port : 0;
      server.close(() => resolve(got));
    });
  });
}

interface Wanted {
  readonly name: string;
  readonly bind: string;
  readonly port: number;
}
