/** Tokens: algorithms, keys, claims, expiry; and everything that must not get in. */
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { exportJWK, type JWTPayload, SignJWT } from "jose";
import type { Authenticator } from "../../src/auth/authenticator.js";
import { parseKeys } from "../../src/auth/key-file.js";
import type { Users } from "../../src/auth/users.js";
import { createLog } from "../../src/lib/log.js";
import { Refusal } from "../../src/lib/refusal.js";
import { eventually } from "../support/mqtt-client.js";
import { type Asked, ask, authenticatorOf, refusedUser } from "./asking.js";
import { testUsers } from "./support.js";

const secret = "s".repeat(32);
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed = generateKeyPairSync("ed25519");

const pem = (key: KeyObject): string => key.export({ type: "spki", format: "pem" }).toString();
const nowSeconds = (): number => Math.floor(Date.now() / 1000);
const hour = 3600;

/** A token of this header and these claims, signed by `key`. */
function token(
  alg: string,
  key: KeyObject | string,
  claims: JWTPayload = {},
  kid?: string,
): Promise<string> {
  const payload = { sub: "anna", exp: nowSeconds() + hour, ...claims };
  const signer = new SignJWT(payload).setProtectedHeader(
    kid === undefined ? { alg } : { alg, kid },
  );
  return signer.sign(typeof key === "string" ? Buffer.from(key) : key);
}

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");

interface Place {
  readonly file: string;
  readonly log: string[];
  open(settings: object, more?: { methods?: string[]; users?: Users }): Promise<Authenticator>;
}

