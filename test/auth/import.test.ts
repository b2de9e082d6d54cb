/** Import of files of mosquitto_passwd, and passwords that are renewed when they are used. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { UsersFile } from "../../src/auth/users-file.js";
import { realClock } from "../../src/lib/clock.js";
import { createLog } from "../../src/lib/log.js";
import { realRandom } from "../../src/lib/random.js";
import { Refusal } from "../../src/lib/refusal.js";
import { eventually } from "../support/mqtt-client.js";
import { ask, authenticatorOf, refusedUser } from "./asking.js";

const lines = [
  "# made by mosquitto_passwd 2.0.11",
  "anna:$7$101$aIfnxXrWUyu1m0fj$K67RNpz8cc/J/Pak/KVQbz5c/XJ1I88y8s8k9jXnsGPjZ1ZZggiJrmihEjgmsFeOFkVTFZJ7HMr7DDqVjeOLbA==",
  "",
  "bert:$6$OkpKm1JOJw79qDWB$j0GCUyEWk3EPn1UphSX8mb0mXSySaRFUPcYBnE3WY/gsz3DLhbKC7lEqLZvuuPZdDFcTkJj63Wgsx/G6V6j5rQ==\r",
];
const text = `${lines.join("\n")}\n`;

interface Place {
  readonly folder: string;
  readonly path: string;
  readonly log: string[];
  open(costExponent?: number): Promise<UsersFile>;
}

function place(t: TestContext): Place {
  const folder = mkdtempSync(join(tmpdir(), "trellis-import-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "users.json");
  const log: string[] = [];
  return {
    ...{ folder, path, log },
    async open(costExponent = 10) {
      const users = new UsersFile({
        ...{ path, iterations: 4096, clock: realClock, random: realRandom, lookMs: 5 },
        scrypt: { costExponent, blockSize: 8, parallelism: 1 },
        log: createLog("debug", { write: (line) => void log.push(line) }),
      });
      t.after(() => users.close());
      await users.open();
      return users;
    },
  };
}

const kinds = (users: UsersFile) => users.list().map(({ name, hash }) => `${name} ${hash}`);

test("imported passwords are right as they are, and kept as our own from then on", async (t) => {
  const { open, path, log } = place(t);
  const users = await open();
  assert.deepEqual(await users.importMosquitto(text), { imported: 2, existing: 0 });
  assert.deepEqual(kinds(users), ["anna mosquitto-pbkdf2", "bert mosquitto-sha512"]);
  const authenticator = authenticatorOf({}, users);
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "zwei" }), refusedUser);
  assert.equal(users.counters.renewed, 0);
  const anna = { name: "anna", password: "geheim wort" };
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  await eventually(() => users.counters.renewed === 1, "the renewal");
  assert.deepEqual(kinds(users), ["anna scrypt", "bert mosquitto-sha512"]);
  assert.ok(users.find("anna")?.verifier !== null);
  assert.deepEqual(await ask(authenticator, anna), { user: "anna" });
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "zwei" }), refusedUser);
  const again = authenticatorOf({}, await open());
  assert.deepEqual(await ask(again, { name: "bert", password: "zwei" }), { user: "bert" });
  assert.ok(!/geheim|zwei/.test(readFileSync(path, "utf8") + log.join("")));
});

test("SCRAM waits for the first right password, and says nothing about it", async (t) => {
  const { open } = place(t);
  const users = await open();
  await users.importMosquitto(text);
  const exchange = authenticatorOf({}, users).begin("SCRAM-SHA-256");
  const step = exchange?.step(Buffer.from("n,,n=anna,r=abc"));
  assert.equal(step?.kind, "continue");
});

test("users that exist stay as they are, also when the same file comes again", async (t) => {
  const { open } = place(t);
  const users = await open();
  await users.add("anna", "mine");
  assert.deepEqual(await users.importMosquitto(text), { imported: 1, existing: 1 });
  assert.deepEqual(await users.importMosquitto(text), { imported: 0, existing: 2 });
  const authenticator = authenticatorOf({}, users);
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "mine" }), { user: "anna" });
  assert.equal(users.counters.imported, 1);
});

test("a line that cannot be taken is named by its number, and nothing is imported", async (t) => {
  const { open } = place(t);
  const users = await open();
  const hash = lines[1]?.slice("anna:".length);
  const wrong: readonly (readonly [string, RegExp])[] = [
    ["carl", /^line 5: there is no colon/],
    ["carl:plain secret", /^line 5: it holds neither a \$6\$ nor a \$7\$ hash/],
    ["carl:$argon2id$v=19$m=47104,t=1,p=1$QUJD$QUJD", /^line 5: it holds neither/],
    ["carl:$scrypt$ln=14,r=8,p=1$QUJD$QUJD", /^line 5: it holds neither/],
    [`:${hash}`, /^line 5: the user name is empty/],
    [`a\u00adb:${hash}`, /^line 5: the user name has characters/],
  ];
  for (const [line, why] of wrong) {
    await assert.rejects(users.importMosquitto(text + line), (error) => {
      assert.ok(error instanceof Refusal && why.test(error.message), String(error));
      return !/secret|QUJD|K67RN/.test(error.message);
    });
  }
  assert.equal(users.size, 0);
});

test("a change of the password wins over its renewal", async (t) => {
  const { open } = place(t);
  const users = await open();
  await users.importMosquitto(text);
  const before = users.find("bert");
  assert.ok(before !== undefined);
  await users.setPassword("bert", "new");
  await users.renew("bert", before, Buffer.from("zwei"));
  await eventually(() => users.counters.renewalsOutdated === 1, "the late renewal");
  const authenticator = authenticatorOf({}, users);
  assert.deepEqual(await ask(authenticator, { name: "bert", password: "new" }), { user: "bert" });
  assert.deepEqual(await ask(authenticator, { name: "bert", password: "zwei" }), refusedUser);
});

test("a password that is kept with less work than now is renewed, one with more is not", async (t) => {
  const { open } = place(t);
  await (await open(10)).add("anna", "x");
  const dearer = await open(11);
  await ask(authenticatorOf({}, dearer), { name: "anna", password: "x" });
  await eventually(() => dearer.counters.renewed === 1, "the renewal");
  assert.equal(dearer.work.scrypt?.costExponent, 11);
  const cheaper = await open(10);
  await ask(authenticatorOf({}, cheaper), { name: "anna", password: "x" });
  await cheaper.look();
  assert.equal(cheaper.work.scrypt?.costExponent, 11);
});

test("a password with characters that SCRAM cannot be sure of is renewed without it", async (t) => {
  const { open, folder } = place(t);
  if (spawnSync("mosquitto_passwd", ["--help"]).error !== undefined) {
    t.skip("mosquitto_passwd is not installed");
    return;
  }
  const users = await open();
  await users.importMosquitto(made(folder, [["-b"], "dora", "a\u00a0b"]));
  const authenticator = authenticatorOf({}, users);
  const dora = { name: "dora", password: "a\u00a0b" };
  assert.deepEqual(await ask(authenticator, dora), { user: "dora" });
  await eventually(() => users.counters.renewed === 1, "the renewal");
  assert.deepEqual(users.list(), [{ name: "dora", hash: "scrypt", iterations: 0 }]);
  assert.deepEqual(await ask(authenticator, dora), { user: "dora" });
});

test("files of the mosquitto_passwd of this machine", async (t) => {
  const { open, folder } = place(t);
  if (spawnSync("mosquitto_passwd", ["--help"]).error !== undefined) {
    t.skip("mosquitto_passwd is not installed");
    return;
  }
  const entries: readonly [string[], string, string][] = [
    [["-b"], "anna", "correct horse"],
    [["-H", "sha512", "-b"], "bert", "battery staple"],
    [["-I", "5000", "-b"], "carl", "pässwort"],
  ];
  const users = await open();
  const { imported } = await users.importMosquitto(made(folder, ...entries));
  assert.equal(imported, 3);
  const authenticator = authenticatorOf({}, users);
  for (const [, name, password] of entries) {
    assert.deepEqual(await ask(authenticator, { name, password }), { user: name });
    assert.deepEqual(await ask(authenticator, { name, password: `${password}x` }), refusedUser);
  }
});

/** A file that mosquitto_passwd has written. */
function made(folder: string, ...entries: readonly [string[], string, string][]): string {
  const path = join(folder, "passwd");
  for (const [index, [options, name, password]] of entries.entries()) {
    const args = [...(index === 0 ? ["-c"] : []), ...options, path, name, password];
    const { status, stderr } = spawnSync("mosquitto_passwd", args, { encoding: "utf8" });
    assert.equal(status, 0, stderr);
  }
  return readFileSync(path, "utf8");
}
