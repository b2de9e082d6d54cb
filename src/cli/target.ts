/** Which node on this machine a command is for: one process, or one with workers. */
import { readdir } from "node:fs/promises";
import { liveNodes } from "../admin/ctl-client.js";
import type { LoadedConfig } from "../config/load.js";
import { Refusal } from "../lib/refusal.js";
import {
  askState,
  nodeOfSupervisor,
  supervisorPath,
  type WorkerState,
} from "./supervisor-socket.js";

export interface Target {
  readonly name: string;
  readonly runDir: string;
  /** Null: the node is one process. */
  readonly workers: readonly WorkerState[] | null;
}

/**
 * The node that is named by a flag, the environment or the file, else the only one that runs. It need not run.
 * @throws Refusal when none or several could be meant
 */
export async function findTarget({ config, changed }: LoadedConfig): Promise<Target> {
  const { run_dir: runDir } = config.node;
  if (changed.some(({ key }) => key === "node.name")) return targetOf(runDir, config.node.name);
  const groups = await liveGroups(runDir);
  const workers = new Set(groups.flatMap((group) => group.workers?.map(({ name }) => name) ?? []));
  const nodes = (await liveNodes(runDir)).filter((name) => !workers.has(name));
  const plain = nodes.map((name): Target => ({ name, runDir, workers: null }));
  const all = [...groups, ...plain];
  const [only] = all;
  if (only === undefined) {
    throw new Refusal(
      `no node runs here (nothing answers in ${runDir}): start one with \`broker start\``,
    );
  }
  if (all.length === 1) return only;
  const names = all.map(({ name }) => name).join(", ");
  throw new Refusal(`several nodes run here (${names}): say which with --node NAME`);
}

/** The node of this name; it need not run. */
export async function targetOf(runDir: string, name: string): Promise<Target> {
  const state = await askState(supervisorPath(runDir, name));
  return { name, runDir, workers: state?.workers ?? null };
}

/** The nodes with workers whose supervisors answer. */
async function liveGroups(runDir: string): Promise<Target[]> {
  const files = await readdir(runDir).catch(() => []);
  const groups: Target[] = [];
  for (const file of files.sort()) {
    const name = nodeOfSupervisor(file);
    if (name === undefined) continue;
    const target = await targetOf(runDir, name);
    if (target.workers !== null) groups.push(target);
  }
  return groups;
}
