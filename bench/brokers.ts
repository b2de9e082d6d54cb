/**
 * The brokers that a comparison knows: how each is found, configured and started. Every one listens
 * on loopback only, runs with queues that do not lose QoS 1 and 2, and keeps nothing on disk that
 * outlives the run.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../src/lib/clock.js";
import type { GroupStatus } from "../src/cli/workers/status.js";
import type { Case } from "./cases.js";
import { accepting, Child, core, findProgram, freePort } from "./children.js";

/** A broker that accepts connections; of a cluster, the first node comes first. */
export interface RunningBroker {
  readonly ports: readonly number[];
  readonly pids: readonly number[];
  stop(): Promise<void>;
}

/** Nodes of ours. */
export interface RunningNodes extends RunningBroker {
  /** What each has written to standard output. */
  outputs(): string[];
}

export interface Broker {
  readonly name: string;
  /** Whether it can run the case: a cluster, MQTT 5. */
  can(one: Case): boolean;
  /** One that ours is compared with: measured for half the time. */
  readonly isPeer?: true;
  /** Measured at most so many times. */
  readonly runsMax?: number;
  /** Its routes can be measured without a broker. */
  readonly hasRoutes?: true;
  /** Left out unless it is named. */
  readonly special?: true;
  /** Why it cannot be started here, or undefined. */
  missing(): string | undefined;
  version(): string;
  start(clock: Clock, nodes: number): Promise<RunningBroker>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const launcher = join(root, "bin/broker");
const commandMs = 20_000;

/** Trellis as it is built in `folder`. */
export function trellisIn(folder: string, name: string): Broker {
  const program = join(folder, "bin/broker");
  return {
    name,
    can: () => true,
    missing: () => (existsSync(program) ? undefined : `${program} is missing`),
    version: () => packageVersion(join(folder, "package.json")),
    start: (clock, nodes) => startTrellis(clock, nodes, [], program),
  };
}

const trellis: Broker = { ...trellisIn(root, "trellis"), hasRoutes: true };

/** MQTT 3.1.1 and a single node; what is asked of ours besides is not asked of others. */
function isPeersCase({ nodes, args, flood }: Case): boolean {
  return nodes === 1 && flood === undefined && !args.includes("--v5");
}

const aedes: Broker = {
  name: "aedes",
  isPeer: true,
  runsMax: 3,
  can: isPeersCase,
  missing: () =>
    existsSync(join(root, "node_modules/aedes")) ? undefined : "the package aedes is missing",
  version: () => packageVersion(join(root, "node_modules/aedes/package.json")),
  start: (clock) => startPeer(clock, "bench/peers/aedes.ts"),
};

const acceptLoop: Broker = {
  name: "accept loop",
  can: ({ unit }) => unit === "connects/s",
  missing: () => undefined,
  version: () => "of Node",
  start: (clock) => startPeer(clock, "bench/peers/accept-loop.ts"),
};

const mosquitto: Broker = {
  name: "mosquitto",
  isPeer: true,
  can: isPeersCase,
  missing: () => (findProgram("mosquitto") ? undefined : "mosquitto is not installed"),
  version: mosquittoVersion,
  async start(clock) {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), "bench-"));
    const file = join(folder, "mosquitto.conf");
    writeFileSync(file, mosquittoConfig(port));
    const program = findProgram("mosquitto") ?? "mosquitto";
    const child = new Child(clock, program, ["-c", file], core.broker);
    return single(clock, child, port, () => rmSync(folder, { recursive: true, force: true }));
  },
};

/** Trellis with workers: one on the broker's core, or two that share both cores with the load. */
function workers(count: 1 | 2): Broker {
  return {
    ...trellisIn(root, `workers-${count}`),
    name: `workers-${count}`,
    can: ({ nodes }) => nodes === 1,
    special: true,
    start: (clock) => startWorkers(clock, count),
  };
}

export const brokers: readonly Broker[] = [
  ...[trellis, aedes, mosquitto, acceptLoop],
  ...[workers(1), workers(2)],
];

/** No limit on queues and on messages in flight: with its defaults it would drop QoS 1 and 2. */
export function mosquittoConfig(port: number): string {
  return `${[
    `listener ${port} 127.0.0.1`,
    "allow_anonymous true",
    "persistence false",
    "log_dest none",
    "max_inflight_messages 0",
    "max_queued_messages 0",
    "max_queued_bytes 0",
    "set_tcp_nodelay true",
  ].join("\n")}\n`;
}

