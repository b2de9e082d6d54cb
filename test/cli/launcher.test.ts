/** The launcher and the set-up say what is missing instead of failing in a riddle. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../bin", import.meta.url));

/** A package without anything but its launcher. */
function bare(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "trellis-bin-"));
  t.after(() => rmSync(folder, { recursive: true }));
  cpSync(bin, join(folder, "bin"), { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  return folder;
}

function run(folder: string, script: string, ...words: string[]) {
  const result = spawnSync(process.execPath, [join(folder, "bin", script), ...words], {
    encoding: "utf8",
  });
  return { code: result.status, output: result.stdout, errors: result.stderr };
}

test("without a build the launcher says what to run", (t) => {
  assert.deepEqual(run(bare(t), "broker", "start"), {
    ...{ code: 1, output: "" },
    errors:
      "Error: Trellis is not built yet: run `npm start`, which installs, builds and starts a node\n",
  });
});

test("without its dependencies the launcher says what to run", (t) => {
  const folder = bare(t);
  mkdirSync(join(folder, "dist", "cli"), { recursive: true });
  writeFileSync(join(folder, "dist", "cli", "main.js"), 'import "yargs";');
  writeFileSync(join(folder, "package-lock.json"), "{}");
  const { code, errors } = run(folder, "broker", "start");
  assert.equal(code, 1);
  assert.match(errors, /^Error: the dependencies are not installed: run `npm start`/);
});

test("the launcher hands words and exit code through", (t) => {
  const folder = bare(t);
  mkdirSync(join(folder, "dist", "cli"), { recursive: true });
  const main = "export const main = async (words) => { console.log(words.join()); return 2; };";
  writeFileSync(join(folder, "dist", "cli", "main.js"), main);
  assert.deepEqual(run(folder, "broker", "a", "--b"), { code: 2, output: "a,--b\n", errors: "" });
});

test("a Node that is too old is told which one is needed", (t) => {
  const folder = bare(t);
  const old = join(folder, "bin", "old.mjs");
  const code =
    'import { nodeProblem } from "./common.mjs"; console.log(process.argv.slice(2).map(nodeProblem).join("|"));';
  writeFileSync(old, code.replace("map(nodeProblem)", "map((version) => nodeProblem(version))"));
  const { output } = run(folder, "old.mjs", "18.20.4", "20.18.3", "20.19.0", "22.0.0");
  assert.equal(
    output,
    "Trellis needs Node 20.19 or newer, this is 18.20.4|Trellis needs Node 20.19 or newer, this is 20.18.3||\n",
  );
});

test("the set-up knows two tasks", (t) => {
  const { code, errors } = run(bare(t), "setup.mjs", "sing");
  assert.deepEqual([code, errors], [1, "Error: use `npm start` or `npm test`\n"]);
});
