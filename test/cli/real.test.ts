/** The command line with the real broker: what the README tells operators to type. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import mqtt from "mqtt";
import { sourceDependencies } from "./real-node.js";
import { isAlive, Place, until } from "./support.js";

// Nodes of a cluster look for each other on the ports of the range: one that other tests do not use.
const firstPort = 20_000 + (process.pid % 400) * 30;

function newPlace(t: TestContext): Place {
  const place = new Place(t, sourceDependencies());
  place.environment.BROKER_LISTENERS__TCP__PORT = "0";
  place.environment.BROKER_CLUSTER__PORT_RANGE = `${firstPort}-${firstPort + 9}`;
  place.shareEnvironment();
  return place;
}

async function connect(t: TestContext, port: number): Promise<mqtt.MqttClient> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 });
  t.after(() => client.endAsync(true));
  return client;
}

/** Subscribes at one port, publishes at the other, and returns what arrived. */
async function carry(t: TestContext, from: number, to: number): Promise<string> {
  const subscriber = await connect(t, to);
  const publisher = await connect(t, from);
  const arrived = new Promise<string>((resolve) => {
    subscriber.on("message", (topic, payload) => resolve(`${topic} ${payload}`));
  });
  await subscriber.subscribeAsync("hello/#", { qos: 1 });
  await publisher.publishAsync("hello/world", "hi", { qos: 1 });
  return arrived;
}

test("start, started, ctl, a second start, a crash, stop", async (t) => {
  const place = newPlace(t);
  place.stopAtEnd();
  const started = await place.run(["start"]);
  assert.equal(started.code, 0, started.errors);
  const port = Number(/mqtt 127\.0\.0\.1:(\d+)/.exec(started.output)?.[1]);
  assert.equal(await carry(t, port, port), "hello/world hi");
  assert.equal((await place.run(["started", "--timeout", "5"])).code, 0);
  const status = JSON.parse((await place.run(["ctl", "status"])).output);
  assert.deepEqual(Object.keys(status), [
    ...["node", "version", "running", "stopped", "partitioned", "members"],
  ]);
  assert.deepEqual([status.running, status.partitioned], [["trellis@127.0.0.1"], false]);
  const second = await place.run(["start"]);
  assert.match(second.errors, /^Error: a node named trellis@127\.0\.0\.1 runs already/);
  const { pid } = JSON.parse((await place.run(["ctl", "--json", "report"])).output);
  process.kill(pid, "SIGKILL");
  await until(() => !isAlive(pid));
  assert.equal((await place.run(["started"])).code, 0);
  const stopped = await place.run(["stop"]);
  assert.deepEqual(
    [stopped.code, stopped.output],
    [0, "The node trellis@127.0.0.1 has been stopped"],
  );
});

