/** The options that every command takes, and the configuration that they lead to. */
import { liveNodes } from "../admin/ctl-client.js";
import type { GivenText } from "../config/environment.js";
import { type LoadedConfig, loadConfig, parseSetFlag } from "../config/load.js";
import { Refusal } from "../lib/refusal.js";
import type { Dependencies } from "./dependencies.js";
import { UsageError } from "./usage.js";

/** As yargs is told about them. */
export const commonOptions = {
  config: { type: "string", requiresArg: true, describe: "YAML file with settings" },
  node: { type: "string", requiresArg: true, describe: "name of the node, name@host" },
  data: { type: "string", requiresArg: true, describe: "data directory" },
  "cookie-file": { type: "string", requiresArg: true, describe: "file with the cluster's secret" },
  set: {
    type: "string",
    array: true,
    nargs: 1,
    describe: "one setting, key=value; may be given several times",
  },
} as const;

/** The common options as given. */
export interface CommonOptions {
  readonly config?: string | undefined;
  readonly node?: string | undefined;
  readonly data?: string | undefined;
  readonly "cookie-file"?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** For yargs: an option that stands for one thing was given once. */
export function refuseTwice(argv: Readonly<Record<string, unknown>>): true {
  for (const name of ["config", "node", "data", "cookie-file"]) {
    if (Array.isArray(argv[name])) throw new UsageError(`--${name} is given more than once`);
  }
  return true;
}

/** Loads the configuration. @throws Refusal when it is wrong */
export function configOf(options: CommonOptions, dependencies: Dependencies): LoadedConfig {
  const { environment, place } = dependencies;
  return loadConfig({ file: options.config, environment, flags: flagsOf(options), place });
}

/** The common options as arguments for another process of this program. */
export function argumentsOf(options: CommonOptions): string[] {
  return [
    ...(options.config === undefined ? [] : ["--config", options.config]),
    ...(options.set ?? []).flatMap((pair) => ["--set", pair]),
    ...(options.node === undefined ? [] : ["--node", options.node]),
    ...(options.data === undefined ? [] : ["--data", options.data]),
    ...(options["cookie-file"] === undefined ? [] : ["--cookie-file", options["cookie-file"]]),
  ];
}

/**
 * Which of the nodes on this machine is meant: the one named by a flag, the environment or the file, else
 * the only one that runs.
 * @throws Refusal when none or several could be meant
 */
export async function findNode({ config, changed }: LoadedConfig): Promise<string> {
  if (changed.some(({ key }) => key === "node.name")) return config.node.name;
  const live = await liveNodes(config.node.run_dir);
  const [only] = live;
  if (only === undefined) {
    throw new Refusal(
      `no node runs here (nothing answers in ${config.node.run_dir}): start one with \`broker start\``,
    );
  }
  if (live.length === 1) return only;
  throw new Refusal(`several nodes run here (${live.join(", ")}): say which with --node NAME`);
}

function flagsOf(options: CommonOptions): GivenText[] {
  const flags = (options.set ?? []).map(parseSetFlag);
  const named = { node: "node.name", data: "node.data_dir", "cookie-file": "cluster.cookie_file" };
  for (const [flag, key] of Object.entries(named)) {
    // The keys of `named` are options whose values are texts.
    const text = options[flag as keyof typeof named];
    if (text !== undefined) flags.push({ key, text, origin: `--${flag}` });
  }
  return flags;
}
