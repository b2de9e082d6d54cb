/** Hashes of passwords: fixed vectors, text forms, limits, and equal work for every check. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { passwordMatches } from "../../src/auth/methods/password.js";
import {
  formatHash,
  hashMatches,
  hashPassword,
  type PasswordHash,
  parseHash,
} from "../../src/auth/password-hash.js";
import type { UserSecrets } from "../../src/auth/users.js";
import { contentOf } from "../../src/auth/users-content.js";
import { deriveVerifier } from "../../src/auth/verifier.js";

const cost = { costExponent: 10, blockSize: 8, parallelism: 16 };
const salt = Buffer.from("NaCl");

function parsed(text: string): PasswordHash {
  const hash = parseHash(text);
  assert.ok(hash !== null, text);
  return hash;
}

test("scrypt as in RFC 7914 section 12", async () => {
  const { key } = await hashPassword(Buffer.from("password"), salt, cost);
  const expected = "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162";
  assert.equal(key.toString("hex"), expected);
});

/** Made by mosquitto_passwd 2.0.11; the password is "geheim wort", "zwei", "drei". */
const mosquittoLines = {
  anna: "$7$101$aIfnxXrWUyu1m0fj$K67RNpz8cc/J/Pak/KVQbz5c/XJ1I88y8s8k9jXnsGPjZ1ZZggiJrmihEjgmsFeOFkVTFZJ7HMr7DDqVjeOLbA==",
  bert: "$6$OkpKm1JOJw79qDWB$j0GCUyEWk3EPn1UphSX8mb0mXSySaRFUPcYBnE3WY/gsz3DLhbKC7lEqLZvuuPZdDFcTkJj63Wgsx/G6V6j5rQ==",
  carl: "$7$2000$YB+zKAmKy/LjkKls$4dKVDEVL47tNx2uuiF/lxyPk2ENhek1ICVAvLP7Rekkf/FMZWm9owm7JjTUIQbGe8h4Jj9bJ6s5mdi7wEFexhQ==",
};

test("hashes of mosquitto_passwd fit their passwords and no others", async () => {
  const passwords = { anna: "geheim wort", bert: "zwei", carl: "drei" } as const;
  for (const name of ["anna", "bert", "carl"] as const) {
    const hash = parsed(mosquittoLines[name]);
    assert.ok(await hashMatches(hash, Buffer.from(passwords[name])));
    assert.ok(!(await hashMatches(hash, Buffer.from(`${passwords[name]} `))));
    assert.ok(!(await hashMatches(hash, Buffer.alloc(0))));
  }
});

test("every hash is written as it is read", async () => {
  const own = await hashPassword(Buffer.from("x"), salt, cost);
  for (const text of [formatHash(own), ...Object.values(mosquittoLines)]) {
    assert.equal(formatHash(parsed(text)), text);
  }
});

test("text that is no hash, or one whose work has no bounds, is refused", async () => {
  const own = formatHash(await hashPassword(Buffer.from("x"), salt, cost));
  const wrong = [
    ...["", "x", "$", "$6$", "$7$", "$5$YQ==$YQ==", "plain", own.slice(1), `${own}$`, `x${own}`],
    own.replace("ln=10", "ln=9"),
    own.replace("ln=10", "ln=19"),
    own.replace("r=8", "r=17"),
    own.replace("p=16", "p=0"),
    own.replace("$scrypt", "$argon2id"),
    own.slice(0, -4),
    mosquittoLines.anna.replace("$101$", "$0$"),
    mosquittoLines.anna.replace("$101$", "$99999999$"),
    mosquittoLines.anna.replace("$101$", "$-1$"),
    mosquittoLines.anna.replace("$7$101$", "$6$"),
    mosquittoLines.bert.replace("$6$", "$7$101$").slice(0, -8),
  ];
  const taken = wrong.filter((text) => parseHash(text) !== null);
  // $6$ and $7$ hashes have the same length: only the work differs.
  assert.deepEqual(taken, [mosquittoLines.anna.replace("$7$101$", "$6$")]);
});

test("a check costs the same for every user, and for none", async () => {
  const password = Buffer.from("right");
  const heavy = { costExponent: 13, blockSize: 8, parallelism: 4 };
  const users = new Map<string, UserSecrets>([
    ["own", { hash: await hashPassword(password, salt, heavy), verifier: null }],
    ["scram", { hash: null, verifier: await deriveVerifier(password, salt, 20_000) }],
    ["six", { hash: parsed(mosquittoLines.bert), verifier: null }],
    ["seven", { hash: parsed(mosquittoLines.carl), verifier: null }],
  ]);
  const { work } = contentOf(users, Buffer.alloc(32));
  assert.deepEqual(work, { scrypt: heavy, verifierIterations: 20_000, pbkdf2Iterations: 2000 });
  const times = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    for (const name of ["own", "scram", "six", "seven", "nobody"]) {
      // Processor time: the threads that hash are of this process, and a busy machine does not count.
      const start = process.cpuUsage();
      assert.ok(!(await passwordMatches(users.get(name), Buffer.from("wrong"), work)));
      const { user, system } = process.cpuUsage(start);
      const took = user + system;
      times.set(name, Math.min(took, times.get(name) ?? took));
    }
  }
  // Without equal work the cheapest is a thousandth of the dearest.
  assert.ok(Math.min(...times.values()) > Math.max(...times.values()) / 4, `${[...times]}`);
  assert.ok(await passwordMatches(users.get("own"), password, work));
  assert.ok(await passwordMatches(users.get("scram"), password, work));
});
