/** The state file: what was saved comes back, and what is damaged is moved aside, on a real disk. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { Refusal } from "../../src/lib/refusal.js";
import { DiskStateFile } from "../../src/store/state-file.js";

interface Members {
  readonly members: string[];
}

function check(parsed: unknown): Members {
  const value = parsed as Partial<Members>;
  if (!Array.isArray(value.members)) throw new Error("it has no members");
  return { members: value.members };
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "trellis-state-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

const value: Members = { members: ["a@h", "ä@h", "\ud800", 'b"\n'] };

test("without a file there is no value and no damage", async (t) => {
  const file = new DiskStateFile(join(await folder(t), "members.state"), check);
  assert.deepEqual(await file.load(), { value: undefined, damaged: null });
});

test("what was saved comes back, also to another process", async (t) => {
  const path = join(await folder(t), "deep", "er", "members.state");
  await new DiskStateFile(path, check).save(value);
  const again = new DiskStateFile(path, check);
  assert.deepEqual(await again.load(), { value, damaged: null });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test("the format is the one that is written down", async (t) => {
  const path = join(await folder(t), "x");
  await new DiskStateFile(path, check).save({ members: [] });
  assert.equal(await readFile(path, "utf8"), 'trellis-state 1 6375508cf89fca11\n{"members":[]}\n');
});

test("saves that wait are folded into the latest, and all are told", async (t) => {
  const directory = await folder(t);
  const file = new DiskStateFile(join(directory, "x"), check);
  const changing = { members: ["first"] };
  const saves = [file.save(changing)];
  changing.members[0] = "changed after the call";
  for (let i = 0; i < 1000; i++) saves.push(file.save({ members: [`${i}`] }));
  await saves[0];
  assert.deepEqual((await file.load()).value, { members: ["first"] });
  await Promise.all(saves);
  assert.deepEqual((await file.load()).value, { members: ["999"] });
  assert.equal(new Set(saves).size, 2);
  assert.deepEqual(await readdir(directory), ["x"]);
});

test("a file that is cut or changed anywhere is moved aside", async (t) => {
  const directory = await folder(t);
  const path = join(directory, "x");
  const file = new DiskStateFile(path, check);
  await file.save(value);
  const good = await readFile(path);
  for (let at = 0; at < good.length; at++) {
    await writeFile(path, good.subarray(0, at));
    const cut = await file.load();
    assert.equal(cut.value, undefined, `cut at ${at}`);
    assert.ok(cut.damaged !== null);
    const changed = Buffer.from(good);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await writeFile(path, changed);
    assert.equal((await file.load()).value, undefined, `changed at ${at}`);
  }
  assert.deepEqual(await file.load(), { value: undefined, damaged: null });
  const names = (await readdir(directory)).sort();
  assert.deepEqual(
    names,
    Array.from({ length: 9 }, (_, index) => `x.damaged-${index + 1}`),
  );
});

test("the report names the damaged file and what is wrong", async (t) => {
  const path = join(await folder(t), "x");
  const file = new DiskStateFile(path, check);
  await writeFile(path, '{"members":[]}');
  assert.deepEqual((await file.load()).damaged, {
    movedTo: `${path}.damaged-1`,
    why: "it does not begin as a state file",
  });
  assert.equal(await readFile(`${path}.damaged-1`, "utf8"), '{"members":[]}');
});

test("a whole document that is no value of its kind counts as damaged", async (t) => {
  const path = join(await folder(t), "x");
  await new DiskStateFile<unknown>(path, (parsed) => parsed).save({ other: 1 });
  const loaded = await new DiskStateFile(path, check).load();
  assert.equal(loaded.value, undefined);
  assert.equal(loaded.damaged?.why, "it has no members");
});

test("what a crash left half written is not read, and is written over", async (t) => {
  const path = join(await folder(t), "x");
  const file = new DiskStateFile(path, check);
  await file.save(value);
  await writeFile(`${path}.new`, "trellis-sta");
  assert.deepEqual((await file.load()).value, value);
  await file.save({ members: [] });
  assert.deepEqual((await file.load()).value, { members: [] });
});

test("a path that cannot be read is refused with a sentence", async (t) => {
  const path = join(await folder(t), "x");
  await mkdir(path);
  await assert.rejects(new DiskStateFile(path, check).load(), (error) => {
    assert.ok(error instanceof Refusal);
    assert.match(error.message, /^cannot read .*x: /);
    return true;
  });
});

test("a failed save is told, and the next one works", async (t) => {
  const directory = await folder(t);
  const path = join(directory, "x");
  const file = new DiskStateFile(path, check);
  await mkdir(join(path, "in the way"), { recursive: true });
  await assert.rejects(file.save(value));
  await rm(path, { recursive: true });
  await file.save(value);
  assert.deepEqual((await file.load()).value, value);
});
