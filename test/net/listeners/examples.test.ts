/** conf/haproxy.cfg and conf/nginx.conf do what they say, with the real programs. */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { createWebSocketStream, WebSocket } from "ws";
import { parseConfigText } from "../../../src/config/file.js";
import { type TestBroker, testBroker } from "../../support/front-end.js";
import { eventually, MqttClient } from "../../support/mqtt-client.js";
import { Authority, folder, LogLines, openTcp, portOf } from "./support.js";

const read = (name: string): string => {
  return readFileSync(new URL(`../../../conf/${name}`, import.meta.url), "utf8");
};

const isInstalled = (program: string): boolean => spawnSync(program, ["-v"]).error === undefined;

/** Ports that were free a moment ago. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  return await Promise.all(
    servers.map((server) => {
      return new Promise<number>((resolve) => {
        server.once("listening", () => {
          const address = server.address();
          server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
        });
      });
    }),
  );
}

interface Behind {
  readonly nodes: readonly TestBroker[];
  readonly log: LogLines;
  readonly authority: Authority;
  readonly path: string;
  /** The example with places of this test in it. */
  readonly text: string;
  readonly ports: { readonly tcp: number; readonly tls: number; readonly ws: number };
}

/** Two nodes as an example wants them, and the example with their places in it. */
async function behind(t: TestContext, example: string): Promise<Behind> {
  const log = new LogLines();
  const proxied = { port: 0, proxy_protocol: true, trusted_proxies: ["127.0.0.1"] };
  const listeners = { tcp: proxied, ws: { ...proxied, enabled: true } };
  const nodes = [
    await testBroker(t, { settings: { listeners }, log }),
    await testBroker(t, { settings: { listeners }, log }),
  ];
  const [tcp = 0, tls = 0, ws = 0] = await freePorts(3);
  let text = read(example);
  const put = (from: string, to: string): void => {
    assert.ok(text.includes(from), `${example} has no ${from}`);
    text = text.replaceAll(from, to);
  };
  for (const [index, node] of nodes.entries()) {
    put(`10.0.0.${index + 1}:1883`, `127.0.0.1:${node.port}`);
    put(`10.0.0.${index + 1}:8083`, `127.0.0.1:${portOf(node, "ws")}`);
  }
  for (const [from, to] of [
    ["1883", tcp],
    ["8883", tls],
    ["8083", ws],
  ] as const) {
    put(example === "nginx.conf" ? `listen ${from}` : `bind :${from}`, bindText(example, to));
  }
  return {
    nodes,
    log,
    authority: new Authority(t),
    path: folder(t),
    text,
    ports: { tcp, tls, ws },
  };
}

const bindText = (example: string, port: number): string => {
  return example === "nginx.conf" ? `listen 127.0.0.1:${port}` : `bind 127.0.0.1:${port}`;
};

/** Runs the proxy until the test ends, and waits until it listens. */
async function run(t: TestContext, program: string, words: string[], port: number): Promise<void> {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (bytes) => {
    output += bytes;
  });
  child.stderr.on("data", (bytes) => {
    output += bytes;
  });
  t.after(async () => {
    if (child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGTERM");
    await gone;
  });
  const end = performance.now() + 15_000;
  while (!(await listens(port))) {
    assert.ok(child.exitCode === null && performance.now() < end, `${program}: ${output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

/** Clients through all three doors of the proxy, each with the address of its own end. */
async function checkClients(t: TestContext, { nodes, authority, ports }: Behind): Promise<void> {
  const plain = await openTcp(t, ports.tcp);
  const encrypted = connectTls({
    ...{ port: ports.tls, host: "127.0.0.1" },
    ...authority.clientOptions(),
  });
  const web = await openTcp(t, ports.ws);
  const webSocket = new WebSocket(`ws://127.0.0.1:${ports.ws}/mqtt`, ["mqtt"], {
    createConnection: () => web,
  });
  await new Promise((resolve) => webSocket.once("open", resolve));
  const ends = { plain, encrypted, web };
  const streams = { plain, encrypted, web: createWebSocketStream(webSocket) };
  for (const [clientId, stream] of Object.entries(streams)) {
    const client = MqttClient.on(t, stream);
    await client.handshake({ clientId });
    await client.subscribe("t", 1);
    client.publish("t", "x", { qos: 1, messageId: 1 });
    const cmds = [(await client.next()).cmd, (await client.next()).cmd].sort();
    assert.deepEqual(cmds, ["puback", "publish"]);
  }
  for (const [clientId, { localPort }] of Object.entries(ends)) {
    const addresses = nodes.flatMap(({ frontEnd }) => {
      return frontEnd.sessions.get(clientId)?.channel?.info().address ?? [];
    });
    assert.deepEqual(addresses, [`127.0.0.1:${localPort}`], clientId);
  }
  for (const stream of Object.values(streams)) stream.destroy();
}

