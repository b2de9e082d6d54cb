/**
 * Keeps one node running in the background: starts it again after a crash, waiting longer each time, and
 * leaves it down when it crashes too often. It answers on a socket of its own, so that a node can be
 * stopped also while it is down between two tries.
 */
import { rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { Backoff } from "../lib/backoff.js";
import { sleep } from "../lib/clock.js";
import { createLog, type Log } from "../lib/log.js";
import { type Child, startChild } from "./child.js";
import type { Dependencies } from "./dependencies.js";
import { argumentsOf, type CommonOptions, configOf } from "./options.js";
import { tellParent } from "./parent.js";
import { onReloadSignal, onStopSignal } from "./signals.js";

/** Path of the socket of a node's supervisor. A line of `stop` to it is obeyed; it ends when all has. */
export function supervisorPath(runDir: string, name: string): string {
  return join(runDir, `${name}.supervisor.sock`);
}

/** What is written to that socket. */
export const stopWord = "stop\n";

/** Path of the log of a node in the background. */
export function logPath(dataDir: string): string {
  return join(dataDir, "broker.log");
}

/** Runs until the node was stopped or is given up. Returns the exit code. */
export async function supervise(
  options: CommonOptions,
  dependencies: Dependencies,
): Promise<number> {
  const { config } = configOf(options, dependencies);
  const { name, data_dir: dataDir, run_dir: runDir } = config.node;
  const log = createLog("info").child({ supervisor: name });
  const start = (): Child => {
    return startChild(["foreground", ...argumentsOf(options)], logPath(dataDir), dependencies);
  };
  const supervisor = new Supervisor(start, log, dependencies);
  onStopSignal(dependencies.clock, () => void supervisor.stop());
  onReloadSignal(() => supervisor.reload());
  // The first start comes before the socket: the node makes the run directory and checks it.
  const first = await supervisor.startFirst();
  tellParent(first);
  if ("refused" in first) return 1;
  const path = supervisorPath(runDir, name);
  const waiting = new Set<Socket>();
  const server = await listen(path, waiting, () => void supervisor.stop());
  try {
    return await supervisor.run();
  } finally {
    await rm(path, { force: true });
    server.close();
    // Those who asked for the stop wait for the end of their connections.
    for (const socket of waiting) socket.destroy();
    if (process.connected) process.disconnect();
  }
}

class Supervisor {
  private child: Child | undefined;
  private stopping = false;
  private readonly backoff: Backoff;
  /** When it crashed, within the window. */
  private crashesMs: number[] = [];
  private wake: () => void = () => undefined;

  constructor(
    private readonly start: () => Child,
    private readonly log: Log,
    private readonly dependencies: Dependencies,
  ) {
    const { firstWaitMs, mostWaitMs } = dependencies.supervision;
    this.backoff = new Backoff(dependencies.random, firstWaitMs, mostWaitMs);
  }

  /** A node that refuses its very first start would refuse the next one too: it is not repeated. */
  startFirst(): Child["outcome"] {
    this.child = this.start();
    return this.child.outcome;
  }

  async run(): Promise<number> {
    for (;;) {
      const how = await this.child?.ended;
      if (this.stopping || how === 0) return 0;
      this.child = undefined;
      if (this.isTooOften()) {
        const { crashesMax, windowMs } = this.dependencies.supervision;
        const text = `left down after ${crashesMax} crashes in ${windowMs / 1000} s`;
        this.log.error({ how }, `the node is ${text}; \`broker start\` starts it again`);
        return 1;
      }
      const waitMs = Math.round(this.backoff.nextMs());
      this.log.warn({ how, waitMs }, "the node has crashed and will be started again");
      await this.pause(waitMs);
      if (this.stopping) return 0;
      this.child = this.start();
    }
  }

  /** Has the node read its files again; one that is down will when it starts. */
  reload(): void {
    this.child?.kill("SIGHUP");
  }

  /** Stops the node; `run` then returns. */
  async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.wake();
    const child = this.child;
    if (child === undefined) return;
    child.kill("SIGTERM");
    const late = sleep(this.dependencies.clock, this.dependencies.supervision.stopMs);
    const how = await Promise.race([late.then(() => "late"), child.ended]);
    if (how !== "late") return;
    this.log.error({}, "the node does not stop and is killed");
    child.kill("SIGKILL");
  }

  private isTooOften(): boolean {
    const { crashesMax, windowMs } = this.dependencies.supervision;
    const nowMs = this.dependencies.clock.monotonicMs();
    this.crashesMs = this.crashesMs.filter((crashMs) => nowMs - crashMs < windowMs);
    if (this.crashesMs.length === 0) this.backoff.reset();
    this.crashesMs.push(nowMs);
    return this.crashesMs.length >= crashesMax;
  }

  private pause(waitMs: number): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    return Promise.race([woken, sleep(this.dependencies.clock, waitMs)]);
  }
}

async function listen(path: string, waiting: Set<Socket>, onStop: () => void): Promise<Server> {
  // The node of this name is ours, so nobody else's supervisor can be behind the path.
  await rm(path, { force: true });
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      waiting.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => waiting.delete(socket));
      socket.on("data", (bytes) => {
        if (bytes.toString("utf8").startsWith(stopWord)) onStop();
      });
    });
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}
