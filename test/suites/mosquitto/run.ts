/**
 * `npm run test:mosquitto -- SOURCE [TEST.py ...]`: the byte tests of mosquitto's own source (test/broker), as
 * they are, against nodes of ours in the place of `mosquitto`. SOURCE is the directory of an unpacked
 * mosquitto 2.0.x. A test that fails and is not in `explained` makes the exit code 1. Needs Python 3.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { absent, explained } from "./explained.js";

const atOnce = 2;
const deadlineMs = 300_000;
const [source, ...chosen] = process.argv.slice(2);
if (source === undefined) throw new Error("usage: npm run test:mosquitto -- SOURCE [TEST.py ...]");

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const place = mkdtempSync(join(tmpdir(), "mosquitto-suite-"));
process.once("exit", () => rmSync(place, { recursive: true, force: true }));
prepare(resolve(source));
const tests = chosen.length > 0 ? chosen : allTests();
const firstPort = 20_000 + (process.pid % 2000) * 4;
let failures = 0;
const count = { passed: 0, explained: 0, absent: 0 };

let next = 0;
await Promise.all(
  Array.from({ length: atOnce }, async (_, worker) => {
    for (let test = tests[next++]; test !== undefined; test = tests[next++]) {
      await runTest(test, firstPort + next * 4 + worker * 2000);
    }
  }),
);
const total = tests.length;
process.stdout.write(
  `${total} tests: ${count.passed} passed, ${count.explained} explained, ${count.absent} of what we do not have, ` +
    `${failures} failed\n`,
);
process.exitCode = failures === 0 ? 0 : 1;

/** A copy of the suite, with a program of ours where it looks for mosquitto. */
function prepare(from: string): void {
  cpSync(join(from, "test"), join(place, "test"), { recursive: true });
  mkdirSync(join(place, "src"));
  // The certificates that come with it have expired; this is how they were made.
  spawnSync("bash", ["gen.sh"], { cwd: join(place, "test", "ssl"), stdio: "ignore" });
  const program = join(place, "src", "mosquitto");
  const settings = fileURLToPath(new URL("settings.ts", import.meta.url));
  const tsx = join(repository, "node_modules", "tsx", "dist", "loader.mjs");
  const lines = [
    "#!/bin/bash",
    `mapfile -t arguments < <(${process.execPath} --import ${tsx} ${settings} "$@")`,
    `[ "\${#arguments[@]}" -gt 0 ] || exit 1`,
    `exec ${process.execPath} ${join(repository, "bin", "broker")} foreground "\${arguments[@]}" 1>&2`,
  ];
  writeFileSync(program, `${lines.join("\n")}\n`);
  chmodSync(program, 0o755);
}

/** Those that its makefile runs, but for the ones that the source does not have. */
function allTests(): string[] {
  const makefile = readFileSync(join(place, "test", "broker", "Makefile"), "utf8");
  const names = [...makefile.matchAll(/^\t\.\/(\d\S+\.py)$/gm)].map((match) => match[1] ?? "");
  return names.filter((name) => existsSync(join(place, "test", "broker", name)));
}

async function runTest(test: string, port: number): Promise<void> {
  const missing = absent.find(([pattern]) => pattern.test(test));
  if (missing !== undefined) {
    count.absent++;
    process.stdout.write(`not run   ${test}: it is about ${missing[1]}\n`);
    return;
  }
  const { code, output } = await python(test, port);
  const why = explained[test];
  if (code === 0) count.passed++;
  else if (why !== undefined) count.explained++;
  else failures++;
  const word = code === 0 ? "ok       " : why === undefined ? "FAILED   " : "explained";
  process.stdout.write(`${word} ${test}${code !== 0 && why !== undefined ? `: ${why}` : ""}\n`);
  if (code === 0 || why !== undefined) return;
  const lines = output.split("\n").filter((line) => /FAIL|Received|Expected|Error/.test(line));
  for (const line of lines.slice(0, 8)) process.stdout.write(`            ${line.slice(0, 200)}\n`);
}

function python(test: string, port: number): Promise<{ code: number | null; output: string }> {
  const cwd = join(place, "test", "broker");
  const wanted = Number(/get_port\((\d)\)/.exec(readFileSync(join(cwd, test), "utf8"))?.[1] ?? 1);
  const ports = Array.from({ length: wanted }, (_, i) => String(port + i));
  const child = spawn("python3", [test, ...ports], {
    cwd,
    env: { ...process.env, TMPDIR: place, BROKER_NODE__RUN_DIR: join(place, "run"), HOME: place },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let output = "";
  const take = (bytes: Buffer): void => {
    output += bytes.toString();
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const { pid } = child;
  const end = (): void => {
    // The nodes that it started are in its group.
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // Nobody is left.
    }
  };
  const timer = setTimeout(end, deadlineMs);
  return new Promise((settle) => {
    child.once("close", (code) => {
      clearTimeout(timer);
      end();
      settle({ code, output });
    });
  });
}