test("every ctl command is answered by a real node", async (t) => {
  const place = newPlace(t);
  const node = place.spawn(["foreground"]);
  await node.prints(/Settings/);
  const port = Number(/mqtt 127\.0\.0\.1:(\d+)/.exec(node.output)?.[1]);
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    ...{ protocolVersion: 5, clientId: "c1", reconnectPeriod: 0, clean: false },
    properties: { sessionExpiryInterval: 100 },
  });
  t.after(() => client.endAsync(true));
  await client.subscribeAsync("t/#", { qos: 1 });
  const ctl = async (...words: string[]) => {
    const { code, output, errors } = await place.run(["ctl", ...words]);
    assert.equal(code, 0, `${words.join(" ")}: ${errors}`);
    return output;
  };
  assert.match(await ctl("clients", "list"), /\nc1 /);
  assert.match(await ctl("clients", "show", "c1"), /protocolVersion: +5\n/);
  assert.match(await ctl("sessions", "list"), /\nc1 +yes +100s +1 /);
  assert.match(await ctl("sessions", "show", "c1"), /subscriptions: +1\n/);
  assert.match(await ctl("subscriptions", "list"), /\nc1 +t\/# +1$/);
  assert.match(await ctl("routes", "list"), /\nt\/# +trellis@127\.0\.0\.1 +1 +yes$/);
  assert.equal(await ctl("routes", "verify"), "no peers");
  assert.match(await ctl("explain", "t/1", "--client", "c1"), /\nc1 gets it: /);
  assert.match(await ctl("publish", "t/1", "kept", "--retain"), /^Published and accepted$/);
  assert.match(await ctl("retained", "list"), /\nt\/1 +1 +4 /);
  assert.match(await ctl("retained", "get", "t/1"), /\npayload: +kept\n/);
  assert.match(await ctl("retained", "delete", "t/1"), /has been deleted/);
  assert.match(await ctl("listeners"), new RegExp(`\nmqtt +127\\.0\\.0\\.1 +${port} +1`));
  assert.match(await ctl("metrics"), /\nrouting\.published +[1-9]/);
  assert.equal(await ctl("log", "level", "warn"), "The log level is warn");
  assert.match(await ctl("names"), /trellis@127\.0\.0\.1/);
  assert.match(await ctl("clients", "kick", "c1"), /has been disconnected/);
  assert.match(await ctl("sessions", "delete", "c1"), /has been deleted/);
  assert.match(await ctl("stop"), /is stopping/);
  assert.equal(await node.ended, 0);
  assert.equal(node.errors, "");
});

test("local-cluster carries a message between its nodes and stops at Ctrl-C", async (t) => {
  const place = newPlace(t);
  const words = ["local-cluster", "--nodes", "3", "--port", "0", "--data", join(place.folder, "d")];
  const cluster = place.spawn(words);
  await cluster.prints(/Ctrl-C stops all nodes/, 60_000);
  const ports = [...cluster.output.matchAll(/^node\d@\S+ +(\d+) /gm)].map((row) => Number(row[1]));
  assert.equal(ports.length, 3);
  assert.equal(await carry(t, ports[0] ?? 0, ports[2] ?? 0), "hello/world hi");
  const status = await place.run(["ctl", "--node", "node2@127.0.0.1", "status"]);
  assert.equal(JSON.parse(status.output).running.length, 3);
  cluster.kill("SIGINT");
  assert.equal(await cluster.ended, 0, cluster.errors);
  assert.match((await place.run(["ctl", "status"])).errors, /no node runs here/);
});

test("join_cluster, leave_cluster and remove_from_cluster say what they did", async (t) => {
  const place = newPlace(t);
  const nodes = ["a@127.0.0.1", "b@127.0.0.1"].map((name) => {
    return place.spawn(["foreground", "--node", name, "--data", join(place.folder, name)]);
  });
  for (const node of nodes) await node.prints(/is running/);
  const ctl = (...words: string[]) => place.run(["ctl", "--node", ...words]);
  assert.equal(
    (await ctl("a@127.0.0.1", "join_cluster", "b@127.0.0.1")).output,
    "You have successfully joined the node a@127.0.0.1 to the cluster with node member b@127.0.0.1",
  );
  const again = await ctl("a@127.0.0.1", "join_cluster", "b@127.0.0.1");
  assert.equal(again.code, 1);
  assert.match(again.errors, /^Error: .*already/);
  assert.equal(
    (await ctl("a@127.0.0.1", "leave_cluster")).output,
    "You have successfully left the node a@127.0.0.1 from the cluster",
  );
  await ctl("a@127.0.0.1", "join_cluster", "b@127.0.0.1");
  nodes[0]?.kill("SIGKILL");
  await nodes[0]?.ended;
  const removed = await place.run(
    ["ctl", "--node", "b@127.0.0.1", "remove_from_cluster", "a@127.0.0.1"],
    ["yes"],
  );
  assert.match(
    removed.output,
    /\(yes\/no\)\nThe node a@127\.0\.0\.1 has been removed from the cluster$/,
  );
  nodes[1]?.kill("SIGTERM");
  assert.equal(await nodes[1]?.ended, 0);
});
