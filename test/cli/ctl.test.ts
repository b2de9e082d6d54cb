/** The dialogue of `broker ctl` with a node: which node, what is asked, what is printed. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openCtl } from "../../src/admin/ctl-server.js";
import { silentLog } from "../../src/lib/log.js";
import { type FakeOptions, fakeParts } from "../admin/fake-parts.js";
import { fakeDependencies } from "./fake-node.js";
import { Place } from "./support.js";

async function withNodes(t: TestContext, ...nodes: FakeOptions[]) {
  const place = new Place(t, fakeDependencies());
  const runDir = place.environment.BROKER_NODE__RUN_DIR ?? "";
  const all = [];
  for (const options of nodes) {
    const parts = fakeParts(options);
    const server = await openCtl({ runDir, name: parts.cluster.name, parts, log: silentLog });
    t.after(() => server.close());
    all.push(parts);
  }
  return { place, parts: all };
}

const joined = "You have successfully joined the node a@h to the cluster with node member b@h";

test("the only node of this machine needs no name", async (t) => {
  const { place } = await withNodes(t, { name: "a@h" });
  assert.deepEqual(await place.run(["ctl", "join_cluster", "b@h"]), {
    ...{ code: 0, output: joined, errors: "" },
  });
  assert.equal((await place.run(["started"])).output, "The node a@h is running");
});

test("with several nodes the name is needed: flag, environment or error", async (t) => {
  const { place } = await withNodes(t, { name: "a@h" }, { name: "z@h" });
  const unnamed = await place.run(["ctl", "status"]);
  assert.deepEqual(unnamed, {
    ...{ code: 1, output: "" },
    errors: "Error: several nodes run here (a@h, z@h): say which with --node NAME",
  });
  const flagged = await place.run(["ctl", "--node", "z@h", "status"]);
  assert.equal(JSON.parse(flagged.output).node, "z@h");
  place.environment.BROKER_NODE__NAME = "a@h";
  assert.equal(JSON.parse((await place.run(["ctl", "status"])).output).node, "a@h");
});

test("--json prints one JSON document on one line", async (t) => {
  const { place } = await withNodes(t, { name: "a@h" });
  const { output } = await place.run(["ctl", "--json", "join_cluster", "b@h"]);
  assert.equal(output, '{"node":"a@h","member":"b@h"}');
  const after = await place.run(["ctl", "clients", "list", "--limit", "1", "--json"]);
  assert.equal(JSON.parse(after.output).total, 2);
});

test("a question is answered with yes, and asked again for anything else", async (t) => {
  const { place, parts } = await withNodes(t, { name: "a@h", sessions: 1 });
  const { code, output } = await place.run(
    ["ctl", "join_cluster", "b@h"],
    ["y", "", "YES", " yes "],
  );
  const lines = output.split("\n");
  assert.equal(code, 0);
  assert.equal(lines.length, 5);
  assert.match(lines[3] ?? "", /1 persistent session,.* Do you want to continue\? \(yes\/no\)$/);
  assert.equal(lines[4], joined);
  assert.deepEqual(parts[0]?.asked, [["join", "b@h", false]]);
});

test("no discards the operation: exit code 1, and nothing was done", async (t) => {
  const { place, parts } = await withNodes(t, { name: "a@h", retained: 1 });
  const { code, output } = await place.run(["ctl", "join_cluster", "b@h"], ["no"]);
  assert.equal(code, 1);
  assert.match(output, /\(yes\/no\)\nOperation discarded by user$/);
  assert.deepEqual(parts[0]?.asked, []);
});

test("an input that ends without an answer is refused", async (t) => {
  const { place, parts } = await withNodes(t, { name: "a@h", retained: 1 });
  const { code, errors } = await place.run(["ctl", "join_cluster", "b@h"], ["perhaps"]);
  assert.deepEqual([code, parts[0]?.asked], [1, []]);
  assert.equal(errors, "Error: neither yes nor no was answered; -f skips the question");
});

test("-f goes without the question", async (t) => {
  const { place, parts } = await withNodes(t, { name: "a@h", sessions: 1, others: ["b@h"] });
  const words = ["ctl", "join_cluster", "b@h", "-f", "--discard"];
  assert.equal((await place.run(words)).output, joined);
  const removed = await place.run(["ctl", "remove_from_cluster", "b@h", "--force"]);
  assert.equal(removed.output, "The node b@h has been removed from the cluster");
  assert.deepEqual(parts[0]?.asked, [
    ["join", "b@h", true],
    ["remove", "b@h"],
  ]);
});

test("with --json the question goes to standard error, and output stays clean", async (t) => {
  const { place } = await withNodes(t, { name: "a@h", sessions: 1 });
  const { output, errors } = await place.run(["ctl", "--json", "join_cluster", "b@h"], ["yes"]);
  assert.equal(output, '{"node":"a@h","member":"b@h"}');
  assert.match(errors, /\(yes\/no\)$/);
});

test("refusals are exit code 1, what the node calls wrong usage is 2", async (t) => {
  const { place } = await withNodes(t, { name: "a@h" });
  const refused = await place.run(["ctl", "join_cluster", "nobody@nowhere"]);
  assert.deepEqual(refused, {
    ...{ code: 1, output: "", errors: "Error: no node answers as nobody@nowhere" },
  });
  const wrong = await place.run(["ctl", "clients", "list", "--limit", "many"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.errors, /^Error: limit: /);
});

test("arguments arrive as they were typed", async (t) => {
  const { place, parts } = await withNodes(t, { name: "a@h" });
  await place.run(["ctl", "publish", "007", "1e3", "--qos", "0", "--retain"]);
  assert.deepEqual(parts[0]?.asked, [
    ["publish", { topic: "007", payload: Buffer.from("1e3"), qos: 0, retain: true }],
  ]);
  const shown = await place.run(["ctl", "routes", "list", "a.b/$SYS/#"]);
  assert.match(shown.output, /a\.b\/\$SYS\/#/);
});
