/**
 * What makes one broker process of several a node of its own: its name, its data directory, whom it belongs
 * to, and the ports that all share. The supervisor hands it over on the command line of the process.
 */
import { join } from "node:path";
import { z } from "zod";
import type { LoadedConfig } from "../../config/load.js";
import type { Config } from "../../config/schema.js";
import { Refusal } from "../../lib/refusal.js";

const identitySchema = z.object({
  /** From 1. */
  number: z.int().min(1),
  /** The other workers that are about to run or run: clients are let in when they are linked. */
  siblings: z.array(z.string()),
  /** Ports of the listeners that take any free one, by the listener's name. */
  ports: z.record(z.string(), z.int()),
});

export type WorkerIdentity = z.output<typeof identitySchema>;

/** The node name of worker `number` of the node `name`: name-1@host. */
export function workerName(name: string, number: number): string {
  return name.replace("@", `-${number}@`);
}

/** The data directory of worker `number` below that of the node. */
export function workerDirectory(dataDir: string, number: number): string {
  return join(dataDir, `worker-${number}`);
}

/** Reads what `--worker` says. @throws Refusal when it is not what a supervisor writes */
export function parseIdentity(text: string): WorkerIdentity {
  try {
    return identitySchema.parse(JSON.parse(text));
  } catch {
    throw new Refusal("--worker is for the supervisor of workers; use --workers N");
  }
}

/** The configuration of the node, as it is for one of its workers. */
export function configOfWorker(loaded: LoadedConfig, identity: WorkerIdentity): LoadedConfig {
  const { config, changed } = loaded;
  const { node, cluster } = config;
  const own = workerName(node.name, identity.number);
  // Whoever comes later asks those before it: two that join each other at one instant try again.
  const before = Array.from({ length: identity.number - 1 }, (_, i) =>
    workerName(node.name, i + 1),
  );
  const nodes = [...new Set([...before, ...cluster.discovery.static.nodes])];
  return {
    changed,
    config: {
      ...config,
      node: {
        ...node,
        ...{ name: own, data_dir: workerDirectory(node.data_dir, identity.number), workers: 0 },
      },
      listeners: withPorts(config.listeners, identity.ports),
      admin: adminOf(config.admin, identity.number),
      cluster: { ...cluster, discovery: { ...cluster.discovery, static: { nodes } } },
    },
  };
}

/** Health and metrics are those of one process, so each has a port of its own, side by side. */
function adminOf(admin: Config["admin"], number: number): Config["admin"] {
  return { ...admin, port: admin.port === 0 ? 0 : admin.port + number - 1 };
}

function withPorts(
  listeners: Config["listeners"],
  ports: Readonly<Record<string, number>>,
): Config["listeners"] {
  const { tcp, tls, ws, wss, more } = listeners;
  return {
    ...listeners,
    tcp: { ...tcp, port: ports.tcp ?? tcp.port },
    tls: { ...tls, port: ports.tls ?? tls.port },
    ws: { ...ws, port: ports.ws ?? ws.port },
    wss: { ...wss, port: ports.wss ?? wss.port },
    more: more.map((one) =>
      one.kind === "unix" ? one : { ...one, port: ports[one.name] ?? one.port },
    ),
  };
}
