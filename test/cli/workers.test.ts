/** A node with workers: several broker processes behind one set of ports, as operators and clients see it. */
import assert from "node:assert/strict";
import { createConnection, createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import mqtt from "mqtt";
import { ctlPath } from "../../src/admin/ctl-protocol.js";
import { answers } from "../../src/admin/ctl-client.js";
import { commands } from "../../src/admin/commands/index.js";
import { configOfWorker, parseIdentity } from "../../src/cli/workers/identity.js";
import { merged } from "../../src/cli/workers/merge.js";
import { reachOf } from "../../src/cli/workers/reach.js";
import { readEnvironment } from "../../src/config/environment.js";
import { loadConfig } from "../../src/config/load.js";
import { canReusePort } from "../../src/net/listeners/sharing.js";
import { fakeDependencies } from "./fake-node.js";
import { isAlive, Place, until } from "./support.js";
import {
  carried,
  connect,
  firstPort,
  names,
  newPlace,
  oneAtEach,
  statusOf,
} from "./workers-support.js";

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port }, () => server.close(() => resolve(true)));
  });
}

test("two workers are one broker, one of them killed is back, and stop frees the port", async (t) => {
  const place = newPlace(t);
  const started = await place.run(["start", "--workers", "2"]);
  assert.equal(started.code, 0, started.errors);
  assert.match(started.output, /^Trellis \S+: the node trellis@127\.0\.0\.1 is running\n/);
  assert.match(
    started.output,
    /\nWorkers:\n {2}trellis-1@127\.0\.0\.1 \(link .*\n {2}trellis-2@.*\n/,
  );
  assert.match(started.output, /\nConnected members: trellis-1@127\.0\.0\.1, trellis-2@127\S+\n/);
  const port = Number(/mqtt 127\.0\.0\.1:(\d+)/.exec(started.output)?.[1]);
  assert.equal((await place.run(["started", "--timeout", "5"])).code, 0);
  const before = await statusOf(place);
  assert.deepEqual(Object.keys(before), [
    ...["node", "version", "running", "stopped", "partitioned", "members", "workers"],
  ]);
  assert.deepEqual([before.node, before.running], ["trellis@127.0.0.1", names]);
  assert.deepEqual(
    before.workers.map(({ name, state }) => `${name} ${state}`),
    names.map((name) => `${name} running`),
  );

  const [one, two] = await oneAtEach(place, (id) => connect(t, `mqtt://127.0.0.1:${port}`, id));
  await one.subscribeAsync("to/one/#", { qos: 1 });
  await two.subscribeAsync("to/two/#", { qos: 1 });
  await carried(one, two, "to/two/1");
  await carried(two, one, "to/one/1");

  const [pid = 0] = before.workers.map((worker) => worker.pid ?? 0);
  const closed = new Promise<void>((resolve) => one.once("close", () => resolve()));
  process.kill(pid, "SIGKILL");
  await closed;
  // The other worker goes on meanwhile, also for those who come now.
  const late = await connect(t, `mqtt://127.0.0.1:${port}`, "late");
  await carried(late, two, "to/two/2");
  await until(async () => {
    const { workers, running } = await statusOf(place);
    return workers.every(({ state }) => state === "running") && running.length === 2;
  });
  const after = await statusOf(place);
  assert.notEqual(after.workers[0]?.pid, pid);
  assert.equal(after.workers[1]?.pid, before.workers[1]?.pid);

  assert.equal((await place.run(["stop"])).output, "The node trellis@127.0.0.1 has been stopped");
  assert.equal(await isFree(port), true);
  assert.deepEqual(
    after.workers.map((worker) => isAlive(worker.pid ?? 0)),
    [false, false],
  );
});

test("ctl takes the workers for one node", async (t) => {
  const place = newPlace(t);
  assert.equal((await place.run(["start", "--workers", "2"])).code, 0);
  const { output } = await place.run(["ctl", "--json", "listeners"]);
  const { listeners }: { listeners: { kind: string; port: number }[] } = JSON.parse(output);
  const port = listeners.find(({ kind }) => kind === "mqtt")?.port ?? 0;
  const clients = await oneAtEach(place, (id) => connect(t, `mqtt://127.0.0.1:${port}`, id));
  for (const client of clients) await client.subscribeAsync("a/b");
  const ctl = (...words: string[]) => place.run(["ctl", ...words]);

  const list = await ctl("clients", "list");
  assert.match(list.output, /^trellis-1@127\.0\.0\.1:\nclient[\s\S]*\n\ntrellis-2@127\.0\.0\.1:\n/);
  const metrics = JSON.parse((await ctl("--json", "metrics")).output);
  assert.equal(metrics["net.connected"], 2);
  assert.match((await ctl("metrics")).output, /\nnet\.connected +2\n/);
  assert.equal(JSON.parse((await ctl("--json", "subscriptions", "list")).output).total, 2);
  assert.match(
    (await ctl("log", "level", "warn")).output,
    /^trellis-1@127\.0\.0\.1:\nThe log level/,
  );
  assert.match((await ctl("publish", "a/b", "hi")).output, /^Published/);
  const explained = await ctl("explain", "a/b", "--client", clients[1]?.options.clientId ?? "");
  assert.match(explained.output, /\n\ntrellis-2@127\.0\.0\.1:\n[\s\S]* gets it: /);
  for (const client of clients) {
    const gone = new Promise<void>((resolve) => client.once("close", () => resolve()));
    const clientId = client.options.clientId ?? "";
    assert.match((await ctl("clients", "show", clientId)).output, /127\.0\.0\.1/);
    assert.match((await ctl("clients", "kick", clientId)).output, /has been disconnected/);
    await gone;
  }
  const nobody = await ctl("clients", "kick", "nobody");
  assert.deepEqual(
    [nobody.code, nobody.errors],
    [1, "Error: no client nobody is connected to any of the workers"],
  );
  const leave = await ctl("leave_cluster", "-f");
  assert.match(leave.errors, /^Error: leave_cluster is for one worker of trellis@127\.0\.0\.1/);
  assert.match((await ctl("--node", names[1] ?? "", "names")).output, /trellis-1@/);
  const again = await place.run(["start", "--workers", "2"]);
  assert.match(again.errors, /^Error: a node named trellis@127\.0\.0\.1 runs already/);

  // Fewer of them, or none, would leave sessions behind that nobody serves.
  await place.run(["stop"]);
  const fewer = await place.run(["start", "--workers", "1"]);
  assert.equal(fewer.code, 1);
  assert.match(
    fewer.errors,
    /had 2 workers, and 1 would not serve .*worker-2: start 2, or give up/,
  );
  const plain = await place.run(["foreground"]);
  assert.match(plain.errors, /^Error: .* holds what 2 workers .*: start it with --workers 2/);
});

test("WebSocket and Unix listeners work with workers; Ctrl-C ends all; so does the end of the parent", async (t) => {
  const place = newPlace(t);
  const path = join(place.folder, "mqtt.sock");
  const words = ["foreground", "--workers", "2", "--set", "listeners.ws.enabled=true"];
  words.push("--set", "listeners.ws.port=0", "--set", "listeners.unix.enabled=true");
  words.push("--set", `listeners.unix.path=${path}`);
  const node = place.spawn(words);
  await node.prints(/Settings that are not/);
  const ws = Number(/ws 127\.0\.0\.1:(\d+)/.exec(node.output)?.[1]);
  const [one, two] = await oneAtEach(place, (id) => connect(t, `ws://127.0.0.1:${ws}/mqtt`, id));
  await two.subscribeAsync("a", { qos: 1 });
  await carried(one, two, "a");
  const local = new mqtt.MqttClient(() => createConnection({ path }), {
    ...{ clientId: "local", reconnectPeriod: 0 },
  });
  local.on("error", () => undefined);
  t.after(() => local.endAsync(true));
  await carried(local, two, "a");
  const { workers } = await statusOf(place);
  node.kill("SIGINT");
  assert.equal(await node.ended, 0, node.errors);
  assert.deepEqual(
    workers.map(({ pid }) => isAlive(pid ?? 0)),
    [false, false],
  );

  const second = place.spawn(["foreground", "--workers", "2"]);
  await second.prints(/Settings that are not/);
  const { workers: left } = await statusOf(place);
  second.kill("SIGKILL");
  await until(() => left.every(({ pid }) => !isAlive(pid ?? 0)));
});

test("workers that cannot be are refused with a sentence", async (t) => {
  const place = newPlace(t);
  const refusal = async (...words: string[]): Promise<string> => {
    const { code, errors } = await place.run(["start", ...words]);
    assert.equal(code, 1);
    return errors;
  };
  const allowed = "it must be a whole number from 0 to 64";
  assert.equal(
    await refusal("--workers", "-1"),
    `Error: --workers: node.workers is -1; ${allowed}`,
  );
  assert.match(await refusal("--workers", "1.5"), /node\.workers is "1\.5"; it must be/);
  assert.match(await refusal("--workers", "65"), /node\.workers is 65; it must be/);
  assert.match(await refusal("--workers", "two"), /node\.workers is "two"; it must be/);
  assert.match(await refusal("--workers", "11"), /has 10 ports, and each of 11 workers needs one/);
  const admin = ["--set", "admin.enabled=true", "--set", "admin.port=65535"];
  assert.match(
    await refusal("--workers", "2", ...admin),
    /leaves no room for the ports of 2 workers/,
  );
  const range = ["--set", "cluster.port_range=0-0"];
  assert.match(await refusal("--workers", "2", ...range), /find each other by their link ports/);
  const advertise = ["--set", "cluster.advertise=example.org:4370"];
  assert.match(await refusal("--workers", "2", ...advertise), /names one link port/);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  t.after(() => server.close());
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const taken = ["--set", `listeners.tcp.port=${port}`];
  assert.match(await refusal("--workers", "2", ...taken), /another program has this port/);
  const twice = await place.run(["start", "--workers", "2", "--workers", "3"]);
  assert.deepEqual([twice.code, /more than once/.test(twice.errors)], [2, true]);
});

test("a worker that keeps crashing is left down, and a first start that fails stops the others", async (t) => {
  const place = new Place(t, fakeDependencies());
  place.environment.BROKER_CLUSTER__PORT_RANGE = `${firstPort}-${firstPort + 9}`;
  place.environment.BROKER_LISTENERS__TCP__PORT = "0";
  place.shareEnvironment();
  const node = place.spawn(["foreground", "--workers", "2", "--set", "limits.open_qos2=2"]);
  assert.equal(await node.ended, 1);
  assert.match(
    node.errors,
    /^Error: the workers of trellis@127\.0\.0\.1 that have crashed too often/,
  );
  assert.equal(node.output.match(/left down after 3 crashes in 60 s/g)?.length, 2);
  const refused = await place.run(["start", "--workers", "2", "--set", "log.level=debug"]);
  assert.match(
    refused.errors,
    /did not start: its worker trellis-1@127\.0\.0\.1 refuses: the fake refuses to start/,
  );
  const runDir = join(place.folder, "run");
  for (const name of names) assert.equal(await answers(ctlPath(runDir, name)), false);
});

test("every ctl command is known to a node with workers", () => {
  const hint = "say in src/cli/workers/reach.ts which of the workers of a node it is for";
  assert.deepEqual(Object.keys(reachOf).sort(), [...commands.keys()].sort(), hint);
});

test("answers of workers are put together: lists, sums, and what all have alike", () => {
  const page = (clientId: string) => ({ items: [{ clientId }], total: 1 });
  assert.deepEqual(
    merged([
      { name: "a", result: page("c1") },
      { name: "b", result: page("c2") },
    ]),
    {
      items: [
        { clientId: "c1", node: "a" },
        { clientId: "c2", node: "b" },
      ],
      total: 2,
    },
  );
  const level = { level: "warn", list: ["x"] };
  assert.deepEqual(
    merged([
      { name: "a", result: level },
      { name: "b", result: level },
    ]),
    { level: "warn", list: ["x", "x"] },
  );
});

test("what makes a worker: its name, its directory, ports, and whom it joins", () => {
  const place = { cwd: "/here", home: "/home", uid: 0 };
  const loaded = loadConfig({
    ...{ file: undefined, environment: readEnvironment({}), flags: [], place },
  });
  const identity = { number: 3, siblings: [], ports: { tcp: 1234 } };
  const { config } = configOfWorker(loaded, parseIdentity(JSON.stringify(identity)));
  assert.deepEqual(
    [config.node.name, config.node.data_dir, config.node.workers],
    ["trellis-3@127.0.0.1", "/here/data/trellis@127.0.0.1/worker-3", 0],
  );
  assert.equal(config.listeners.tcp.port, 1234);
  assert.equal(config.admin.port, loaded.config.admin.port + 2);
  assert.equal(config.auth.users_file, "/here/data/trellis@127.0.0.1/users.json");
  assert.deepEqual(config.cluster.discovery.static.nodes, names);
  assert.throws(() => parseIdentity("{}"), /--worker is for the supervisor/);
});

test("ports are shared by the kernel where Node and the system can", () => {
  assert.equal(canReusePort("linux", "24.0.0"), true);
  assert.equal(canReusePort("linux", "23.1.0"), true);
  assert.equal(canReusePort("linux", "23.0.9"), false);
  assert.equal(canReusePort("linux", "20.20.2"), false);
  assert.equal(canReusePort("darwin", "24.0.0"), false);
});
