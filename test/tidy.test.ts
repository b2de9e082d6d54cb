/**
 * The house rules that a machine can check: the direction of imports, lengths, who may touch time,
 * randomness, the environment and the terminal, and that lint, format and types are clean.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Node, SourceFile } from "typescript/unstable/ast";
import { SyntaxKind } from "typescript/unstable/ast";
import {
  isCallExpression,
  isExportDeclaration,
  isFunctionLikeDeclaration,
  isIdentifier,
  isImportDeclaration,
  isNewExpression,
  isPropertyAccessExpression,
  isStringLiteral,
} from "typescript/unstable/ast/is";
import { API } from "typescript/unstable/sync";

const root = fileURLToPath(new URL("..", import.meta.url));
const fileLinesMax = 600;
const functionLinesMax = 70;

/** Leftmost first; a file imports only from its own folder or from folders to the right of it. */
const layers = [
  ...["cli", "broker", "admin", "net", "session", "routing", "cluster"],
  ...["auth", "store", "config", "protocol", "lib"],
];
/** Folders that know less than their place in the order would allow. */
const narrower: Record<string, readonly string[]> = { cluster: ["store", "config", "lib"] };

/** What only one file may use. A name with a dot is a member of a global, any other a function. */
const owners: Record<string, string> = {
  "Date.now": "src/lib/clock.ts",
  "performance.now": "src/lib/clock.ts",
  "process.hrtime": "src/lib/clock.ts",
  setTimeout: "src/lib/clock.ts",
  setInterval: "src/lib/clock.ts",
  setImmediate: "src/lib/clock.ts",
  "Math.random": "src/lib/random.ts",
  randomBytes: "src/lib/random.ts",
  randomUUID: "src/lib/random.ts",
  "process.env": "src/config/environment.ts",
  "process.stdout": "src/cli/output.ts",
  "process.stderr": "src/cli/output.ts",
  console: "src/cli/output.ts",
};

interface File {
  readonly path: string;
  readonly text: string;
  readonly tree: SourceFile;
}

const files = readTree(["src", "test", "bench"]);
const sources = files.filter((file) => file.path.startsWith("src/"));

test("imports point down the list of folders", () => {
  const wrong: string[] = [];
  for (const file of sources) {
    for (const target of importsOf(file)) {
      const from = layerOf(file.path);
      const to = layerOf(target);
      if (from === to) continue;
      const allowed = narrower[from] ?? layers.slice(layers.indexOf(from) + 1);
      if (!allowed.includes(to)) wrong.push(`${file.path}: imports ${target}`);
    }
  }
  none(wrong);
});

test("every file of src opens with a comment that says what it owns", () => {
  none(sources.filter((file) => !file.text.startsWith("/**")).map((file) => file.path));
});

test(`no file is longer than ${fileLinesMax} lines`, () => {
  const long = files.filter((file) => file.text.split("\n").length - 1 > fileLinesMax);
  none(long.map((file) => file.path));
});

test(`no function is longer than ${functionLinesMax} lines`, () => {
  const wrong: string[] = [];
  for (const file of files) {
    walk(file.tree, (node) => {
      if (!isFunctionLikeDeclaration(node)) return;
      const first = lineOf(file, node.getStart(file.tree));
      const lines = lineOf(file, node.end) - first + 1;
      if (lines > functionLinesMax) wrong.push(`${file.path}:${first}: ${lines} lines`);
    });
  }
  none(wrong);
});

test("time, randomness, environment and terminal are used in one file each", () => {
  const wrong: string[] = [];
  for (const file of sources) {
    walk(file.tree, (node) => {
      const name = bannedName(node, file.tree);
      if (name !== undefined && owners[name] !== file.path) wrong.push(place(file, node, name));
    });
  }
  none(wrong);
});

