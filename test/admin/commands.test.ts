/** Every command: its data, its words, its refusals and its question. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { argumentInfo } from "../../src/admin/command.js";
import { commands } from "../../src/admin/commands/index.js";
import type { CtlResponse } from "../../src/admin/ctl-protocol.js";
import { respond } from "../../src/admin/ctl-server.js";
import { silentLog } from "../../src/lib/log.js";
import { type FakeOptions, fakeParts } from "./fake-parts.js";

/** Every list here is short. */
const noPart = (): never => assert.fail("a part of a list");

function ask(
  command: string,
  args: object = {},
  options: FakeOptions = {},
  force = false,
): Promise<CtlResponse> {
  return respond(JSON.stringify({ command, args, force }), fakeParts(options), silentLog, noPart);
}

async function textOf(command: string, args: object = {}, options: FakeOptions = {}) {
  const response = await ask(command, args, options);
  assert.ok("ok" in response && response.ok, JSON.stringify(response));
  return response.text;
}

async function refusal(command: string, args: object): Promise<string> {
  const response = await ask(command, args);
  assert.ok("ok" in response && !response.ok, JSON.stringify(response));
  return response.error;
}

async function question(command: string, args: object, options: FakeOptions): Promise<string> {
  const response = await ask(command, args, options);
  assert.ok("confirm" in response, JSON.stringify(response));
  return response.confirm;
}

test("every command has a summary and explains its arguments", () => {
  for (const [name, command] of commands) {
    assert.ok(command.summary.length > 10, name);
    for (const schema of Object.values(command.args)) {
      assert.ok((argumentInfo.get(schema)?.about.length ?? 0) > 5, name);
    }
  }
});

test("join_cluster says who joined whom", async () => {
  assert.equal(
    await textOf("join_cluster", { node: "b@h" }, { name: "a@h" }),
    "You have successfully joined the node a@h to the cluster with node member b@h",
  );
});

test("join_cluster asks when the node holds data, and not when it is forced or empty", async () => {
  const data = { sessions: 1, retained: 2 };
  assert.equal(
    await question("join_cluster", { node: "b@h" }, data),
    "This node holds 1 persistent session, 0 queued messages and 2 retained messages, which will be " +
      "merged into the cluster of b@h. Do you want to continue?",
  );
  assert.match(await question("join_cluster", { node: "b@h", discard: true }, data), /discarded/);
  const forced = await ask("join_cluster", { node: "b@h" }, data, true);
  assert.ok("ok" in forced && forced.ok);
});

test("drain and rebalance tell how far they have come", async () => {
  assert.match(await textOf("drain start", {}), /kind: +drain[\s\S]*moved: +3[\s\S]*sessions: +7/);
  assert.match(await textOf("drain status", {}), /state: +running/);
  assert.match(await refusal("drain undo", {}), /not being drained/);
  assert.match(await textOf("rebalance plan", {}), /gives: +2\nn1@h: +4/);
  assert.match(await textOf("rebalance start", {}), /kind: +rebalance/);
  assert.match(await textOf("rebalance status", {}), /clients: +2/);
  assert.match(await textOf("rebalance stop", {}), /state: +stopped/);
});

test("leave_cluster says who left, and asks when sessions stay behind", async () => {
  assert.equal(
    await textOf("leave_cluster", {}, { name: "a@h" }),
    "You have successfully left the node a@h from the cluster",
  );
  assert.match(await question("leave_cluster", {}, { sessions: 2 }), /^2 persistent sessions/);
});

test("remove_from_cluster says what it gives up, asks, and removes", async () => {
  const options = { others: ["b@h"] };
  assert.equal(
    await question("remove_from_cluster", { node: "b@h" }, options),
    "Removing the node b@h (up) gives up its 3 sessions and 4 messages that wait for it in the cluster. " +
      "Do you want to continue?",
  );
  const forced = await ask("remove_from_cluster", { node: "b@h" }, options, true);
  assert.ok("ok" in forced && forced.ok);
  assert.equal(forced.text, "The node b@h has been removed from the cluster");
});

test("remove_from_cluster leaves the refusal of a stranger to the cluster, without a question", async () => {
  const response = await ask("remove_from_cluster", { node: "stranger@h" });
  assert.ok("ok" in response);
});

