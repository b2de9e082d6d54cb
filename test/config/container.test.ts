/** The container files fit together and with the settings: nodes, proxy, ports, volumes, and who may write where. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { z } from "zod";
import { readEnvironment } from "../../src/config/environment.js";
import { loadConfig } from "../../src/config/load.js";

const read = (name: string): string => {
  return readFileSync(new URL(`../../${name}`, import.meta.url), "utf8");
};

const serviceSchema = z.object({
  environment: z.record(z.string(), z.string()).default({}),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()),
  read_only: z.literal(true),
  cap_drop: z.tuple([z.literal("ALL")]),
  security_opt: z.array(z.string()),
  tmpfs: z.array(z.string()).default([]),
  user: z.string().optional(),
  profiles: z.array(z.string()).default([]),
  command: z.array(z.string()).default([]),
  networks: z.union([
    z.array(z.string()),
    z.record(z.string(), z.object({ ipv4_address: z.string() })),
  ]),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
});
const composeSchema = z.object({
  services: z.record(z.string(), serviceSchema),
  networks: z.object({
    cluster: z.object({ ipam: z.object({ config: z.array(z.object({ subnet: z.string() })) }) }),
  }),
  volumes: z.record(z.string(), z.null()),
});

const compose = composeSchema.parse(parse(read("docker-compose.yml"), { merge: true }));
const { haproxy, redis, ...nodes } = compose.services;
const dockerfile = read("Dockerfile");
const proxy = read("conf/haproxy-compose.cfg");

/** What the environment of the image says. */
const image = Object.fromEntries(
  [...dockerfile.matchAll(/(BROKER_\w+)=(\S+?)(?: \\)?$/gm)].map((match) => {
    return [match[1] ?? "", match[2] ?? ""];
  }),
);

/** `${NAME:-default}` as the shell has it, without the name. */
const filled = (text: string): string => text.replace(/^\$\{\w+:-(.*)\}$/, "$1");

function settingsOf(service: Record<string, string>, further: Record<string, string> = {}) {
  const own = Object.entries(service).map(([key, value]) => [key, filled(value)]);
  const environment = readEnvironment({ ...image, ...Object.fromEntries(own), ...further });
  const place = { cwd: "/opt/trellis", home: "/home/node", uid: 1000 };
  return loadConfig({ file: undefined, environment, flags: [], place }).config;
}

test("docker-compose.yml makes three nodes that name each other and write only to their volumes", () => {
  const names = Object.keys(nodes).map((service) => `trellis@${service}`);
  assert.equal(names.length, 3);
  for (const [service, node] of Object.entries(nodes)) {
    const config = settingsOf(node.environment);
    assert.equal(config.node.name, `trellis@${service}`);
    assert.deepEqual(config.cluster.discovery.static.nodes, names);
    assert.equal(config.node.data_dir, "/var/lib/trellis");
    assert.deepEqual(node.volumes, [`${service}:${config.node.data_dir}`]);
    assert.deepEqual(node.tmpfs, [`${config.node.run_dir}:mode=0700,uid=1000,gid=1000`]);
    assert.equal(config.listeners.tcp.bind, "0.0.0.0");
    // Nobody but the proxy reaches a node from outside.
    assert.deepEqual(node.ports, []);
    assert.deepEqual(node.healthcheck?.test, ["CMD", "broker", "check", "--timeout", "4"]);
  }
  const volumes = [...Object.keys(nodes), "redis"];
  assert.deepEqual(Object.keys(compose.volumes), volumes);
  for (const service of Object.values(compose.services)) {
    assert.deepEqual(service.security_opt, ["no-new-privileges:true"]);
  }
});

test("the proxy stands at the address that the nodes trust, and asks the health of each", () => {
  assert.ok(haproxy !== undefined && !Array.isArray(haproxy.networks));
  const address = haproxy.networks.cluster?.ipv4_address ?? "";
  const [subnet] = compose.networks.cluster.ipam.config;
  assert.equal(subnet?.subnet, address.replace(/\.\d+$/, ".0/24"));
  assert.deepEqual(haproxy.ports, ["127.0.0.1:1883:1883"]);
  assert.match(proxy, /^ {4}bind :1883$/m);
  assert.match(proxy, /option httpchk GET \/health$/m);
  const mounted = /^\.\/(conf\/[\w.-]+):\S+:ro$/.exec(haproxy.volumes[0] ?? "")?.[1];
  assert.equal(mounted, "conf/haproxy-compose.cfg");
  for (const [service, { environment }] of Object.entries(nodes)) {
    const { listeners, admin } = settingsOf(environment);
    assert.deepEqual(listeners.tcp.trusted_proxies, [address]);
    assert.equal(listeners.tcp.proxy_protocol, true);
    assert.match(
      proxy,
      new RegExp(`^ {4}server ${service} ${service}:${listeners.tcp.port}$`, "m"),
    );
    assert.equal(admin.enabled && admin.bind === "0.0.0.0", true);
    assert.match(proxy, new RegExp(` send-proxy-v2 check port ${admin.port} `));
  }
});

test("Redis is there with its profile alone, and the nodes know where", () => {
  assert.deepEqual(redis?.profiles, ["redis"]);
  assert.equal(redis?.user, "redis");
  assert.match(redis?.command.join(" ") ?? "", /--appendonly yes --maxmemory-policy noeviction/);
  for (const { environment } of Object.values(nodes)) {
    assert.equal(settingsOf(environment).store.kind, "lmdb");
    const { store } = settingsOf(environment, { BROKER_STORE__KIND: "redis" });
    assert.deepEqual([store.kind, store.redis.addresses], ["redis", ["redis:6379"]]);
  }
});

test("the image runs a node in the foreground as another user, and checks it by a round trip", () => {
  assert.match(dockerfile, /^ENTRYPOINT \["broker"\]\nCMD \["foreground"\]$/m);
  assert.match(dockerfile, /CMD \["broker", "check", "--timeout", "4"\]/);
  assert.match(dockerfile, /^USER node$/m);
  // The check goes through a socket of its own, where anonymous clients may come whatever else is set.
  const { cluster, listeners, node } = settingsOf({}, { BROKER_AUTH__ANONYMOUS: "false" });
  // Of all that it writes nothing is elsewhere, so that it starts on a read-only file system.
  assert.equal(cluster.cookie_file, join(node.data_dir, ".broker.cookie"));
  assert.deepEqual(
    [listeners.unix.enabled, listeners.unix.anonymous, listeners.unix.mode],
    [true, true, "0600"],
  );
  assert.equal(listeners.unix.path, join(node.run_dir, "mqtt.sock"));
});

test("conf/haproxy-compose.cfg is one that HAProxy takes", (t) => {
  if (spawnSync("haproxy", ["-v"]).error !== undefined) {
    t.skip("haproxy is not installed");
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "trellis-haproxy-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "haproxy.cfg");
  writeFileSync(file, proxy);
  const checked = spawnSync("haproxy", ["-c", "-f", file], { encoding: "utf8" });
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
});
