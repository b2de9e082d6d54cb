/** Another process of this program: a node, a worker of one, or a supervisor. */
import { type ChildProcess, spawn } from "node:child_process";
import cluster from "node:cluster";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import type { Dependencies } from "./dependencies.js";
import { type StartOutcome, startOutcome } from "./parent.js";
import { Handoffs } from "./workers/handoffs.js";

/** Of all workers that this process has started. */
const handoffs = new Handoffs();

export interface Child {
  readonly pid: number | undefined;
  /** How its start went; an end before that counts as a refusal. */
  readonly outcome: Promise<StartOutcome>;
  /** Resolves when it has ended, to the exit code or the signal. */
  readonly ended: Promise<number | string>;
  kill(signal: "SIGTERM" | "SIGKILL" | "SIGHUP"): void;
  /** Lets this process end before the child does. */
  release(): void;
}

/**
 * Starts this program again with `args`, its output appended to `logFile`. It gets a process group of its
 * own, so that Ctrl-C reaches only whoever has to stop it.
 */
export function startChild(
  args: readonly string[],
  logFile: string,
  dependencies: Dependencies,
): Child {
  const [program = process.execPath, ...first] = dependencies.self;
  const log = openLog(logFile);
  const child = spawn(program, [...first, ...args], {
    cwd: dependencies.place.cwd,
    detached: true,
    stdio: ["ignore", log, log, "ipc"],
  });
  closeSync(log);
  return asChild(child);
}

/**
 * Starts this program again as a worker of this process: what it listens on, unless it says otherwise, is
 * opened here once and shared by all workers. Output goes to `logFile`, or with null to this terminal.
 */
export function startWorker(
  args: readonly string[],
  logFile: string | null,
  dependencies: Dependencies,
): Child {
  const [, ...first] = dependencies.self;
  const script = first.pop();
  const log = logFile === null ? null : openLog(logFile);
  // In turn, one connection each: left to the system, most would go to one of the workers.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  cluster.setupPrimary({
    ...(script === undefined ? {} : { exec: script }),
    ...{ args: [...args], execArgv: first, cwd: dependencies.place.cwd },
    stdio: ["ignore", log ?? "inherit", log ?? "inherit", "ipc"],
  });
  const { process: child } = cluster.fork();
  handoffs.watch(child);
  if (log !== null) closeSync(log);
  return asChild(child);
}

function openLog(file: string): number {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  return openSync(file, "a", 0o600);
}

function asChild(child: ChildProcess): Child {
  const ended = endOf(child);
  return {
    pid: child.pid,
    outcome: outcomeOf(child, ended),
    ended,
    kill: (signal) => void child.kill(signal),
    release: () => {
      if (child.connected) child.disconnect();
      child.unref();
    },
  };
}

function endOf(child: ChildProcess): Promise<number | string> {
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? signal ?? "unknown"));
    child.once("error", (error) => resolve(error.message));
  });
}

function outcomeOf(child: ChildProcess, ended: Promise<number | string>): Promise<StartOutcome> {
  const told = new Promise<StartOutcome>((resolve) => {
    child.on("message", (message) => {
      const outcome = startOutcome.safeParse(message);
      if (outcome.success) resolve(outcome.data);
    });
  });
  const died = ended.then((how) => ({
    refused: `the process ended (${how}) before it had started`,
  }));
  return Promise.race([told, died]);
}
