/** `broker start`, `stop` and `started`: a node in the background, seen from outside. */
import { answers, request } from "../admin/ctl-client.js";
import { ctlPath } from "../admin/ctl-protocol.js";
import { alreadyRuns } from "../admin/ctl-server.js";
import { readCookie } from "../config/cookie.js";
import { sleep } from "../lib/clock.js";
import { Refusal } from "../lib/refusal.js";
import { startChild } from "./child.js";
import type { Dependencies } from "./dependencies.js";
import { logPath } from "./log-path.js";
import { argumentsOf, type CommonOptions, configOf } from "./options.js";
import { startReportText } from "./start-report.js";
import { askState, askToStop, supervisorPath } from "./supervisor-socket.js";
import { findTarget } from "./target.js";
import { planWorkers, refuseWorkersData } from "./workers/plan.js";

const pollMs = 50;

/** Starts a node under a supervisor, and waits until it answers. */
export async function start(
  options: CommonOptions,
  wait: boolean,
  dependencies: Dependencies,
): Promise<number> {
  const { environment, random, terminal, version } = dependencies;
  const loaded = configOf(options, dependencies);
  const { name, run_dir: runDir, data_dir: dataDir } = loaded.config.node;
  const path = ctlPath(runDir, name);
  if (await answers(path)) throw new Refusal(alreadyRuns(name, path));
  const state = await askState(supervisorPath(runDir, name));
  if (state !== undefined) {
    if (state.workers !== null) throw new Refusal(alreadyRuns(name, supervisorPath(runDir, name)));
    throw new Refusal(
      `the node ${name} has crashed and is about to be started again; \`broker stop\` ends that`,
    );
  }
  // Said here and now rather than in a log file.
  if (loaded.config.node.workers === 0) refuseWorkersData(loaded.config.node);
  else await planWorkers(loaded.config);
  readCookie(loaded.config.cluster.cookie_file, environment.cookie, random);
  const log = logPath(dataDir);
  const supervisor = startChild(["supervise", ...argumentsOf(options)], log, dependencies);
  if (!wait) {
    supervisor.release();
    terminal.print(`The node ${name} is being started; its log is ${log}`);
    return 0;
  }
  const outcome = await supervisor.outcome;
  supervisor.release();
  if ("refused" in outcome) {
    throw new Refusal(`the node ${name} did not start: ${outcome.refused} (log: ${log})`);
  }
  terminal.print(startReportText(outcome.started, version, loaded));
  terminal.print(`Log: ${log}`);
  return 0;
}

/** Stops a node, its supervisor first, and waits until both have ended. */
export async function stop(options: CommonOptions, dependencies: Dependencies): Promise<number> {
  const loaded = configOf(options, dependencies);
  const { name, runDir } = await findTarget(loaded);
  const supervised = await askToStop(supervisorPath(runDir, name));
  if (!supervised && !(await stopUnsupervised(ctlPath(runDir, name), name, dependencies))) {
    throw new Refusal(`no node named ${name} runs here`);
  }
  dependencies.terminal.print(`The node ${name} has been stopped`);
  return 0;
}

/** Waits until the node answers, at most `timeoutS` seconds. */
export async function started(
  options: CommonOptions,
  timeoutS: number,
  dependencies: Dependencies,
): Promise<number> {
  const { clock, terminal } = dependencies;
  const loaded = configOf(options, dependencies);
  const deadlineMs = clock.monotonicMs() + timeoutS * 1000;
  for (;;) {
    const problem = await whyNotStarted(loaded);
    if (problem === undefined) break;
    if (clock.monotonicMs() >= deadlineMs) {
      throw new Refusal(`${problem} (waited ${timeoutS} s)`);
    }
    await sleep(clock, pollMs);
  }
  terminal.print(`The node ${(await findTarget(loaded)).name} is running`);
  return 0;
}

async function whyNotStarted(loaded: ReturnType<typeof configOf>): Promise<string | undefined> {
  try {
    const { name, runDir, workers } = await findTarget(loaded);
    for (const each of workers?.map((worker) => worker.name) ?? [name]) {
      const response = await request(ctlPath(runDir, each), { command: "report" }, 5000);
      if (!("ok" in response && response.ok)) return "the node refuses to answer";
    }
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error.message;
    throw error;
  }
}

/** Stops a node that runs in somebody's foreground. False: nobody answers. */
async function stopUnsupervised(
  path: string,
  name: string,
  { clock, supervision }: Dependencies,
): Promise<boolean> {
  if (!(await answers(path))) return false;
  const response = await request(path, { command: "stop" });
  if (!("ok" in response) || !response.ok) throw new Refusal(`the node ${name} refuses to stop`);
  const pid = pidOf(response.result);
  const deadlineMs = clock.monotonicMs() + supervision.stopMs;
  while ((await answers(path)) || isAlive(pid)) {
    if (clock.monotonicMs() > deadlineMs) throw new Refusal(`the node ${name} is still stopping`);
    await sleep(clock, pollMs);
  }
  return true;
}

function pidOf(result: unknown): number | undefined {
  const has = typeof result === "object" && result !== null && "pid" in result;
  return has && typeof result.pid === "number" ? result.pid : undefined;
}

function isAlive(pid: number | undefined): boolean {
  if (pid === undefined || pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