function place(t: TestContext, content: string): Place {
  const folder = mkdtempSync(join(tmpdir(), "trellis-jwt-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, "key");
  writeFileSync(file, content);
  const log: string[] = [];
  return {
    ...{ file, log },
    async open(settings, { methods = ["jwt"], users } = {}) {
      const to = createLog("debug", { write: (line) => void log.push(line) });
      const authenticator = authenticatorOf({ methods, jwt: settings }, users, to);
      t.after(() => authenticator.close());
      await authenticator.open();
      return authenticator;
    },
  };
}

/** One that takes HS256 with the secret above. */
async function withSecret(t: TestContext, settings: object = {}): Promise<Authenticator> {
  const { file, open } = place(t, `${secret}\n`);
  return await open({ secret_file: file, disconnect_on_expiry: false, ...settings });
}

const anna = { user: "anna" };
const shown = (password: string | Buffer): Asked => ({ name: "whoever", password });

test("a token signed by the secret gets in as its subject, with any user name or none", async (t) => {
  const authenticator = await withSecret(t);
  for (const alg of ["HS256", "HS384", "HS512"]) {
    const right = await token(alg, secret);
    assert.deepEqual(await ask(authenticator, shown(right)), anna);
    assert.deepEqual(await ask(authenticator, { password: right }), anna);
  }
  assert.equal(authenticator.counters.passwordsAccepted, 6);
});

test("public keys: RSA, PSS, elliptic curves and Ed25519", async (t) => {
  const cases = [
    { pair: rsa, algorithms: ["RS256", "RS512", "PS256", "PS384"] },
    { pair: ec, algorithms: ["ES256"] },
    { pair: ed, algorithms: ["EdDSA", "Ed25519"] },
  ];
  for (const { pair, algorithms } of cases) {
    const { file, open } = place(t, pem(pair.publicKey));
    const authenticator = await open({ public_key_file: file, disconnect_on_expiry: false });
    for (const alg of algorithms) {
      const right = await token(alg, pair.privateKey);
      assert.deepEqual(await ask(authenticator, shown(right)), anna, alg);
    }
    const other = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const stranger = await token("RS256", other.privateKey);
    assert.deepEqual(await ask(authenticator, shown(stranger)), refusedUser);
  }
});

test("alg none is refused, in every spelling, with and without a signature", async (t) => {
  const authenticator = await withSecret(t);
  const body = encoded({ sub: "anna", exp: nowSeconds() + hour });
  for (const alg of ["none", "None", "NONE", "nOnE", ""]) {
    for (const signature of ["", "AAAA"]) {
      const wrong = `${encoded({ alg })}.${body}.${signature}`;
      assert.deepEqual(await ask(authenticator, shown(wrong)), refusedUser, alg);
    }
  }
  assert.equal(authenticator.counters.passwordsAccepted, 0);
});

test("a public key is never a secret: HS256 with its text is refused", async (t) => {
  for (const kind of ["public_key_file", "jwks_file"]) {
    const jwk = { ...(await exportJWK(rsa.publicKey)), kid: "k" };
    const text = kind === "jwks_file" ? JSON.stringify({ keys: [jwk] }) : pem(rsa.publicKey);
    const { file, open } = place(t, text);
    const authenticator = await open({ [kind]: file });
    for (const key of [text, text.trim(), pem(rsa.publicKey), String(jwk.n)]) {
      const head = `${encoded({ alg: "HS256", kid: "k" })}.${encoded({ sub: "anna", exp: nowSeconds() + hour })}`;
      const signature = createHmac("sha256", key).update(head).digest("base64url");
      assert.deepEqual(await ask(authenticator, shown(`${head}.${signature}`)), refusedUser);
    }
    assert.deepEqual(authenticator.counters.refusedToken, { algorithm: 4 });
  }
});

test("time: expired, not yet valid, without exp; the tolerance counts for both ends", async (t) => {
  const authenticator = await withSecret(t, { clock_tolerance: "30s" });
  const now = nowSeconds();
  const cases: readonly (readonly [JWTPayload, string | null])[] = [
    [{ exp: now - 40 }, "expired"],
    [{ exp: now - 15 }, null],
    [{ nbf: now + 50 }, "not yet valid"],
    [{ nbf: now + 15 }, null],
    [{ exp: 0 }, "expired"],
  ];
  for (const [claims, why] of cases) {
    const verdict = await ask(authenticator, shown(await token("HS256", secret, claims)));
    assert.deepEqual(verdict, why === null ? anna : refusedUser, JSON.stringify(claims));
  }
  for (const exp of [undefined, null, "never", `${now + hour}`]) {
    const head = `${encoded({ alg: "HS256" })}.${encoded({ sub: "anna", exp })}`;
    const signature = createHmac("sha256", secret).update(head).digest("base64url");
    assert.deepEqual(await ask(authenticator, shown(`${head}.${signature}`)), refusedUser);
  }
  const reasons = { expired: 2, "not yet valid": 1, exp: 4 };
  assert.deepEqual(authenticator.counters.refusedToken, reasons);
});

test("audience and issuer must be those that are set", async (t) => {
  const authenticator = await withSecret(t, { audience: "mqtt", issuer: "https://id" });
  const right = { aud: ["web", "mqtt"], iss: "https://id" };
  assert.deepEqual(await ask(authenticator, shown(await token("HS256", secret, right))), anna);
  for (const claims of [
    { ...right, aud: "web" },
    { ...right, aud: [] },
    { iss: "https://id" },
    { ...right, iss: "https://other" },
    { aud: "mqtt" },
  ]) {
    const wrong = await token("HS256", secret, claims);
    assert.deepEqual(await ask(authenticator, shown(wrong)), refusedUser, JSON.stringify(claims));
  }
  assert.deepEqual(authenticator.counters.refusedToken, { aud: 3, iss: 2 });
});

test("garbage is refused, also where anonymous clients may come", async (t) => {
  const authenticator = await withSecret(t);
  const right = await token("HS256", secret);
  const [head = "", body = "", signature = ""] = right.split(".");
  const wrong: (string | Buffer)[] = [
    ...["x", "..", "a.b.c", "a.b.c.d", `${head}.${body}`, `${head}..${signature}`, ` ${right}`],
    `${head}.${encoded({ sub: "root", exp: nowSeconds() + hour })}.${signature}`,
    `${head}.${body}.${signature.slice(1)}`,
    `${encoded({ alg: "HS256", crit: ["b64"], b64: false })}.${body}.${signature}`,
    `${Buffer.from("[]").toString("base64url")}.${body}.${signature}`,
    `${right}${"x".repeat(20_000)}`,
    Buffer.from([0xff, 0xfe]),
    await token("HS256", `${secret}x`),
  ];
  for (const password of wrong) {
    assert.deepEqual(await ask(authenticator, shown(password)), refusedUser, String(password));
    assert.deepEqual(await ask(authenticator, { password }), refusedUser, String(password));
  }
  assert.deepEqual(await ask(authenticator, {}), { user: "" });
});

test("the user name comes from the claim that is set, and must be one", async (t) => {
  const authenticator = await withSecret(t, { user_claim: "device" });
  const right = await token("HS256", secret, { device: "d-1" });
  assert.deepEqual(await ask(authenticator, shown(right)), { user: "d-1" });
  for (const device of [undefined, "", 7, ["d"], "a\u0000b", "x".repeat(257)]) {
    const wrong = await token("HS256", secret, { device });
    assert.deepEqual(await ask(authenticator, shown(wrong)), refusedUser);
  }
  assert.deepEqual(authenticator.counters.refusedToken, { user: 6 });
});

test("the claim acl becomes the client's rules, and is refused when it is not understood", async (t) => {
  const authenticator = await withSecret(t);
  const acl = [
    { permission: "deny", action: "publish", topic: "a/+/%u" },
    { permission: "allow", action: "all", topic: "#" },
  ];
  const right = await token("HS256", secret, { acl });
  assert.deepEqual(await ask(authenticator, shown(right)), {
    user: "anna",
    rules: [
      { allow: false, action: "publish", filter: "a/+/%u" },
      { allow: true, action: "all", filter: "#" },
    ],
  });
  const none = await token("HS256", secret, { acl: [] });
  assert.deepEqual(await ask(authenticator, shown(none)), { user: "anna", rules: [] });
  const [first] = acl;
  for (const wrong of [
    ...[{}, "all", 1, null, [{}], [[]], [{ ...first, permission: "ALLOW" }]],
    ...[[{ ...first, qos: 1 }], [{ ...first, topic: "a/#/b" }], [{ ...first, topic: "" }]],
    ...[[{ ...first, topic: "$share/g/a" }], [{ ...first, action: "pub" }]],
    Array.from({ length: 1001 }, () => first),
  ]) {
    const claims = await token("HS256", secret, { acl: wrong });
    assert.notEqual((await ask(authenticator, shown(claims))).user, "anna", JSON.stringify(wrong));
  }
});

test("a key set: the token names its key; a changed file is taken, a broken one is not", async (t) => {
  const jwk = async (pair: { publicKey: KeyObject }, kid: string) => ({
    ...(await exportJWK(pair.publicKey)),
    kid,
  });
  const first = JSON.stringify({ keys: [await jwk(rsa, "one"), await jwk(ec, "two")] });
  const { file, open, log } = place(t, first);
  const authenticator = await open({ jwks_file: file, disconnect_on_expiry: false });
  const one = shown(await token("RS256", rsa.privateKey, {}, "one"));
  const two = shown(await token("ES256", ec.privateKey, {}, "two"));
  const three = shown(await token("EdDSA", ed.privateKey, {}, "three"));
  assert.deepEqual(await ask(authenticator, one), anna);
  assert.deepEqual(await ask(authenticator, two), anna);
  assert.deepEqual(await ask(authenticator, three), refusedUser);
  assert.deepEqual(authenticator.counters.refusedToken, { "no such key": 1 });
  const counters = () =>
    authenticator.methodCounters.jwt as { loaded: number; loadFailures: number };
  writeFileSync(file, '{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}');
  await eventually(() => counters().loadFailures === 1, "the complaint");
  assert.deepEqual(await ask(authenticator, one), anna);
  assert.ok(log.some((line) => /no set of public keys/.test(line)) && !/c2VjcmV0/.test(`${log}`));
  writeFileSync(file, JSON.stringify({ keys: [await jwk(ed, "three")] }));
  await eventually(() => counters().loaded === 2, "the new keys");
  assert.deepEqual(await ask(authenticator, three), anna);
  assert.deepEqual(await ask(authenticator, one), refusedUser);
});

test("files that hold no such keys are refused at start, and not quoted", async (t) => {
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const curve = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
  const privatePem = rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
  const privateJwk = JSON.stringify({ keys: [await exportJWK(rsa.privateKey)] });
  const cases = [
    ["secret", "s".repeat(31), /shorter than 32 bytes/],
    ["secret", pem(rsa.publicKey), /key in PEM/],
    ["public key", privatePem, /a private key/],
    ["public key", "nothing", /no public key/],
    ["public key", pem(weak.publicKey), /1024 bits/],
    ["public key", pem(curve.publicKey), /no token can be signed/],
    ["key set", "{", /no JSON/],
    ["key set", '{"keys":[]}', /no set of public keys/],
    ["key set", privateJwk, /no set of public keys/],
  ] as const;
  for (const [kind, text, why] of cases) {
    assert.throws(() => parseKeys(kind, text), why);
  }
  const { file, open } = place(t, "s".repeat(31));
  await assert.rejects(open({ secret_file: file }), (error) => {
    assert.ok(error instanceof Refusal && /key|secret file/.test(error.message));
    return !error.message.includes("ssss");
  });
  await assert.rejects(open({ jwks_file: `${file}.not` }), /ENOENT|cannot be used/);
});

test("a token may come as the user name; algorithms can be fewer", async (t) => {
  const authenticator = await withSecret(t, { from: "username", algorithms: ["HS512", "RS256"] });
  const right = await token("HS512", secret);
  assert.deepEqual(await ask(authenticator, { name: right }), anna);
  assert.deepEqual(await ask(authenticator, { name: await token("HS256", secret) }), refusedUser);
  assert.deepEqual(await ask(authenticator, { name: "anna", password: right }), refusedUser);
});

test("in a chain: what is no token goes to the users file, what is one does not", async (t) => {
  const users = await testUsers({ bert: "a password" });
  const { file, open } = place(t, secret);
  const methods = ["jwt", "password"];
  const settings = { secret_file: file, disconnect_on_expiry: false };
  const authenticator = await open(settings, { methods, users });
  const bert = { name: "bert", password: "a password" };
  assert.deepEqual(await ask(authenticator, bert), { user: "bert" });
  assert.deepEqual(await ask(authenticator, { ...bert, password: "another" }), refusedUser);
  assert.deepEqual(await ask(authenticator, shown(await token("HS256", secret))), anna);
  assert.deepEqual(
    await ask(authenticator, shown(await token("HS256", `${secret}x`))),
    refusedUser,
  );
  assert.deepEqual(authenticator.counters.refusedToken, { signature: 1 });
  assert.equal(authenticator.counters.refusedWrongPassword, 1);
});

test("with disconnect_on_expiry the verdict says when the connection ends", async (t) => {
  const authenticator = await withSecret(t, { disconnect_on_expiry: true, clock_tolerance: "2s" });
  const exp = nowSeconds() + 100;
  const verdict = await ask(authenticator, shown(await token("HS256", secret, { exp })));
  assert.deepEqual(verdict, { user: "anna", expiresAtMs: exp * 1000 + 2000 });
});
