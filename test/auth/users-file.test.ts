/** The users file: what is in it, who changes it, and what happens when it is broken. */
import assert from "node:assert/strict";
import {
  chmodSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { passwordMatches } from "../../src/auth/methods/password.js";
import { UsersFile } from "../../src/auth/users-file.js";
import { matches } from "../../src/auth/verifier.js";
import { realClock } from "../../src/lib/clock.js";
import { createLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { Refusal } from "../../src/lib/refusal.js";
import { eventually } from "../support/mqtt-client.js";

const scrypt = { costExponent: 10, blockSize: 8, parallelism: 1 };

interface Place {
  readonly path: string;
  /** Lines of the log. */
  readonly lines: string[];
  open(iterations?: number): Promise<UsersFile>;
}

function place(t: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "trellis-users-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "made", "users.json");
  const lines: string[] = [];
  const log = createLog("info", { write: (line) => void lines.push(line) });
  return {
    path,
    lines,
    async open(iterations = 4096) {
      const users = new UsersFile({
        ...{ path, iterations, scrypt, log, clock: realClock, random: realRandom, lookMs: 5 },
      });
      t.after(() => users.close());
      await users.open();
      return users;
    },
  };
}

/** Whether both the hash and the verifier fit; they never fit alone. */
async function knows(users: UsersFile, name: string, password: string): Promise<boolean> {
  const { hash, verifier } = users.find(name) ?? {};
  const right = await passwordMatches(users.find(name), Buffer.from(password), users.work);
  assert.equal(hash?.kind, "scrypt");
  assert.equal(verifier != null && (await matches(verifier, Buffer.from(password))), right);
  return right;
}

const refusal = (words: RegExp) => (error: unknown) =>
  error instanceof Refusal && words.test(error.message);

test("users are added, changed, deleted, and found again after a restart", async (t) => {
  const { open, path } = place(t);
  const users = await open();
  assert.deepEqual([users.kept, users.size], [false, 0]);
  await users.add("bert", "one");
  await users.add("anna", "two words");
  assert.deepEqual([users.kept, users.size], [true, 2]);
  assert.deepEqual(users.list(), [
    { name: "anna", iterations: 4096, hash: "scrypt" },
    { name: "bert", iterations: 4096, hash: "scrypt" },
  ]);
  const again = await open(5000);
  assert.ok(await knows(again, "anna", "two words"));
  assert.ok(!(await knows(again, "anna", "one")));
  await again.setPassword("anna", "three");
  assert.equal(again.find("anna")?.verifier?.iterations, 5000);
  assert.ok(await knows(again, "anna", "three"));
  await again.delete("bert");
  assert.equal(again.find("bert"), undefined);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("the file holds no password, and equal passwords look different", async (t) => {
  const { open, path } = place(t);
  const users = await open();
  await users.add("anna", "correct horse");
  await users.add("bert", "correct horse");
  const text = readFileSync(path, "utf8");
  assert.ok(
    !text.includes("horse") && !text.includes(Buffer.from("correct horse").toString("base64")),
  );
  assert.notDeepEqual(
    users.find("anna")?.verifier?.storedKey,
    users.find("bert")?.verifier?.storedKey,
  );
});

test("refusals of names and passwords say what is wrong", async (t) => {
  const { open } = place(t);
  const users = await open();
  await users.add("anna", "x");
  await assert.rejects(users.add("anna", "x"), refusal(/already/));
  await assert.rejects(users.add("", "x"), refusal(/empty/));
  await assert.rejects(users.add("a".repeat(257), "x"), refusal(/longer than 256 bytes/));
  await assert.rejects(users.add("a\u00adb", "x"), refusal(/another form/));
  await assert.rejects(users.add("bert", ""), refusal(/password is empty/));
  await assert.rejects(users.add("bert", "x".repeat(1025)), refusal(/longer than 1024 bytes/));
  await assert.rejects(users.add("bert", "\u2168"), refusal(/another form/));
  await assert.rejects(users.setPassword("bert", "x"), refusal(/no user/));
  await assert.rejects(users.delete("bert"), refusal(/no user/));
  assert.equal(users.size, 1);
});

test("changes made at once are all kept", async (t) => {
  const { open } = place(t);
  const users = await open();
  const names = Array.from({ length: 10 }, (_, index) => `user${index}`);
  await Promise.all(names.map((name) => users.add(name, name)));
  const again = await open();
  assert.deepEqual(
    again.list().map(({ name }) => name),
    names,
  );
});

test("what another process or a hand changes is noticed, and not overwritten", async (t) => {
  const { open, path } = place(t);
  const mine = await open();
  const theirs = await open();
  await theirs.add("anna", "x");
  await mine.add("bert", "y");
  await eventually(() => theirs.size === 2, "the other's user");
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.replace('"name":"anna"', '"name":"clara"'));
  await eventually(() => mine.find("clara") !== undefined, "the change by hand");
  assert.equal(mine.find("anna"), undefined);
  assert.ok(await knows(mine, "clara", "x"));
});

test("a file that was broken by hand is complained about once, and users stay", async (t) => {
  const { open, path, lines } = place(t);
  const users = await open();
  await users.add("anna", "x");
  const good = readFileSync(path, "utf8");
  writeFileSync(path, good.slice(0, -10));
  await eventually(() => users.counters.loadFailures === 1, "the complaint");
  await users.look();
  assert.equal(users.counters.loadFailures, 1);
  assert.ok(await knows(users, "anna", "x"));
  assert.match(lines.join(""), /users stay as they were/);
  assert.ok(!lines.join("").includes("server_key"));
  await assert.rejects(users.add("bert", "x"), refusal(/cannot be used: it is no JSON/));
  writeFileSync(path, good);
  await eventually(() => users.counters.loaded >= 2, "the repaired file");
  await users.add("bert", "x");
});

test("a file that vanishes leaves no users, but names are still checked", async (t) => {
  const { open, path } = place(t);
  const users = await open();
  await users.add("anna", "x");
  renameSync(path, `${path}.away`);
  await eventually(() => users.size === 0, "the loss");
  assert.ok(users.kept);
  renameSync(`${path}.away`, path);
  await eventually(() => users.size === 1, "the return");
});

test("a file with an empty list counts as one", async (t) => {
  const { open } = place(t);
  const users = await open();
  await users.add("anna", "x");
  await users.delete("anna");
  const again = await open();
  assert.deepEqual([again.kept, again.size], [true, 0]);
});

test("a node does not start with a file that it cannot use", async (t) => {
  const { open, path } = place(t);
  const users = await open();
  await users.add("anna", "x");
  const good = readFileSync(path, "utf8");
  const line = /\{"name".*\}/.exec(good)?.[0] ?? "";
  const broken: readonly (readonly [string, RegExp])[] = [
    ["", /it is no JSON/],
    ["[]", /expected object/],
    [good.replace('"format": 1', '"format": 2'), /format/],
    [good.replace(line, `${line},\n${line}`), /"anna" is there twice/],
    [good.replace('"anna"', '"a\\u0000"'), /users\.0\.name: no user name/],
    [good.replace("4096", "4095"), /users\.0\.iterations/],
    [good.replace(/"salt":"[^"]*"/, '"salt":"?"'), /users\.0\.salt/],
    [
      good.replace(/"stored_key":"[^"]*"/, '"stored_key":"QUJD"'),
      /users\.0\.stored_key: wrong len/,
    ],
    [good.replace('"name"', '"password":"x","name"'), /users\.0.*password/],
  ];
  users.close();
  for (const [text, why] of broken) {
    writeFileSync(path, text);
    await assert.rejects(open(), refusal(why), text);
  }
});

test("a file that others can read is warned about", async (t) => {
  const { open, path, lines } = place(t);
  const users = await open();
  await users.add("anna", "x");
  assert.deepEqual(lines, []);
  users.close();
  chmodSync(path, 0o644);
  await open();
  assert.match(lines.join(""), /others can read the users file/);
});

test("a name that does not exist has always the same stand-in, also after a restart", async (t) => {
  const { open } = place(t);
  const users = await open(6000);
  await users.add("anna", "x");
  const { salt, iterations } = users.standIn("nobody");
  const again = await open();
  assert.deepEqual(again.standIn("nobody").salt, salt);
  assert.deepEqual([iterations, again.standIn("nobody").iterations], [6000, 6000]);
  assert.notDeepEqual(again.standIn("somebody").salt, salt);
});
