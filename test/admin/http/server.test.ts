/** The admin port of a node: health by state, metrics with their help, and what is refused. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { test, type TestContext } from "node:test";
import { sampleOf } from "../../../src/admin/http/prometheus.js";
import { metricHelp } from "../../../src/admin/http/metric-help.js";
import { type AdminServer, openAdmin } from "../../../src/admin/http/server.js";
import { configSchema } from "../../../src/config/schema.js";
import { realClock } from "../../../src/lib/clock.js";
import { silentLog } from "../../../src/lib/log.js";
import { Service, type ServiceReason } from "../../../src/lib/service.js";
import { startNodes, until } from "../../support/nodes.js";

interface Scene {
  readonly admin: AdminServer;
  readonly service: Service;
  readonly alarms: string[];
  get(path: string, method?: string): Promise<Response>;
}

async function open(t: TestContext, settings: object = {}): Promise<Scene> {
  const service = new Service(realClock);
  const alarms: string[] = [];
  const admin = await openAdmin({
    settings: configSchema.parse({ admin: { enabled: true, port: 0, ...settings } }).admin,
    ...{ node: "a@h", version: "1.2.3", service, log: silentLog },
    alarms: () => alarms,
    metrics: () => ({
      ...{ "net.connected": 3, "net.bytes_in": 42, "net.closed_by.keep_alive_timeout": 2 },
      ...{ "peer.b@10.0.0.1.forwards": 7, "peer.c@h.forwards": 8, "other.thing": 1 },
    }),
  });
  t.after(() => admin.close());
  const get = (path: string, method = "GET"): Promise<Response> =>
    fetch(`http://127.0.0.1:${admin.port}${path}`, { method });
  return { admin, service, alarms, get };
}

test("health says 200 in service, and 503 with the reason otherwise", async (t) => {
  const { service, get } = await open(t);
  const well = await get("/health");
  assert.equal(well.status, 200);
  assert.equal(well.headers.get("cache-control"), "no-store");
  const reasons: ServiceReason[] = ["starting", "draining", "leaving", "stopping", "broken"];
  for (const reason of reasons) {
    service.set(reason, `it is ${reason}`);
    const answer = await get("/health");
    assert.equal(answer.status, 503);
    const body: unknown = await answer.json();
    assert.ok(typeof body === "object" && body !== null && "since" in body);
    const { since: _, ...rest } = body;
    assert.deepEqual(rest, {
      ...{ node: "a@h", version: "1.2.3", state: reason, why: `it is ${reason}`, alarms: [] },
    });
    assert.equal((await get("/ready")).status, 503);
    service.clear(reason);
    assert.equal((await get("/health")).status, 200);
  }
});

test("a node with an alarm is healthy and not ready", async (t) => {
  const { alarms, get } = await open(t);
  assert.equal((await get("/ready")).status, 200);
  alarms.push("the store takes nothing");
  assert.equal((await get("/health")).status, 200);
  const ready = await get("/ready");
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /the store takes nothing/);
});

test("metrics have help, a kind, labels for what varies, and the node", async (t) => {
  const { get } = await open(t);
  const answer = await get("/metrics");
  assert.match(answer.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  const lines = (await answer.text()).split("\n");
  const wanted = [
    "# HELP trellis_net_connected Client connections open now",
    "# TYPE trellis_net_connected gauge",
    'trellis_net_connected{node="a@h"} 3',
    "# TYPE trellis_net_bytes_in_total counter",
    'trellis_net_bytes_in_total{node="a@h"} 42',
    'trellis_net_closed_by_total{reason="keep_alive_timeout",node="a@h"} 2',
    'trellis_peer_forwards_total{peer="b@10.0.0.1",node="a@h"} 7',
    'trellis_peer_forwards_total{peer="c@h",node="a@h"} 8',
    'trellis_other_thing{node="a@h"} 1',
  ];
  for (const line of wanted) assert.ok(lines.includes(line), `${line} in\n${lines.join("\n")}`);
});

test("other paths and methods, bad requests and too many connections are refused and counted", async (t) => {
  const { admin, get } = await open(t, { max_connections: 2 });
  assert.equal((await get("/")).status, 404);
  assert.equal((await get("/health", "POST")).status, 404);
  assert.equal((await get("/health", "HEAD")).status, 200);
  assert.equal(admin.counters.requestsRefused, 2);
  assert.equal(admin.counters.requests, 3);
  const closed = await new Promise<boolean>((resolve) => {
    const socket = connect({ port: admin.port, host: "127.0.0.1" });
    socket.on("error", () => undefined).on("close", () => resolve(true));
    socket.write("this is no HTTP\r\n\r\n");
    t.after(() => socket.destroy());
  });
  assert.ok(closed);
  assert.equal(admin.counters.requestsRefused, 3);
  // Those that are open now hold their places; more are dropped.
  for (let i = 0; i < 4; i++) {
    const socket = connect({ port: admin.port, host: "127.0.0.1" }).on("error", () => undefined);
    t.after(() => socket.destroy());
  }
  await until("refused connections", () => admin.counters.connectionsRefused >= 2 || undefined);
  assert.ok(admin.connections <= 2);
});

test("a port that is taken is refused with a sentence", async (t) => {
  const { admin } = await open(t);
  await assert.rejects(
    open(t, { port: admin.port }),
    /the admin port cannot be opened .*admin\.port/,
  );
});

test("every counter of a node in a cluster has an explanation; health is 200 when it runs", async (t) => {
  const settings = ["admin.enabled=true", "admin.port=0"];
  const [node] = await startNodes(t, { nodes: 2, settings });
  assert.ok(node !== undefined);
  const told = await node.ctl<{ listeners: { name: string; port: number }[] }>("listeners");
  const port = told.listeners.find(({ name }) => name === "admin")?.port;
  const health = await fetch(`http://127.0.0.1:${port}/health`);
  assert.equal(health.status, 200);
  const metrics = await node.ctl<Record<string, number>>("metrics");
  const names = new Set(Object.keys(metrics).map((key) => sampleOf(key, 0).name));
  const unexplained = [...names].filter((name) => metricHelp(name) === null);
  assert.deepEqual(unexplained, [], "add them to src/admin/http/metric-help.ts");
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  for (const name of names) {
    assert.match(text, new RegExp(`^trellis_${name.replace(/[^a-z0-9]+/g, "_")}(_total)?\\{`, "m"));
  }
});