test("outbox list and show are tables; discard and redirect ask when something waits", async () => {
  const list = await textOf("outbox list");
  assert.match(list, /^b@h +down +3 +300 +2026\S+ +no$/m);
  assert.match(list, /^c@h +up +0 +0$/m);
  assert.match(list, /^d@h +lost its data +3/m);
  const shown = await textOf("outbox show", { node: "b@h", limit: 2 });
  assert.match(shown, /^7-1 +t +1 +5 +c1 /m);
  assert.match(shown, /and 1 more/);
  const options = { name: "a@h" };
  assert.match(
    await question("outbox discard", { node: "b@h" }, options),
    /^3 messages \(300 bytes, the oldest since 2026\S+\) that wait at a@h for sessions of b@h will be lost/,
  );
  assert.match(
    await question("outbox redirect", { node: "b@h", to: "c@h" }, options),
    /^3 messages .* go to the sessions of c@h that match now/,
  );
  assert.equal(await refusal("outbox discard", { node: "c@h" }), "c@h is up");
  const forced = await ask("outbox redirect", { node: "b@h", to: "c@h" }, options, true);
  assert.ok("ok" in forced && forced.ok);
  assert.equal(forced.text, "3 messages have been given to c@h");
});

test("presence shows who is subscribed, and who could not be asked", async () => {
  const text = await textOf("presence", { filter: "a/b" }, { name: "a@h" });
  assert.match(text, /^c1 +anna +a@h +1 +yes +a\/b$/m);
  assert.match(text, /\.\.\. and 1 more \(--limit\)\nnot reached: b@h$/);
});

test("status is one JSON document", async () => {
  const status = JSON.parse(await textOf("status", {}, { name: "a@h", others: ["b@h"] }));
  assert.deepEqual(Object.keys(status), [
    ...["node", "version", "running", "stopped", "partitioned", "members"],
  ]);
  assert.deepEqual(status.running, ["a@h", "b@h"]);
});

