/**
 * The benchmark guard: does this tree do more or less per CPU second than an earlier commit? Both run the same cases
 * in turn, the one that goes first changing each time, so that a slow minute meets both. For developers; what it
 * prints is a ratio of noisy figures, and no verdict.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "../src/cli/bench/histogram.js";
import { UsageError } from "../src/cli/usage.js";
import { type Broker, trellisIn } from "./brokers.js";
import { type Case, cases } from "./cases.js";
import { stopAll } from "./children.js";
import { measure } from "./measure.js";
import { seconds, whole } from "./options.js";

const usage = `usage: npm run bench:guard -- [options]
  --base COMMIT    what to compare with (the last tag)
  --pairs N (5)    runs of each
  --seconds N (2)  --warm-up N (1)    of each run
  --only CASE[,...]
`;

/** What most changes touch, at the least price. */
const usual = ["1to1-qos0", "1to1-qos1", "1to1-qos2", "fanout-qos0", "fanin-qos1", "mixed-qos1"];
const root = fileURLToPath(new URL("..", import.meta.url));

interface GuardOptions {
  readonly base: string;
  readonly pairs: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly mqttload: null;
  readonly cases: readonly Case[];
}

/** Messages per CPU second of both, in pairs. */
type Pairs = [base: number, head: number][];

async function guard(options: GuardOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-guard-"));
  const tree = join(folder, "tree");
  git("worktree", "add", "--detach", "--quiet", tree, options.base);
  try {
    // The same packages for both: it is our code that is compared.
    symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    const built = spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: tree });
    if (built.status !== 0) throw new Error(`${options.base} cannot be built: ${built.stdout}`);
    const base = trellisIn(tree, "base");
    const head = trellisIn(root, "head");
    console.log(`messages per broker CPU second, this tree against ${options.base}`);
    console.log("| case | base | this tree | ratio | least – most of the pairs |");
    console.log("| --- | ---: | ---: | ---: | ---: |");
    for (const one of options.cases) console.log(row(one, await paired(one, base, head, options)));
  } finally {
    await stopAll();
    git("worktree", "remove", "--force", tree);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function paired(
  one: Case,
  base: Broker,
  head: Broker,
  options: GuardOptions,
): Promise<Pairs> {
  const pairs: Pairs = [];
  for (let i = 0; i < options.pairs; i++) {
    const first = i % 2 === 0 ? base : head;
    const second = first === base ? head : base;
    const a = (await measure(one, first, options)).perCpuSecond ?? Number.NaN;
    const b = (await measure(one, second, options)).perCpuSecond ?? Number.NaN;
    pairs.push(first === base ? [a, b] : [b, a]);
    console.error(`${one.id}, pair ${i + 1} of ${options.pairs}`);
  }
  return pairs;
}

function row(one: Case, pairs: Pairs): string {
  const base = median(pairs.map(([value]) => value));
  const head = median(pairs.map(([, value]) => value));
  const ratios = pairs.map(([a, b]) => b / a);
  const range = `${Math.min(...ratios).toFixed(2)} – ${Math.max(...ratios).toFixed(2)}`;
  const [before, now] = [base, head].map((value) => Math.round(value).toLocaleString("en-US"));
  return `| ${one.title} | ${before} | ${now} | ${median(ratios).toFixed(2)} | ${range} |`;
}

/** Runs git here and returns what it prints. @throws Error when it fails */
function git(...words: string[]): string {
  const { status, stdout, stderr } = spawnSync("git", words, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`git ${words[0]}: ${stderr.trim()}`);
  return stdout.trim();
}

function lastTag(): string {
  try {
    return git("describe", "--tags", "--abbrev=0");
  } catch {
    throw new UsageError("there is no tag to compare with: name a commit with --base");
  }
}

function parse(args: readonly string[]): GuardOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      base: { type: "string" },
      pairs: { type: "string", default: "5" },
      seconds: { type: "string", default: "2" },
      "warm-up": { type: "string", default: "1" },
      only: { type: "string", default: usual.join(",") },
    },
  });
  const names = values.only.split(",");
  const unknown = names.find((name) => !cases.some(({ id }) => id === name));
  if (unknown !== undefined) throw new UsageError(`--only: there is no case ${unknown}`);
  return {
    base: git("rev-parse", "--short", "--verify", `${values.base ?? lastTag()}^{commit}`),
    pairs: whole("pairs", values.pairs, 1, 100),
    durationMs: seconds("seconds", values.seconds, 0.1),
    warmUpMs: seconds("warm-up", values["warm-up"], 0),
    mqttload: null,
    cases: cases.filter(({ id }) => names.includes(id)),
  };
}

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(usage);
    return 0;
  }
  try {
    await guard(parse(args));
    return 0;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // The measurement under way fails then, and what was made is taken away again.
  process.once(signal, () => void stopAll());
}
process.exitCode = await main(process.argv.slice(2));
