/** Who is let in by a CONNECT, and what is counted; password checks and their limits. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Verdict } from "../../src/auth/authenticator.js";
import type { Users } from "../../src/auth/users.js";
import type { Config } from "../../src/config/schema.js";
import { ask, authenticatorOf, busy, notAuthorized, refusedUser } from "./asking.js";
import { TestUsers, testUsers } from "./support.js";

const users = await testUsers({ anna: "secret" });

const make = (settings: Partial<Config["auth"]> = {}, of: Users = users) =>
  authenticatorOf(settings, of);

test("a user with the right password gets in, everything else is refused alike", async () => {
  const authenticator = make();
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "secret" }), {
    user: "anna",
  });
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "Secret" }), refusedUser);
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "" }), refusedUser);
  assert.deepEqual(await ask(authenticator, { name: "anna" }), refusedUser);
  const noText = Buffer.from([0xff]);
  assert.deepEqual(await ask(authenticator, { name: "anna", password: noText }), refusedUser);
  assert.deepEqual(await ask(authenticator, { name: "Anna", password: "secret" }), refusedUser);
  const { counters } = authenticator;
  assert.equal(counters.passwordsAccepted, 1);
  assert.equal(counters.refusedWrongPassword, 4);
  assert.equal(counters.refusedUnknownUser, 1);
});

test("anonymous clients: the listener decides before the setting", async () => {
  const open = make();
  const closed = make({ anonymous: false });
  assert.deepEqual(await ask(open, {}), { user: "" });
  assert.deepEqual(await ask(open, { anonymous: false }), notAuthorized);
  assert.deepEqual(await ask(closed, {}), notAuthorized);
  assert.deepEqual(await ask(closed, { anonymous: true }), { user: "" });
  assert.equal(open.counters.refusedAnonymous + closed.counters.refusedAnonymous, 2);
  assert.equal(open.counters.anonymousAccepted, 1);
});

test("without a users file names are not looked at, unless anonymous is false", async () => {
  const none = new TestUsers(false);
  assert.deepEqual(await ask(make({}, none), { name: "anna", password: "x" }), { user: "" });
  const closed = make({ anonymous: false }, none);
  assert.deepEqual(await ask(closed, { name: "anna", password: "secret" }), refusedUser);
  const listener = { name: "anna", password: "secret", anonymous: false };
  assert.deepEqual(await ask(make({}, none), listener), refusedUser);
});

test("a certificate's name is taken, whatever CONNECT says", async () => {
  const authenticator = make({ anonymous: false });
  const shown = { name: "anna", password: "wrong", certificateUser: "device-1" };
  assert.deepEqual(await ask(authenticator, shown), { user: "device-1" });
  assert.equal(authenticator.counters.certificatesAccepted, 1);
});

test("without the method password no name gets in", async () => {
  const authenticator = make({ methods: ["SCRAM-SHA-256"] });
  assert.deepEqual(await ask(authenticator, { name: "anna", password: "secret" }), refusedUser);
  assert.notEqual(authenticator.begin("SCRAM-SHA-256"), null);
  assert.equal(make({ methods: ["password"] }).begin("SCRAM-SHA-256"), null);
});

test("a method that is not offered is counted; password is none of them", () => {
  const authenticator = make();
  for (const name of ["GS2-KRB5", "password", "", "scram-sha-256"]) {
    assert.equal(authenticator.begin(name), null);
  }
  assert.equal(authenticator.counters.refusedUnknownMethod, 4);
});

test("few checks run at once, some wait, and more are refused as busy", async () => {
  const authenticator = make({ checks_at_once: 1, checks_waiting: 2 });
  const all = [1, 2, 3, 4, 5].map(() => ask(authenticator, { name: "anna", password: "secret" }));
  assert.equal(authenticator.waiting, 2);
  const anna: Verdict = { user: "anna" };
  assert.deepEqual(await Promise.all(all), [anna, anna, anna, busy, busy]);
  assert.equal(authenticator.counters.refusedBusy, 2);
  assert.equal(authenticator.waiting, 0);
});

test("a check that nobody waits for is not made", async () => {
  const authenticator = make({ checks_at_once: 1 });
  const first = ask(authenticator, { name: "anna", password: "secret" });
  void ask(authenticator, { name: "anna", password: "secret" }, () => false);
  const last = ask(authenticator, { name: "anna", password: "secret" });
  await first;
  await last;
  assert.equal(authenticator.counters.checksAbandoned, 1);
  assert.equal(authenticator.counters.passwordsAccepted, 2);
});
