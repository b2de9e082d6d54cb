/** What the settings of listeners mean, and which of them are refused, alone and together. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readEnvironment } from "../../src/config/environment.js";
import { enabledListeners, parseNetwork } from "../../src/config/listeners.js";
import { ConfigRefusal, loadConfig, parseSetFlag } from "../../src/config/load.js";

const place = { cwd: "/srv", home: "/home/op", uid: 7 };

function load(t: TestContext, yaml: string, set: readonly string[] = []) {
  const folder = mkdtempSync(join(tmpdir(), "trellis-config-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "b.yaml");
  writeFileSync(file, yaml);
  const flags = set.map(parseSetFlag);
  return loadConfig({ file, environment: readEnvironment({}), flags, place }).config;
}

function refusal(t: TestContext, yaml: string, set: readonly string[] = []): string {
  try {
    load(t, yaml, set);
  } catch (error) {
    assert.ok(error instanceof ConfigRefusal, String(error));
    return error.problems.map((problem) => problem.replace(/\S*\/(?=b\.yaml)/, "")).join("\n");
  }
  return assert.fail("the configuration was taken");
}

test("only TCP is open by default, and each kind has a port of its own", (t) => {
  const { listeners } = load(t, "");
  assert.deepEqual(
    enabledListeners(listeners).map(({ name }) => name),
    ["tcp"],
  );
  const { tcp, tls, ws, wss } = listeners;
  assert.deepEqual([tcp.port, tls.port, ws.port, wss.port], [1883, 8883, 8083, 8084]);
  assert.equal(tcp.anonymous, null);
});

test("listeners of every kind, and more of them, with paths made absolute", (t) => {
  const { listeners } = load(
    t,
    `
listeners:
  tcp: { enabled: false }
  tls: { enabled: true, certificate: c.pem, key: ~/k.pem, sni: [{ name: "*.b.c", certificate: /d, key: e }] }
  unix: { enabled: true, path: run/mqtt.sock, mode: "600" }
  more:
    - { name: inner, kind: tcp, port: 2883, mount_point: site1/, max_connections: 5, anonymous: true }
    - { name: web, kind: ws, max_message: 64KiB, path: /x }
    - { name: off, kind: tls, enabled: false }
`,
  );
  const open = enabledListeners(listeners);
  assert.deepEqual(
    open.map(({ name, kind }) => `${name} ${kind}`),
    ["tls tls", "unix unix", "inner tcp", "web ws"],
  );
  assert.equal(listeners.tls.certificate, "/srv/c.pem");
  assert.equal(listeners.tls.key, "/home/op/k.pem");
  assert.deepEqual(listeners.tls.sni, [{ name: "*.b.c", certificate: "/d", key: "/srv/e" }]);
  assert.equal(listeners.unix.path, "/srv/run/mqtt.sock");
  const [, , inner, web] = open;
  assert.ok(inner?.kind === "tcp" && web?.kind === "ws");
  assert.deepEqual([inner.mount_point, inner.anonymous, inner.port], ["site1/", true, 2883]);
  assert.deepEqual([web.max_message, web.path, web.port], [65_536, "/x", 8083]);
});

test("lists of objects can be given as JSON, and null is not set", (t) => {
  const { listeners } = load(t, "listeners: { tcp: { anonymous: true } }", [
    'listeners.more=[{"name":"a","kind":"tcp","port":0}]',
    "listeners.tcp.anonymous=null",
  ]);
  assert.deepEqual(
    listeners.more.map(({ name }) => name),
    ["a"],
  );
  assert.equal(listeners.tcp.anonymous, null);
  assert.match(refusal(t, "", ["listeners.more=[{]"]), /--set listeners\.more: .*must be a list/);
});

test("a wrong setting inside of a list is named with its place", (t) => {
  const wrong: Record<string, RegExp> = {
    "[{ name: a, kind: tcp, port: 70000 }]":
      /^b\.yaml:2: listeners\.more\[0\]\.port is 70000; it must be a whole number from 0 to 65535$/,
    "[{ name: a, kind: tcp, path: /x }]": /more\[0\]\.path is no setting; there are kind, name, en/,
    "[{ name: a, kind: udp }]":
      /more\[0\]\.kind is "udp"; it must be one of tcp, tls, ws, wss, unix/,
    "[{ name: a }]": /more\[0\]\.kind is null/,
    "[{ kind: tcp }]": /more\[0\]\.name is null; it must be given/,
    "[3]": /more\[0\] is 3; it must be an object of settings/,
    "[{ name: a, kind: tls, sni: [{ nam: x }] }]": /more\[0\]\.sni\[0\]\.nam is no setting/,
    "{ name: a }": /listeners\.more is .* it must be a list of/,
  };
  for (const [yaml, expected] of Object.entries(wrong)) {
    assert.match(refusal(t, `listeners:\n  more: ${yaml}\n`), expected);
  }
});

test("values that no listener can use are refused", (t) => {
  const wrong: Record<string, RegExp> = {
    "tcp: { mount_point: a }": /mount_point is "a"; it must be levels/,
    'tcp: { mount_point: "a/+/" }': /without wildcards/,
    'tcp: { mount_point: "$share/g/" }': /without wildcards/,
    "tcp: { trusted_proxies: [nowhere] }": /list of addresses or networks/,
    "ws: { path: mqtt }": /the path of a URL/,
    "unix: { mode: 0660 }": /in quotes/,
    "tls: { min_version: TLSv1.1 }": /one of TLSv1\.2, TLSv1\.3/,
    "udp: { port: 1 }": /no setting listeners\.udp/,
  };
  for (const [yaml, expected] of Object.entries(wrong)) {
    assert.match(refusal(t, `listeners:\n  ${yaml}\n`), expected);
  }
});

test("settings that do not go together are refused, those of a closed listener are not", (t) => {
  const wrong: Record<string, RegExp> = {
    "tls: { enabled: true }":
      /^b\.yaml:2: listeners\.tls\.certificate must be given.*\nb.*\.key must/,
    "tls: { enabled: true, certificate: a, key: b, client_certificates: required }":
      /^b\.yaml:2: listeners\.tls\.ca must be given when client_certificates is required$/,
    "tls: { enabled: true, certificate: a, key: b, use_identity_as_username: true }":
      /client_certificates must not be none when use_identity/,
    "wss: { enabled: true, certificate: a, key: b, sni: [{ certificate: c, key: d }] }":
      /sni must have name, certificate and key/,
    "tcp: { proxy_protocol: true }": /listeners\.tcp\.trusted_proxies must name the proxies/,
    "tcp: { trusted_proxies: [10.0.0.0/33] }": /trusted_proxies holds 10\.0\.0\.0\/33/,
    "unix: { enabled: true }": /unix\.path must be given/,
    [`unix: { enabled: true, path: /${"x".repeat(100)} }`]: /longer than the 100 bytes/,
    "ws: { enabled: true, port: 1883 }": /listeners tcp and ws both want 127\.0\.0\.1 port 1883$/,
    "more: [{ name: tcp, kind: tcp, port: 1 }]": /two listeners have the name tcp/,
    "more: [{ name: a, kind: tls, port: 1 }]":
      /^b\.yaml:2: listeners\.more \(a\): certificate must be given/,
  };
  for (const [yaml, expected] of Object.entries(wrong)) {
    assert.match(refusal(t, `listeners:\n  ${yaml}\n`), expected);
  }
  load(t, "listeners: { tls: { client_certificates: required }, tcp: { port: 0 } }");
});

test("networks are read strictly", () => {
  assert.deepEqual(parseNetwork("10.0.0.1"), { address: "10.0.0.1", prefix: 32, family: "ipv4" });
  assert.deepEqual(parseNetwork("fd00::/8"), { address: "fd00::", prefix: 8, family: "ipv6" });
  for (const text of [
    "",
    "10.0.0",
    "10.0.0.1/33",
    "::/129",
    "::1/8/8",
    "10.0.0.1/x",
    "10.0.0.1/",
  ]) {
    assert.equal(parseNetwork(text), undefined, text);
  }
});
