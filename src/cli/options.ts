/** The options that every command takes, and the configuration that they lead to. */
import type { GivenText } from "../config/environment.js";
import { type LoadedConfig, loadConfig, parseSetFlag } from "../config/load.js";
import type { Dependencies } from "./dependencies.js";
import { UsageError } from "./usage.js";

/** As yargs is told about them. */
export const commonOptions = {
  config: { type: "string", requiresArg: true, describe: "YAML file with settings" },
  node: { type: "string", requiresArg: true, describe: "name of the node, name@host" },
  data: { type: "string", requiresArg: true, describe: "data directory" },
  "cookie-file": { type: "string", requiresArg: true, describe: "file with the cluster's secret" },
  workers: {
    type: "string",
    requiresArg: true,
    describe: "so many broker processes behind the same ports",
  },
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
  readonly workers?: string | undefined;
  readonly set?: readonly string[] | undefined;
}

/** For yargs: an option that stands for one thing was given once. */
export function refuseTwice(argv: Readonly<Record<string, unknown>>): true {
  for (const name of ["config", "node", "data", "cookie-file", "workers"]) {
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
    ...(options.workers === undefined ? [] : ["--workers", options.workers]),
  ];
}

function flagsOf(options: CommonOptions): GivenText[] {
  const flags = (options.set ?? []).map(parseSetFlag);
  const named = {
    ...{ node: "node.name", data: "node.data_dir", workers: "node.workers" },
    "cookie-file": "cluster.cookie_file",
  };
  for (const [flag, key] of Object.entries(named)) {
    // The keys of `named` are options whose values are texts.
    const text = options[flag as keyof typeof named];
    if (text !== undefined) flags.push({ key, text, origin: `--${flag}` });
  }
  return flags;
}
