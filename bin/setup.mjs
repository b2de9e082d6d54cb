/**
 * `npm start` and `npm test` on a machine with nothing but Node: installs and builds what is missing or
 * out of date, says so, and then runs one node or all tests. Plain JavaScript without dependencies.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fail, nodeProblem, root } from "./common.mjs";

const [task, ...args] = process.argv.slice(2);
const startMs = performance.now();

const problem = nodeProblem();
if (problem !== undefined) fail(problem);
if (task === "start") await start();
else if (task === "test") test();
else fail("use `npm start` or `npm test`");

async function start() {
  prepare();
  const { main } = await import("../dist/cli/main.js");
  process.exitCode = await main(["foreground", ...args]);
}

function test() {
  prepare();
  installPrograms();
  const files = testFiles(args);
  if (files.length === 0) fail(`no test file fits ${args.join(" ")}`);
  say(`running ${files.length} test files`);
  const status = run(process.execPath, [
    ...["--import", "tsx", "--test", "--test-concurrency=2", "--test-timeout=180000"],
    ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
    ...args.filter((word) => word.startsWith("-")),
    ...files,
  ]);
  const seconds = Math.round((performance.now() - startMs) / 1000);
  say(status === 0 ? `all tests passed (${seconds} s)` : `tests FAILED (${seconds} s)`);
  process.exitCode = status === 0 ? 0 : 1;
}

/** Installs and builds, each only when something changed since the last time. */
function prepare() {
  const lock = join(root, "package-lock.json");
  const installed = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installed) || modifiedMs(lock) > modifiedMs(installed)) {
    // Not `npm ci`: it refuses a lock file without the optional packages of other systems. Like it,
    // this keeps to the versions of the lock file and leaves the file alone.
    say("installing the dependencies (npm install --no-save)");
    if (npm(["install", "--no-save", "--no-audit", "--no-fund"]) !== 0) fail("npm install failed");
    const now = Date.now() / 1000;
    utimesSync(installed, now, now);
  }
  const stamp = join(root, "dist/.built");
  const inputs = [
    join(root, "src"),
    join(root, "tsconfig.json"),
    join(root, "tsconfig.build.json"),
  ];
  if (!existsSync(stamp) || Math.max(...inputs.map(newestMs)) > modifiedMs(stamp)) {
    say("building (tsc -p tsconfig.build.json)");
    const began = Date.now() / 1000;
    const tsc = join(root, "node_modules/typescript/bin/tsc");
    if (run(process.execPath, [tsc, "-p", "tsconfig.build.json"]) !== 0) fail("the build failed");
    writeFileSync(stamp, "");
    // A file that is changed during the build counts as newer than it.
    utimesSync(stamp, began, began);
  }
}

/** Some tests speak to programs that are no npm packages. */
function installPrograms() {
  installProgram("mosquitto_sub", ["mosquitto-clients"]);
  // Tests of failing disks compile a few lines of C.
  installProgram("cc", ["gcc", "libc6-dev"]);
  // Where services are managed an installed proxy would be started at once; nobody asked for that.
  const isService = existsSync("/run/systemd/system");
  installProgram("haproxy", ["haproxy"], isService);
  installProgram("redis-server", ["redis-server"], isService);
  installProgram("nginx", ["nginx", "libnginx-mod-stream"], isService);
}

function installProgram(program, packages, onlyByHand = false) {
  if (succeeds(program, ["--help"])) return;
  const names = packages.join(" and ");
  const install = ["install", "-y", "--no-install-recommends", ...packages];
  if (onlyByHand || process.getuid?.() !== 0 || !succeeds("apt-get", ["--version"])) {
    say(`${program} is missing: install ${names} to run the tests that use it`);
    return;
  }
  say(`installing ${names} (apt-get)`);
  if (run("apt-get", install) === 0) return;
  run("apt-get", ["update"]);
  if (run("apt-get", install) !== 0) say(`${names} could not be installed`);
}

/** All test files, or those that are, or are below, what was named. */
function testFiles(named) {
  const all = readdirSync(join(root, "test"), { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join("test", name))
    .sort();
  const paths = named.filter((name) => !name.startsWith("-"));
  if (paths.length === 0) return all;
  const wanted = paths.map((path) => relative(root, resolve(path)));
  return all.filter((file) => wanted.some((path) => file === path || file.startsWith(`${path}/`)));
}

function newestMs(path) {
  const own = modifiedMs(path);
  if (!statSync(path).isDirectory()) return own;
  return Math.max(own, ...readdirSync(path).map((name) => newestMs(join(path, name))));
}

function modifiedMs(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}

function npm(words) {
  const script = process.env.npm_execpath;
  return script?.endsWith(".js") ? run(process.execPath, [script, ...words]) : run("npm", words);
}

function run(program, words) {
  return spawnSync(program, words, { cwd: root, stdio: "inherit" }).status ?? 1;
}

function succeeds(program, words) {
  const result = spawnSync(program, words, { stdio: "ignore" });
  return result.error === undefined;
}

function say(sentence) {
  console.log(`trellis: ${sentence}`);
}
