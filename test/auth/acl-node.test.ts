/** A whole node with access rules: its start, ctl, explain, metrics, and SIGHUP. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import mqtt from "mqtt";
import { startNodes, until } from "../support/nodes.js";
import { type WholeNode, wholeNode } from "./whole-node.js";

interface Place extends WholeNode {
  /** Writes the ACL file. */
  rules(...lines: string[]): void;
}

function place(t: TestContext, ...set: string[]): Place {
  const node = wholeNode(t, ["auth.acl_file=rules.acl", ...set]);
  const rules = (...lines: string[]): void =>
    writeFileSync(join(node.folder, "rules.acl"), lines.join("\n"));
  return { ...node, rules };
}

test("a node does not start with rules that are missing or broken, and says why", async (t) => {
  const { start, rules } = place(t);
  await assert.rejects(start(), /the ACL file .*rules\.acl cannot be used: .*ENOENT/);
  rules("allow all all #", "allow nobody nothing");
  await assert.rejects(
    start(),
    /the ACL file .*rules\.acl cannot be used: line 2: a rule is allow/,
  );
});

test("ctl reads the rules again and says what they mean; explain names the rule", async (t) => {
  const { start, ctl, rules, lines } = place(t);
  rules("allow all publish t/#", "deny client c2 all #", "allow all all %c/#", "allow all all t/#");
  const broker = await start();
  const port = broker.report.listeners[0]?.port ?? 0;
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { clientId: "c1" });
  t.after(() => client.endAsync(true));
  await client.subscribeAsync("t/#");
  const check = (action: string, topic: string, more: object = {}): Promise<string> =>
    ctl("acl check", { action, topic, ...more });
  assert.equal(await check("publish", "t/1"), "t/1: allowed; line 1 of the ACL file allows it");
  const denied = "c2/x: denied; line 2 of the ACL file denies it";
  assert.equal(await check("subscribe", "c2/x", { client: "c2", user: "u" }), denied);
  assert.match(await check("subscribe", "c3/#", { client: "c3" }), /allowed; line 3/);
  assert.match(await check("subscribe", "$share/g/t/+", { client: "c3" }), /allowed; line 4/);
  assert.match(
    await check("publish", "x"),
    /denied; no rule fits, and auth\.acl_default denies it/,
  );
  assert.match(await check("publish", "a/#"), /has no wildcards/);
  assert.match(await check("subscribe", "a/#/b"), /# stands only at the end/);
  assert.match(await check("read", "a"), /must be publish or subscribe/);

  rules("allow all all t/#", "deny client c1 subscribe t/secret");
  await ctl("acl reload");
  assert.match(await ctl("explain", { topic: "t/secret", client: "c1" }), /^c1 gets it/m);
  rules("deny client c1 subscribe t/secret", "allow all all t/#");
  assert.match(await ctl("acl reload"), /read again; rules in force: 2/);
  const explained = await ctl("explain", { topic: "t/secret", client: "c1" });
  assert.match(explained, /nobody/);
  assert.match(explained, /^not to c1: line 1 of the ACL file denies it$/m);
  assert.match(
    explained,
    /^c1 does not get it: it subscribed, but line 1 of the ACL file denies it$/m,
  );
  assert.match(await ctl("explain", { topic: "t/1", client: "c1" }), /^c1 gets it/m);

  rules("nonsense");
  assert.match(await ctl("acl reload"), /cannot be used: line 1/);
  await client.publishAsync("$other", "x", { qos: 1 });
  const metrics = broker.parts.metrics();
  const seen = ["failing", "load_failures", "loaded", "rules", "denied_publishes"].map(
    (counter) => metrics[`acl.${counter}`],
  );
  assert.deepEqual(seen, [1, 1, 3, 2, 1]);
  assert.match(await check("publish", "t/1"), /allowed; line 2/);
  assert.match(lines.join(""), /"clientId":"c1".*"action":"publish","name":"\$other".*denied by/);
});

test("without an ACL file ctl says so", async (t) => {
  const { start, ctl } = place(t, "auth.acl_file=");
  const broker = await start();
  assert.match(await ctl("acl reload"), /this node has no ACL file: set auth\.acl_file/);
  const answer = await ctl("acl check", { action: "publish", topic: "t" });
  assert.equal(answer, "t: allowed; there are no rules for it");
  await broker.reload();
});

test("SIGHUP reads the rules again; broken ones keep the old in force and the node up", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "trellis-hup-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "acl");
  writeFileSync(path, "allow all all #\n");
  const [node] = await startNodes(t, { nodes: 1, settings: [`auth.acl_file=${path}`] });
  assert.ok(node !== undefined);
  const metric = (key: string): Promise<number> => node.metric(`acl.${key}`);
  writeFileSync(path, "allow all all #\nallow all all $other/#\n");
  process.kill(node.pid, "SIGHUP");
  await until("the second reading", async () => (await metric("rules")) === 2 || undefined);
  writeFileSync(path, "broken\n");
  process.kill(node.pid, "SIGHUP");
  await until("the alarm", async () => (await metric("failing")) === 1 || undefined);
  assert.equal(await metric("rules"), 2);
});
