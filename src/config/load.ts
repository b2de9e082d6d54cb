/**
 * Folds file, environment and flags into one configuration, in that order: the later wins. Everything
 * that is wrong is collected, and each problem names the key, where it was given, and what is allowed.
 */
import { resolve } from "node:path";
import { Refusal } from "../lib/refusal.js";
import { authProblems, withKeyPaths } from "./auth-settings.js";
import type { Environment, GivenText } from "./environment.js";
import { type FileContent, readConfigFile } from "./file.js";
import { listenerProblems, withPaths } from "./listeners.js";
import { redisProblems, withRedisPaths } from "./redis-settings.js";
import { type Config, configSchema } from "./schema.js";
import { settings, unknownKey } from "./settings.js";

export interface ConfigSources {
  /** Path of the YAML file, if there is one. */
  readonly file: string | undefined;
  readonly environment: Environment;
  /** `--set` and the flags that stand for a setting. */
  readonly flags: readonly GivenText[];
  /** What relative paths, `~` and the default of the run directory are worked out from. */
  readonly place: { readonly cwd: string; readonly home: string; readonly uid: number };
}

/** A setting that is not at its default. */
export interface ChangedSetting {
  readonly key: string;
  /** As a file would hold it. */
  readonly value: string;
  readonly defaultText: string;
  /** `file:line`, an environment variable, or a flag. */
  readonly origin: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly changed: readonly ChangedSetting[];
}

/** The configuration is refused. The message is the first problem; `problems` holds all of them. */
export class ConfigRefusal extends Refusal {
  constructor(readonly problems: readonly string[]) {
    const more = problems.length - 1;
    const rest = more > 0 ? ` (and ${more} more; \`broker config check\` lists them)` : "";
    super(`${problems[0]}${rest}`);
  }
}

interface Given {
  readonly value: unknown;
  readonly origin: string;
}

/**
 * Reads and checks the whole configuration.
 * @throws ConfigRefusal when anything is wrong
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const none: FileContent = { values: [], problems: [] };
  const file = sources.file === undefined ? none : readConfigFile(sources.file);
  const problems = [...file.problems, ...sources.environment.problems];
  const given = new Map<string, Given>();
  for (const { key, value, origin } of file.values) given.set(key, { value, origin });
  for (const { key, text, origin } of [...sources.environment.settings, ...sources.flags]) {
    const setting = settings.get(key);
    if (setting === undefined) problems.push(`${origin}: ${unknownKey(key)}`);
    else given.set(key, { value: setting.info.fromText(text), origin });
  }
  problems.push(...checkEach(given));
  if (problems.length > 0) throw new ConfigRefusal(problems);
  const config = configSchema.parse(asTree(given));
  const conflicts = checkTogether(config, given);
  if (conflicts.length > 0) throw new ConfigRefusal(conflicts);
  const changed = changedSettings(config, given);
  return { config: workOut(config, sources), changed };
}

/** The value of one setting, by its dotted key. */
export function settingValue(config: Config, key: string): unknown {
  let value: unknown = config;
  for (const word of key.split(".")) {
    // A key of a setting leads through objects only.
    value = (value as Record<string, unknown>)[word];
  }
  return value;
}

/** Splits the argument of `--set`. @throws Refusal when there is no `=` */
export function parseSetFlag(argument: string): GivenText {
  const at = argument.indexOf("=");
  if (at <= 0) throw new Refusal(`--set ${argument}: write it as --set key=value`);
  const key = argument.slice(0, at).trim();
  return { key, text: argument.slice(at + 1), origin: `--set ${key}` };
}

function checkEach(given: ReadonlyMap<string, Given>): string[] {
  const problems: string[] = [];
  for (const [key, { value, origin }] of given) {
    const setting = settings.get(key);
    if (setting === undefined || (value !== undefined && setting.leaf.safeParse(value).success))
      continue;
    const { allowed, problem } = setting.info;
    const rest = problem?.(value) ?? ` is ${JSON.stringify(value)}; it must be ${allowed}`;
    problems.push(`${origin}: ${key}${rest}`);
  }
  return problems;
}

/** What is allowed one by one, and wrong together. */
function checkTogether(config: Config, given: ReadonlyMap<string, Given>): string[] {
  const problems: string[] = [];
  const refuse = (key: string, other: string, sentence: string): void => {
    const origin = given.get(key)?.origin ?? given.get(other)?.origin ?? "default";
    problems.push(`${origin}: ${sentence}`);
  };
  const { cluster, limits } = config;
  if (cluster.suspect_after <= 2 * cluster.heartbeat_interval) {
    const sentence = "cluster.suspect_after must be longer than twice cluster.heartbeat_interval";
    refuse("cluster.suspect_after", "cluster.heartbeat_interval", sentence);
  }
  if (limits.max_packet_before_connect > limits.max_packet) {
    const sentence = "limits.max_packet_before_connect must not be larger than limits.max_packet";
    refuse("limits.max_packet_before_connect", "limits.max_packet", sentence);
  }
  for (const { key, sentence } of authProblems(config.auth)) refuse(key, "auth.methods", sentence);
  for (const { key, sentence } of redisProblems(config.store.redis)) {
    refuse(key, "store.redis.mode", sentence);
  }
  for (const { key, sentence } of listenerProblems(config.listeners)) {
    refuse(key, key.replace(/[^.]*$/, "enabled"), sentence);
  }
  return problems;
}

function asTree(given: ReadonlyMap<string, Given>): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  for (const [key, { value }] of given) {
    const words = key.split(".");
    const last = words.pop() ?? key;
    let branch = tree;
    // Every branch was made here; no setting's key is the beginning of another's.
    for (const word of words) branch = (branch[word] ??= {}) as Record<string, unknown>;
    branch[last] = value;
  }
  return tree;
}

function changedSettings(config: Config, given: ReadonlyMap<string, Given>): ChangedSetting[] {
  const standard = configSchema.parse({});
  const changed: ChangedSetting[] = [];
  for (const [key, { info }] of settings) {
    const origin = given.get(key)?.origin;
    const value = settingValue(config, key);
    if (origin === undefined) continue;
    if (JSON.stringify(value) === JSON.stringify(settingValue(standard, key))) continue;
    changed.push({ key, value: info.format(value), defaultText: info.defaultText, origin });
  }
  return changed;
}

/** Fills in what depends on the machine, and makes paths absolute. */
function workOut(config: Config, sources: ConfigSources): Config {
  const { cwd, home, uid } = sources.place;
  const path = (text: string): string => resolve(cwd, text.replace(/^~(?=\/|$)/, home));
  const { runtimeDir } = sources.environment;
  const runDir = runtimeDir === undefined ? `/tmp/trellis-${uid}` : `${runtimeDir}/trellis`;
  const { name, data_dir, run_dir, workers } = config.node;
  const dataDir = path(data_dir || `data/${name}`);
  const { auth, cluster } = config;
  return {
    ...config,
    node: { name, data_dir: dataDir, run_dir: path(run_dir || runDir), workers },
    listeners: withPaths(config.listeners, path),
    auth: {
      ...auth,
      users_file: path(auth.users_file || `${dataDir}/users.json`),
      acl_file: auth.acl_file === "" ? "" : path(auth.acl_file),
      jwt: withKeyPaths(auth.jwt, path),
    },
    store: { ...config.store, redis: withRedisPaths(config.store.redis, path) },
    cluster: { ...cluster, cookie_file: path(cluster.cookie_file) },
  };
}