test("no any, no switched-off checks, no unfinished work, no skipped tests", () => {
  const wrong: string[] = [];
  // The words are put together here so that this file does not contain them.
  const marks = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK", "W" + "IP"].join("|");
  const words = new RegExp(`\\b(${marks})\\b|@ts-${"ignore"}|@ts-${"nocheck"}|biome-${"ignore"}`);
  const skips = /\b(test|it|describe|suite)\.(skip|todo|only)\b/;
  for (const file of files) {
    for (const [index, line] of file.text.split("\n").entries()) {
      if (words.test(line) || skips.test(line)) wrong.push(`${file.path}:${index + 1}: ${line}`);
    }
    walk(file.tree, (node) => {
      if (node.kind === SyntaxKind.AnyKeyword) wrong.push(place(file, node, "any"));
    });
  }
  none(wrong);
});

test("linter and formatter have nothing to say", () => {
  succeeds("node_modules/.bin/biome", ["check", "--max-diagnostics=200", "."]);
});

test("types are right", () => {
  succeeds("node_modules/.bin/tsc", ["-p", "tsconfig.json", "--noEmit"]);
});

function readTree(folders: readonly string[]): File[] {
  const api = new API({ cwd: root });
  try {
    const snapshot = api.updateSnapshot({ openProjects: [join(root, "tsconfig.json")] });
    const program = snapshot.getProjects()[0]?.program;
    return folders.flatMap(typescriptFiles).map((path) => {
      const tree = program?.getSourceFile(join(root, path));
      assert.ok(tree !== undefined, `${path} is not part of tsconfig.json`);
      return { path, text: readFileSync(join(root, path), "utf8"), tree };
    });
  } finally {
    api.close();
  }
}

function typescriptFiles(folder: string): string[] {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" });
  return names.filter((name) => name.endsWith(".ts")).map((name) => `${folder}/${name}`);
}

/** Files of src that `file` imports or re-exports from, as paths from the root. */
function importsOf(file: File): string[] {
  const found: string[] = [];
  walk(file.tree, (node) => {
    const from =
      isImportDeclaration(node) || isExportDeclaration(node)
        ? node.moduleSpecifier
        : isCallExpression(node) && node.expression.kind === SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : undefined;
    if (from === undefined || !isStringLiteral(from) || !from.text.startsWith(".")) return;
    found.push(relative(root, join(root, dirname(file.path), from.text)));
  });
  return found;
}

/** The folder below src, or the name of a file directly in it; a path elsewhere stays as it is. */
function layerOf(path: string): string {
  const match = /^src\/([^/.]+)/.exec(path);
  return match?.[1] ?? path;
}

/** The name in `owners` that this node uses, if it does. */
function bannedName(node: Node, tree: SourceFile): string | undefined {
  if (isNewExpression(node) && node.getText(tree) === "new Date()") return "Date.now";
  if (isPropertyAccessExpression(node)) {
    const text = node.getText(tree);
    const name = text.startsWith("console.") ? "console" : text.replace(/^globalThis\./, "");
    return Object.hasOwn(owners, name) ? name : undefined;
  }
  if (!isCallExpression(node) || !isIdentifier(node.expression)) return undefined;
  const name = node.expression.text;
  return Object.hasOwn(owners, name) ? name : undefined;
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  node.forEachChild((child) => walk(child, visit));
}

function lineOf(file: File, position: number): number {
  return file.tree.getLineAndCharacterOfPosition(position).line + 1;
}

function place(file: File, node: Node, what: string): string {
  return `${file.path}:${lineOf(file, node.getStart(file.tree))}: ${what}`;
}

function none(wrong: readonly string[]): void {
  assert.ok(wrong.length === 0, `\n  ${wrong.join("\n  ")}`);
}

function succeeds(command: string, args: readonly string[]): void {
  const result = spawnSync(join(root, command), args, { cwd: root, encoding: "utf8" });
  assert.equal(result.status, 0, `${result.stdout}${result.stderr}`);
}
