/** What the documents point at is there. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

test("every test that docs/promises.md names is there, and every promise of the README is in it", () => {
  const text = readFileSync(join(root, "docs", "promises.md"), "utf8");
  const named = [...text.matchAll(/`(test\/[^`]*)`/g)].map(([, path]) => path ?? "");
  assert.ok(named.length > 20);
  assert.deepEqual(
    named.filter((path) => !existsSync(join(root, path))),
    [],
  );
  const readme = readFileSync(join(root, "README.md"), "utf8");
  const promises = readme.split("## What it promises")[1]?.split("\n## ")[0] ?? "";
  const count = [...promises.matchAll(/^(\d+)\. \*\*/gm)].length;
  const rows = new Set([...text.matchAll(/^\| (\d+) /gm)].map(([, number]) => number));
  assert.equal(rows.size, count);
});