/** With one node stopped, new clients get to the other one. */
async function checkFailover(t: TestContext, { nodes, ports }: Behind): Promise<void> {
  const [first, second] = nodes;
  await first?.stop();
  let connected = 0;
  for (let tries = 0; connected < 4 && tries < 200; tries++) {
    const client = await MqttClient.open(t, ports.tcp);
    client.sendConnect({ clientId: `f${connected}` });
    const answer = await client.next().catch(() => undefined);
    if (answer?.cmd === "connack") connected++;
    else await new Promise((resolve) => setTimeout(resolve, 50));
  }
  assert.equal(connected, 4);
  await eventually(() => second?.frontEnd.sessions.get("f3") !== undefined, "the last client");
}

function checkNoErrors({ nodes, log }: Behind): void {
  for (const { frontEnd } of nodes) {
    const { proxyMalformed, proxyUntrusted } = frontEnd.doors.counters;
    assert.deepEqual([proxyMalformed, proxyUntrusted], [0, 0]);
  }
  assert.deepEqual(
    log.lines.filter((line) => !line.startsWith("debug")),
    [],
  );
}

test("the settings that the examples name are settings", () => {
  for (const example of ["haproxy.cfg", "nginx.conf"]) {
    const block = /^# {3}listeners:\n(?:# {5}.*\n)+/m.exec(read(example))?.[0] ?? "";
    const { values, problems } = parseConfigText(block.replaceAll(/^# {3}/gm, ""), example);
    assert.deepEqual(problems, []);
    assert.equal(values.filter(({ key }) => key.endsWith(".trusted_proxies")).length, 2);
  }
});

test("HAProxy: PROXY protocol v2, health check, TLS, WebSocket", async (t) => {
  if (!isInstalled("haproxy")) {
    t.skip("haproxy is not installed");
    return;
  }
  const setting = await behind(t, "haproxy.cfg");
  const { path, authority, ports, nodes } = setting;
  const { certificate, key } = authority.issue("/CN=localhost");
  const both = join(path, "mqtt.pem");
  writeFileSync(both, readFileSync(certificate, "utf8") + readFileSync(key, "utf8"));
  const file = join(path, "haproxy.cfg");
  const text = setting.text
    .replace("/etc/haproxy/mqtt.pem", both)
    .replace(/^global$/m, "global\n    maxconn 500");
  writeFileSync(file, text);
  await run(t, "haproxy", ["-db", "-f", file], ports.tcp);
  await checkClients(t, setting);
  await eventually(
    () => nodes.every(({ frontEnd }) => (frontEnd.counters.closedBy.disconnect ?? 0) > 0),
    "a health check at both nodes",
  );
  checkNoErrors(setting);
  await checkFailover(t, setting);
  checkNoErrors(setting);
});

test("nginx: PROXY protocol v1, TLS, WebSocket", async (t) => {
  if (!isInstalled("nginx")) {
    t.skip("nginx is not installed");
    return;
  }
  const setting = await behind(t, "nginx.conf");
  const { path, authority, ports } = setting;
  const { certificate, key } = authority.issue("/CN=localhost");
  const file = join(path, "nginx.conf");
  const text = setting.text
    .replace("/etc/nginx/mqtt.pem", certificate)
    .replace("/etc/nginx/mqtt.key", key)
    .replace("worker_processes auto", "worker_processes 1")
    .replace("worker_connections 100000", "worker_connections 500");
  writeFileSync(file, text);
  const global = `daemon off; pid ${join(path, "nginx.pid")}; error_log stderr;`;
  await run(t, "nginx", ["-c", file, "-g", global], ports.tcp);
  await checkClients(t, setting);
  checkNoErrors(setting);
  await checkFailover(t, setting);
  checkNoErrors(setting);
});
