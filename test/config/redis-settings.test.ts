/** The section `store.redis`: what is refused, and that its passwords are shown nowhere. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readEnvironment } from "../../src/config/environment.js";
import { ConfigRefusal, loadConfig, parseSetFlag } from "../../src/config/load.js";
import { effectiveText, referenceText } from "../../src/config/reference.js";

const place = { cwd: "/srv", home: "/home/op", uid: 7 };

function load(set: readonly string[], environment: Record<string, string> = {}) {
  const flags = set.map(parseSetFlag);
  return loadConfig({ file: undefined, environment: readEnvironment(environment), flags, place });
}

function problem(...set: string[]): string {
  try {
    load(set.map((setting) => `store.redis.${setting}`));
  } catch (error) {
    assert.ok(error instanceof ConfigRefusal, String(error));
    return error.problems.join(" ");
  }
  return assert.fail("the configuration was taken");
}

test("passwords are taken, and shown nowhere", () => {
  const secret = "s3cret-that-nobody-may-see";
  const environment = { BROKER_STORE__REDIS__PASSWORD: secret };
  const { config, changed } = load([`store.redis.sentinel_password=${secret}`], environment);
  assert.equal(config.store.redis.password, secret);
  assert.equal(config.store.redis.sentinel_password, secret);
  const shown = effectiveText(config, changed);
  assert.match(shown, /^ {4}password: "\*\*\*" {2}# .*BROKER_STORE__REDIS__PASSWORD/m);
  assert.match(shown, /^ {4}sentinel_password: "\*\*\*"/m);
  assert.ok(!`${shown} ${JSON.stringify(changed)}`.includes(secret));
  assert.match(referenceText(), /# password: ""/);
  const refused = problem(`password=${secret}\n${secret}`);
  assert.match(refused, /store\.redis\.password must be text of one line/);
  assert.ok(!refused.includes(secret));
});

test("what does not go together is refused", () => {
  const two = "addresses=a:1,b:2";
  assert.match(problem(two), /must hold one address when store\.redis\.mode is standalone/);
  assert.match(problem("addresses="), /must hold at least one address/);
  assert.match(problem("mode=sentinel", two), /sentinel_name must be given/);
  assert.match(problem("mode=cluster", two, "db=1"), /db must be 0/);
  assert.match(problem("tls.certificate=c.pem"), /tls\.key must be given together/);
  assert.match(
    problem("lease_interval=2s", "lease_time=7s"),
    /lease_time must be at least four times store\.redis\.lease_interval/,
  );
  load(["store.redis.lease_interval=2s", "store.redis.lease_time=8s"]);
  load(["store.redis.mode=cluster", `store.redis.${two}`]);
});

test("values that cannot be right are refused", () => {
  const wrong = [
    ...["addresses=redis", "addresses=redis:0", "addresses=redis://h:1", "prefix={x}", "prefix="],
    ...["mode=other", "db=-1", "call_timeout=1ms", "wait_replicas=-1", "username=a b"],
    ...["lease_interval=10ms", "lease_time=100ms"],
  ];
  for (const setting of wrong) {
    const key = `store.redis.${setting.replace(/=.*/, "")}`;
    assert.ok(problem(setting).includes(`${key} is `), setting);
  }
  const { config } = load(["store.redis.addresses=[::1]:6379"]);
  assert.deepEqual(config.store.redis.addresses, ["[::1]:6379"]);
});

test("files are relative to the directory of the start", () => {
  const { config } = load(["store.redis.tls.ca=ca.pem"]);
  assert.equal(config.store.redis.tls.ca, "/srv/ca.pem");
  assert.equal(config.store.redis.tls.key, "");
});
