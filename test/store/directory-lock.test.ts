/** The lock of a data directory: one holder, and none that is dead keeps it. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { realRandom } from "../../src/lib/random.js";
import { Refusal } from "../../src/lib/refusal.js";
import { lockDirectory } from "../../src/store/directory-lock.js";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "trellis-lock-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** Another process that holds the lock until it is killed. */
async function holder(t: TestContext, directory: string): Promise<() => Promise<void>> {
  const lock = new URL("../../src/store/directory-lock.ts", import.meta.url).href;
  const random = new URL("../../src/lib/random.ts", import.meta.url).href;
  const script = `
    const { lockDirectory } = await import(${JSON.stringify(lock)});
    const { realRandom } = await import(${JSON.stringify(random)});
    await lockDirectory(${JSON.stringify(directory)}, realRandom);
    process.stdout.write("held");
    process.stdin.resume();
  `;
  const args = ["--import", "tsx", "--input-type=module", "--eval", script];
  const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  t.after(() => void child.kill("SIGKILL"));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  return () => {
    child.kill("SIGKILL");
    return gone;
  };
}

test("one holder at a time; release lets the next one in", async (t) => {
  const directory = join(await folder(t), "made", "on the way");
  const lock = await lockDirectory(directory, realRandom);
  await assert.rejects(lockDirectory(directory, realRandom), (error) => {
    assert.ok(error instanceof Refusal);
    assert.ok(error.message.includes(directory));
    assert.match(error.message, new RegExp(`in use by another node \\(process ${process.pid}\\)`));
    return true;
  });
  await lock.release();
  assert.deepEqual(await readdir(directory), []);
  await (await lockDirectory(directory, realRandom)).release();
});

test("a process that was killed holds nothing", async (t) => {
  const directory = await folder(t);
  const kill = await holder(t, directory);
  await assert.rejects(lockDirectory(directory, realRandom), /in use by another node/);
  await kill();
  assert.equal((await readdir(directory)).length, 1, "a kill leaves its socket's file");
  const lock = await lockDirectory(directory, realRandom);
  assert.equal((await readdir(directory)).length, 1);
  await lock.release();
});

test("of many that start in one instant at most one gets it", async (t) => {
  const directory = await folder(t);
  const starts = Array.from({ length: 8 }, () => lockDirectory(directory, realRandom));
  const results = await Promise.allSettled(starts);
  const holders = results.flatMap((result) => (result.status === "fulfilled" ? result.value : []));
  assert.ok(holders.length <= 1, `${holders.length}`);
  for (const lock of holders) await lock.release();
  await (await lockDirectory(directory, realRandom)).release();
});

test("a path too long for a socket's address is locked all the same", async (t) => {
  const directory = join(await folder(t), "x".repeat(120));
  const lock = await lockDirectory(directory, realRandom);
  await assert.rejects(lockDirectory(directory, realRandom), /in use by another node/);
  await lock.release();
});

test("a directory that cannot be one is refused with a sentence", async (t) => {
  const path = join(await folder(t), "file");
  await writeFile(path, "");
  await assert.rejects(lockDirectory(path, realRandom), /cannot open the data directory .*file/);
});

test("other files of the directory are left alone", async (t) => {
  const directory = await folder(t);
  await mkdir(join(directory, "lock-1-ab.sock.d"));
  await writeFile(join(directory, "members.state"), "x");
  await (await lockDirectory(directory, realRandom)).release();
  assert.equal((await readdir(directory)).length, 2);
});
