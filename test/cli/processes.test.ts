/** Nodes as processes: foreground, console, the supervisor, and a cluster on one machine. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { answers } from "../../src/admin/ctl-client.js";
import { ctlPath } from "../../src/admin/ctl-protocol.js";
import { supervisorPath } from "../../src/cli/supervisor-socket.js";
import { fakeDependencies } from "./fake-node.js";
import { isAlive, Place, until } from "./support.js";

const name = "trellis@127.0.0.1";

function newPlace(t: TestContext): Place {
  const place = new Place(t, fakeDependencies());
  place.shareEnvironment();
  place.stopAtEnd();
  return place;
}

function pathsOf(place: Place) {
  const runDir = join(place.folder, "run");
  return {
    ctl: ctlPath(runDir, name),
    supervisor: supervisorPath(runDir, name),
    log: join(place.folder, "data", name, "broker.log"),
  };
}

async function pidOf(place: Place): Promise<number> {
  const { output } = await place.run(["ctl", "--json", "report"]);
  return JSON.parse(output).pid;
}

test("foreground prints its report and ends in order at SIGTERM", async (t) => {
  const place = newPlace(t);
  const node = place.spawn(["foreground", "--set", "limits.open_qos2=9"]);
  await node.prints(
    /Settings that are not the default:[\s\S]*open_qos2 = 9 \(--set limits\.open_qos2; /,
  );
  assert.match(node.output, /^Trellis \d+\.\d+\.\d+: the node trellis@127\.0\.0\.1 is running$/m);
  assert.match(node.output, /^ {2}mqtt 127\.0\.0\.1:1883$/m);
  assert.match(node.output, /^Connected members: trellis@127\.0\.0\.1$/m);
  const second = await place.run(["foreground"]);
  assert.equal(second.code, 1);
  assert.match(second.errors, /^Error: a node named trellis@127\.0\.0\.1 runs already/);
  node.kill("SIGTERM");
  assert.equal(await node.ended, 0);
  assert.equal(existsSync(pathsOf(place).ctl), false);
});

test("a refused start is one line on standard error and exit code 1", async (t) => {
  const node = newPlace(t).spawn(["foreground", "--set", "log.level=debug"]);
  assert.equal(await node.ended, 1);
  assert.equal(node.errors, "Error: the fake refuses to start\n");
  assert.equal(node.output, "");
});

test("a node in the foreground is stopped by `broker stop`", async (t) => {
  const place = newPlace(t);
  const node = place.spawn(["foreground"]);
  await node.prints(/is running/);
  const { code, output } = await place.run(["stop"]);
  assert.deepEqual([code, output], [0, `The node ${name} has been stopped`]);
  assert.equal(isAlive(node.pid), false);
  assert.equal(await node.ended, 0);
});

test("a question of a command is answered on standard input", async (t) => {
  const place = newPlace(t);
  const node = place.spawn(["foreground", "--set", "cluster.discovery.static.nodes=b@h"]);
  await node.prints(/is running/);
  const asking = place.spawn(["ctl", "remove_from_cluster", "b@h"]);
  await asking.prints(/Do you want to continue\? \(yes\/no\) $/);
  asking.type("perhaps");
  await asking.prints(/(.*\(yes\/no\) ){2}$/);
  asking.type("no");
  assert.equal(await asking.ended, 1);
  assert.match(asking.output, /Operation discarded by user\n$/);
  assert.equal(asking.errors, "");
  const silent = place.spawn(["ctl", "remove_from_cluster", "b@h"]);
  silent.closeInput();
  assert.equal(await silent.ended, 1);
  assert.match(silent.errors, /^Error: neither yes nor no was answered; -f skips the question\n$/);
});

test("console takes ctl commands, explains itself and stops at exit", async (t) => {
  const place = newPlace(t);
  const node = place.spawn(["console"]);
  await node.prints(/trellis> $/);
  node.type("names 'some host'");
  await node.prints(/\n?trellis@127\.0\.0\.1 +some host +4370\n/);
  node.type("nonsense");
  await node.prints(/Error: Unknown (argument|command): nonsense/);
  node.type("help");
  await node.prints(/join_cluster <NODE>/);
  node.type("exit");
  assert.equal(await node.ended, 0);
});

test("start runs a node in the background, started and stop find it", async (t) => {
  const place = newPlace(t);
  const { ctl, supervisor, log } = pathsOf(place);
  const started = await place.run(["start"]);
  assert.deepEqual([started.code, started.errors], [0, ""]);
  assert.match(
    started.output,
    /the node trellis@127\.0\.0\.1 is running[\s\S]*\nLog: .*broker\.log$/,
  );
  assert.match(readFileSync(log, "utf8"), /the node trellis@127\.0\.0\.1 is running/);
  const again = await place.run(["start"]);
  assert.equal(again.code, 1);
  assert.match(again.errors, /^Error: a node named trellis@127\.0\.0\.1 runs already/);
  assert.equal((await place.run(["started", "--timeout", "5"])).code, 0);
  const pid = await pidOf(place);
  assert.equal((await place.run(["stop"])).output, `The node ${name} has been stopped`);
  assert.deepEqual([await answers(ctl), await answers(supervisor)], [false, false]);
  assert.equal(isAlive(pid), false);
  assert.equal((await place.run(["stop"])).code, 1);
});

test("a node that refuses its first start is reported and not tried again", async (t) => {
  const place = newPlace(t);
  const { code, errors } = await place.run(["start", "--set", "log.level=debug"]);
  assert.equal(code, 1);
  assert.match(errors, /^Error: the node .* did not start: the fake refuses to start \(log: .*\)$/);
  const crashed = await place.run(["start", "--set", "limits.open_qos2=1"]);
  assert.match(crashed.errors, /did not start: the process ended \(7\) before it had started/);
  await until(async () => !(await answers(pathsOf(place).supervisor)));
});

test("a node that is killed is started again; stop also ends the supervisor", async (t) => {
  const place = newPlace(t);
  assert.equal((await place.run(["start", "--no-wait"])).code, 0);
  assert.equal((await place.run(["started"])).code, 0);
  await until(() => answers(pathsOf(place).supervisor));
  const first = await pidOf(place);
  process.kill(first, "SIGKILL");
  await until(() => !isAlive(first));
  assert.equal((await place.run(["started"])).code, 0);
  const second = await pidOf(place);
  assert.notEqual(second, first);
  assert.match(readFileSync(pathsOf(place).log, "utf8"), /has crashed and will be started again/);
  assert.equal((await place.run(["stop"])).code, 0);
  assert.equal(isAlive(second), false);
});

test("a node that keeps crashing is left down, and the log says so", async (t) => {
  const place = newPlace(t);
  const { log, supervisor } = pathsOf(place);
  assert.equal((await place.run(["start", "--set", "limits.open_qos2=2"])).code, 0);
  await until(() => /left down after 3 crashes in 60 s/.test(readFileSync(log, "utf8")));
  await until(async () => !(await answers(supervisor)));
  assert.equal(readFileSync(log, "utf8").match(/will be started again/g)?.length, 2);
});

test("local-cluster prints a table, and Ctrl-C stops all its nodes", async (t) => {
  const place = newPlace(t);
  const cluster = place.spawn(["local-cluster", "--nodes", "2", "--port", "0", "--data", "d"]);
  await cluster.prints(/Ctrl-C stops all nodes/);
  assert.match(
    cluster.output,
    /^node1@127\.0\.0\.1 +1883 +4370 +broker ctl --node node1@127\.0\.0\.1 status$/m,
  );
  assert.match(cluster.output, /^node2@127\.0\.0\.1 /m);
  assert.match(cluster.output, /^ {2}mosquitto_sub -p 1883 -t 'hello\/#' -v$/m);
  assert.match(cluster.output, /^ {2}npx mqtt pub -p 1883 -t hello\/world /m);
  assert.deepEqual(readdirSync(join(place.folder, "d", "local-cluster")), ["node1", "node2"]);
  const { output } = await place.run(["ctl", "--node", "node2@127.0.0.1", "status"]);
  assert.deepEqual(JSON.parse(output).running, ["node1@127.0.0.1", "node2@127.0.0.1"]);
  cluster.kill("SIGINT");
  assert.equal(await cluster.ended, 0);
  assert.match((await place.run(["ctl", "status"])).errors, /no node runs here/);
});

test("local-cluster says why a node did not start, and stops the others", async (t) => {
  const place = newPlace(t);
  const words = ["local-cluster", "--nodes", "2", "--set", "log.level=debug"];
  const cluster = place.spawn(words);
  assert.equal(await cluster.ended, 1);
  assert.match(
    cluster.errors,
    /^Error: the node node\d@127\.0\.0\.1 did not start: the fake refuses/,
  );
});

test("the nodes of a local cluster that is killed do not stay behind", async (t) => {
  const place = newPlace(t);
  const cluster = place.spawn(["local-cluster", "--nodes", "1", "--port", "0"]);
  await cluster.prints(/Ctrl-C stops all nodes/);
  const pid = await pidOf(place);
  cluster.kill("SIGKILL");
  await until(() => !isAlive(pid));
});