async function single(
  clock: Clock,
  child: Child,
  port: number,
  cleanUp: () => void = () => undefined,
): Promise<RunningBroker> {
  const stop = async (): Promise<void> => {
    await child.stop();
    cleanUp();
  };
  try {
    await accepting(clock, child, port);
  } catch (error) {
    await stop();
    throw error;
  }
  return { ports: [port], pids: [child.pid], stop };
}

/** A broker that is a program of ours. */
async function startPeer(clock: Clock, file: string): Promise<RunningBroker> {
  const port = await freePort();
  const args = ["--import", "tsx", join(root, file), String(port)];
  return single(clock, new Child(clock, process.execPath, args, core.broker), port);
}

async function startWorkers(clock: Clock, count: 1 | 2): Promise<RunningBroker> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const environment = {
    BROKER_NODE__RUN_DIR: join(folder, "run"),
    BROKER_CLUSTER__COOKIE_FILE: join(folder, "cookie"),
  };
  const port = await freePort();
  const onCores = count === 1 ? core.broker : [core.broker, core.load];
  const broker = (...args: string[]): Child =>
    new Child(clock, process.execPath, [launcher, ...args], onCores, environment);
  const settings = ["--set", `listeners.tcp.port=${port}`, "--data", join(folder, "data")];
  const child = broker("foreground", "--workers", String(count), ...settings);
  const stop = async (): Promise<void> => {
    await child.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await accepting(clock, child, port);
    const started = broker("started");
    if ((await started.end(commandMs)) !== 0) throw new Error(started.tail.trim());
    const status = broker("ctl", "--json", "status");
    if ((await status.end(commandMs)) !== 0) throw new Error(status.tail.trim());
    // Our own command's answer.
    const { workers } = JSON.parse(status.output) as GroupStatus;
    const pids = [child.pid, ...workers.map(({ pid }) => pid ?? 0)];
    return { ports: [port], pids, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Starts `nodes` nodes with these settings (`key=value`), all on the broker's core, and joins them. `flags` are for
 * Node itself.
 */
export async function startTrellis(
  clock: Clock,
  nodes: number,
  more: readonly string[] = [],
  program = launcher,
  flags: readonly string[] = [],
): Promise<RunningNodes> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const children: Child[] = [];
  const ports: number[] = [];
  const environment = {
    BROKER_NODE__RUN_DIR: join(folder, "run"),
    BROKER_CLUSTER__COOKIE_FILE: join(folder, "cookie"),
  };
  mkdirSync(join(folder, "run"), { mode: 0o700 });
  const broker = (...args: string[]): Child =>
    new Child(clock, process.execPath, [...flags, program, ...args], core.broker, environment);
  const stop = async (): Promise<void> => {
    await Promise.all(children.map((child) => child.stop()));
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (let i = 0; i < nodes; i++) {
      const port = await freePort();
      const data = join(folder, `data${i}`);
      const all = [`listeners.tcp.port=${port}`, ...more];
      const settings = all.flatMap((setting) => ["--set", setting]);
      const child = broker("foreground", "--node", nodeName(i), "--data", data, ...settings);
      children.push(child);
      ports.push(port);
      await accepting(clock, child, port);
      if (i > 0) await joined(broker("ctl", "--node", nodeName(i), "join_cluster", nodeName(0)));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const outputs = (): string[] => children.map(({ output }) => output);
  return { ports, pids: children.map(({ pid }) => pid), stop, outputs };
}

function nodeName(i: number): string {
  return `bench${i}@127.0.0.1`;
}

async function joined(command: Child): Promise<void> {
  if ((await command.end(commandMs)) !== 0) throw new Error(`join_cluster: ${command.tail.trim()}`);
}

/** From the first line of its help: "mosquitto version 2.0.11". */
function mosquittoVersion(): string {
  const { stdout } = spawnSync(findProgram("mosquitto") ?? "mosquitto", ["-h"], {
    encoding: "utf8",
  });
  return /version (\S+)/.exec(stdout ?? "")?.[1] ?? "";
}

function packageVersion(file: string): string {
  const content: unknown = JSON.parse(readFileSync(file, "utf8"));
  if (typeof content !== "object" || content === null || !("version" in content)) return "";
  return String(content.version);
}
