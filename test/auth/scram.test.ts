/** SCRAM-SHA-256 at the server: the example of the RFC, and everything that must be refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Exchange, Step } from "../../src/auth/exchange.js";
import { scramSha256 } from "../../src/auth/methods/scram.js";
import { deriveVerifier } from "../../src/auth/verifier.js";
import { realRandom } from "../../src/lib/random.js";
import { ScramClient } from "./scram-client.js";
import { TestUsers, testUsers } from "./support.js";

const users = await testUsers({ anna: "secret", "a,b=c": "säge", bert: "other" });
const begin = (): Exchange => scramSha256.begin({ users, random: realRandom });

function said(step: Step, kind: Step["kind"]): string {
  assert.equal(step.kind, kind, step.data.toString());
  return step.data.toString();
}

/** Goes through the first two messages. */
function asked(client: ScramClient): { exchange: Exchange; final: Buffer } {
  const exchange = begin();
  const step = exchange.step(client.first());
  said(step, "continue");
  return { exchange, final: client.final(step.data) };
}

test("the example of RFC 7677 section 3", async () => {
  const salt = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
  const known = new TestUsers();
  known.verifiers.set("user", await deriveVerifier(Buffer.from("pencil"), salt, 4096));
  // The nonce of the example is no base64, so the bytes that it would stand for do not exist.
  const text = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  const bytes = (): Buffer => Object.assign(Buffer.alloc(0), { toString: () => text });
  const exchange = scramSha256.begin({ users: known, random: { ...realRandom, bytes } });
  const step = (message: string): Step => exchange.step(Buffer.from(message));
  assert.equal(
    said(step("n,,n=user,r=rOprNGfwEbeRWgbNEkqO"), "continue"),
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
  );
  const last = step(
    "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
      "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
  );
  assert.equal(said(last, "success"), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
  assert.ok(last.kind === "success" && last.user === "user");
});

test("each side proves itself; names are escaped, flag y and the own identity are taken", () => {
  for (const client of [
    new ScramClient("anna", "secret"),
    new ScramClient("a,b=c", "säge"),
    new ScramClient("anna", "secret", "n!~", "y,,"),
    new ScramClient("a,b=c", "säge", "n", "n,a=a=2Cb=3Dc,"),
  ]) {
    const { exchange, final } = asked(client);
    const step = exchange.step(final);
    assert.ok(step.kind === "success" && step.user === client.name, step.data.toString());
    assert.ok(client.accepts(step.data));
  }
});

const refusedFirst: readonly (readonly [string, string])[] = [
  ["p=tls-exporter,,n=anna,r=x", "channel-binding-not-supported"],
  ["n,,m=must,n=anna,r=x", "extensions-not-supported"],
  ["n,,n=,r=x", "invalid-username-encoding"],
  ["n,,n=a=2c,r=x", "invalid-username-encoding"],
  ["n,,n=a=,r=x", "invalid-username-encoding"],
  ["n,,n=a\u00adnna,r=x", "invalid-username-encoding"],
  ["n,,n=\u2168,r=x", "invalid-username-encoding"],
  ["n,a=bert,n=anna,r=x", "other-error"],
  ["n,a=an=na,n=anna,r=x", "other-error"],
  ["n,,n=anna", "invalid-encoding"],
  ["n,,n=anna,r=", "invalid-encoding"],
  ["n,,n=anna,r=\u0001", "invalid-encoding"],
  ["n,,n=anna,r=x,", "invalid-encoding"],
  ["n,,r=x,n=anna", "invalid-encoding"],
  ["n=anna,r=x", "invalid-encoding"],
  ["x,,n=anna,r=x", "invalid-encoding"],
  ["n,,n=anna,r=x\n", "invalid-encoding"],
  ["n,,n=an\0na,r=x", "invalid-encoding"],
  [`n,,n=${"a".repeat(2048)},r=x`, "other-error"],
];

for (const [message, error] of refusedFirst) {
  test(`first message ${JSON.stringify(message.slice(0, 40))}: ${error}`, () => {
    assert.equal(said(begin().step(Buffer.from(message)), "failure"), `e=${error}`);
  });
}

test("a first message that is no UTF-8 is refused", () => {
  const bytes = Buffer.from([0x6e, 0x2c, 0x2c, 0x6e, 0x3d, 0xff, 0x2c, 0x72, 0x3d, 0x78]);
  assert.equal(said(begin().step(bytes), "failure"), "e=invalid-encoding");
});

test("a client that sends nothing first is asked, once", () => {
  const exchange = begin();
  assert.equal(said(exchange.step(Buffer.alloc(0)), "continue"), "");
  assert.equal(said(exchange.step(Buffer.alloc(0)), "failure"), "e=invalid-encoding");
  const patient = begin();
  patient.step(Buffer.alloc(0));
  assert.match(said(patient.step(new ScramClient("anna", "secret").first()), "continue"), /^r=/);
});

test("a wrong password fails at the proof", () => {
  const { exchange, final } = asked(new ScramClient("anna", "wrong"));
  assert.equal(said(exchange.step(final), "failure"), "e=invalid-proof");
});

test("an unknown user is asked like any other, always with the same salt, and fails at the proof", () => {
  const salts = [1, 2].map(() => {
    const step = begin().step(new ScramClient("nobody", "secret").first());
    return /s=([^,]+),i=4096$/.exec(said(step, "continue"))?.[1];
  });
  assert.equal(salts[0], salts[1]);
  const { exchange, final } = asked(new ScramClient("nobody", "secret"));
  assert.equal(said(exchange.step(final), "failure"), "e=invalid-proof");
});

test("a last message is bound to header, nonce and exchange", () => {
  const change = (what: RegExp, to: string): string => {
    const { exchange, final } = asked(new ScramClient("anna", "secret"));
    return said(exchange.step(Buffer.from(final.toString().replace(what, to))), "failure");
  };
  assert.equal(change(/^c=biws/, "c=eSws"), "e=channel-bindings-dont-match");
  assert.equal(change(/,r=/, ",r=x"), "e=other-error");
  assert.equal(change(/,p=/, ",x=1,p="), "e=invalid-proof");
  assert.equal(change(/,p=.*/, ""), "e=invalid-encoding");
  assert.equal(change(/p=.*/, "p=QUJD"), "e=invalid-encoding");
  assert.equal(change(/$/, "\n"), "e=invalid-encoding");
  assert.equal(change(/^.*$/, ""), "e=invalid-encoding");
});

test("a replayed last message fails", () => {
  const client = new ScramClient("anna", "secret", "fixed");
  const { exchange, final } = asked(client);
  said(exchange.step(final), "success");
  const again = begin();
  said(again.step(client.first()), "continue");
  assert.equal(said(again.step(final), "failure"), "e=other-error");
});

test("no byte of the last message can be changed", () => {
  const { final } = asked(new ScramClient("anna", "secret"));
  for (let at = 0; at < final.length; at++) {
    const fresh = asked(new ScramClient("anna", "secret"));
    // Nonces differ in length.
    if (at >= fresh.final.length) continue;
    fresh.final[at] = (fresh.final[at] ?? 0) ^ 1;
    said(fresh.exchange.step(fresh.final), "failure");
  }
});

test("random messages neither throw nor get in", () => {
  const noise = fc.uint8Array({ maxLength: 80 });
  const tokens = fc
    .array(fc.constantFrom("n", "y", "p=", ",", "a=", "n=anna", "r=x", "=2C", "c=biws", "\0"))
    .map((words) => Buffer.from(words.join("")));
  fc.assert(
    fc.property(fc.oneof(noise, tokens), fc.oneof(noise, tokens), (one, two) => {
      const exchange = begin();
      const step = exchange.step(Buffer.from(one));
      if (step.kind === "continue")
        assert.notEqual(exchange.step(Buffer.from(two)).kind, "success");
    }),
    { numRuns: 2000 },
  );
});