test("lists are tables, say what they left out, and cannot move the terminal", async () => {
  assert.match(
    await textOf("clients list", { limit: 1 }),
    /^client .*\nc1 .*\n\.\.\. and 1 more \(--limit\)$/,
  );
  assert.match(await textOf("sessions list"), /\nc1 +yes +60s +1 +0 +0$/);
  const rows = await textOf("subscriptions list", { client: "c9" });
  assert.match(rows, /f\\u001b\[2J\/c9 +1 +no-local$/);
  assert.match(await textOf("routes list", { filter: "a/b" }), /\na\/b +a@127\.0\.0\.1 +2 +yes$/);
  assert.match(await textOf("retained list"), /\n# +1 +2 +2026/);
  assert.match(
    await textOf("listeners"),
    /\nmqtt +127\.0\.0\.1 +1883 +1 +tcp\nunix +\/run\/mqtt\.sock +2 +local$/,
  );
  assert.match(await textOf("metrics"), /\na +1\nb +2$/);
  assert.equal(await textOf("routes verify"), "no peers");
  assert.match(await textOf("routes verify", {}, { others: ["b@h"] }), /\nb@h +3 +yes$/);
});

test("one client, session or retained message is shown as a record, or refused", async () => {
  assert.match(await textOf("clients show", { client: "c1" }), /^clientId: +c1\nuser:/);
  assert.match(await textOf("sessions show", { client: "c1" }), /\nconnected: +true\n/);
  assert.match(await textOf("retained get", { topic: "text" }), /\npayload: +hi\nencoding: +utf8/);
  assert.match(
    await textOf("retained get", { topic: "bytes" }),
    /\npayload: +\/wA=\nencoding: +base64/,
  );
  assert.equal(
    await refusal("clients show", { client: "x" }),
    "no client x is connected to this node",
  );
  assert.equal(
    await refusal("sessions show", { client: "x" }),
    "no session of x lives in this node",
  );
  assert.equal(await refusal("retained get", { topic: "x" }), "no message is retained on x");
});

test("kick and delete say whom they met, or refuse", async () => {
  assert.equal(
    await textOf("clients kick", { client: "c1" }),
    "The client c1 has been disconnected",
  );
  const goes = { client: "c1", node: "n2@h" };
  assert.match(await textOf("sessions move", goes), /c1 is at n2@h now, with 3 messages/);
  assert.match(await refusal("sessions move", { ...goes, client: "x" }), /no session of x/);
  assert.match(await textOf("sessions delete", { client: "c1" }), /session of c1 has been deleted/);
  assert.match(
    await textOf("retained delete", { topic: "text" }),
    /message on text has been deleted/,
  );
  assert.match(await refusal("clients kick", { client: "\u001b" }), /no client \\u001b is/);
  assert.match(await refusal("sessions delete", { client: "x" }), /no session/);
  assert.match(await refusal("retained delete", { topic: "x" }), /no message/);
});

test("listeners reload names what was read again, or why it was not", async () => {
  assert.match(
    await refusal("listeners", { action: "reload" }),
    /^the old certificates stay in use: wss: c\.pem: no certificate$/,
  );
  const certificates = [{ name: "tls", problem: null }];
  assert.equal(
    await textOf("listeners", { action: "reload" }, { certificates }),
    "The certificates of tls have been read again",
  );
  assert.match(await refusal("listeners", { action: "stop" }), /it must be reload$/);
});

test("publish hands over topic, payload, QoS and retain", async () => {
  const parts = fakeParts();
  const args = { topic: "t", payload: "grüß", qos: 2, retain: true };
  const answer = await respond(
    JSON.stringify({ command: "publish", args }),
    parts,
    silentLog,
    noPart,
  );
  assert.ok("ok" in answer && answer.ok && answer.text === "Published and accepted");
  assert.deepEqual(parts.asked, [
    ["publish", { topic: "t", payload: Buffer.from("grüß"), qos: 2, retain: true }],
  ]);
  assert.match(await textOf("publish", { topic: "nowhere" }), /no matching subscribers/);
});

test("explain names filters, nodes and the reason for one client", async () => {
  const text = await textOf("explain", { topic: "t/1", client: "c2" });
  assert.match(text, /^A message on t\/1 goes to\nclient here.*\nc1 +t\/# +1 +yes\n/);
  assert.match(text, /\nb@h +up +t\/\+ +0 +no\none member of \$share\/g\/t\/#\n/);
  assert.match(
    text,
    /\nm1 +here +1 +yes\nb@h +up +1 +2 online, 1 waiting\nnot to c9: .*\nc2 does not get it: no filter of it matches$/,
  );
});

test("ban add, delete and list: kinds and durations are checked", async () => {
  const client = { kind: "client", what: "c1" };
  assert.equal(await textOf("ban add", client), "The client c1 has been banned");
  assert.match(
    await textOf("ban add", { ...client, for: "12h", reason: "x" }),
    /banned until 2026/,
  );
  assert.match(await refusal("ban add", { ...client, for: "soon" }), /no duration/);
  assert.match(await refusal("ban add", { ...client, for: "0s" }), /no duration/);
  assert.match(await refusal("ban add", { kind: "topic", what: "t" }), /client/);
  assert.equal(await textOf("ban delete", client), "The ban of the client c1 has been deleted");
  assert.match(await refusal("ban delete", { ...client, what: "nobody" }), /not banned/);
  assert.match(await textOf("ban list"), /address +10\.0\.0\.0\/8 .* noise/);
});

test("acl reload and acl check say what holds; the action must be one of two", async () => {
  assert.equal(await textOf("acl reload"), "The ACL file has been read again; rules in force: 7");
  const args = { topic: "t\u001b[2J", client: "c", user: "u" };
  const text = await textOf("acl check", { action: "publish", ...args });
  assert.match(text, /^t[^\u001b]*: allowed; line 3 of the ACL file says so$/);
  assert.match(
    await textOf("acl check", { action: "subscribe", topic: "t" }),
    /^t: denied; line 3/,
  );
  assert.match(await refusal("acl check", { action: "read", topic: "t" }), /publish or subscribe/);
});

test("log level shows, sets and refuses", async () => {
  assert.equal(await textOf("log level"), "The log level is info");
  assert.equal(await textOf("log level", { level: "debug" }), "The log level is debug");
  assert.match(await refusal("log level", { level: "loud" }), /one of debug, info, warn, error/);
});

test("stop begins the stop and says which process is to end", async () => {
  let stops = 0;
  const response = await ask("stop", {}, { onStop: () => stops++ });
  assert.equal(stops, 1);
  assert.deepEqual("ok" in response && response.ok && response.result, {
    stopping: "a@127.0.0.1",
    pid: process.pid,
  });
});

test("store: what it holds, whether it is whole, its size after compaction, and a backup", async () => {
  assert.match(await textOf("store stats"), /kind: +lmdb\nalarm: +none\ncommits: +5/);
  const verified = await textOf("store verify");
  assert.match(verified, /10 records .* in 2 partitions, 1 with a wrong checksum/);
  assert.match(verified, /session\/c1/);
  assert.doesNotMatch(verified, /\u001b/);
  assert.equal(await textOf("store compact"), "The file of the store has 1MiB instead of 3MiB");
  const parts = fakeParts();
  const args = { directory: "/backups/1" };
  const request = JSON.stringify({ command: "store backup", args, force: false });
  const answer = await respond(request, parts, silentLog, noPart);
  assert.ok("ok" in answer && answer.ok);
  assert.match(answer.text, /10 records are in \/backups\/1/);
  assert.deepEqual(parts.asked, [["backup", "/backups/1"]]);
  assert.match(await refusal("store backup", { directory: "backups" }), /absolute/);
});
