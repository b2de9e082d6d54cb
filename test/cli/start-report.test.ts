/** What a node says and warns about when it starts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { readEnvironment } from "../../src/config/environment.js";
import { fileDescriptorLimit } from "../../src/config/file-descriptors.js";
import { loadConfig, parseSetFlag } from "../../src/config/load.js";
import { splitWords } from "../../src/cli/console.js";
import { startReportText, strangersText, warnings } from "../../src/cli/start-report.js";

const report = {
  name: "a@h",
  listeners: [{ kind: "mqtt", address: "127.0.0.1", port: 1883 }],
  linkPort: 4370,
  members: ["a@h", "b@h"],
};

function loaded(...set: string[]) {
  const place = { cwd: "/w", home: "/h", uid: 1 };
  const flags = set.map(parseSetFlag);
  return loadConfig({ file: undefined, environment: readEnvironment({}), flags, place });
}

test("the report names version, listeners, members and every changed setting", () => {
  const text = startReportText(report, "1.2.3", loaded("limits.max_packet=2MiB"));
  const lines = text.split("\n");
  assert.deepEqual(lines.slice(0, 7), [
    "Trellis 1.2.3: the node a@h is running",
    "Listeners:",
    "  mqtt 127.0.0.1:1883",
    "  link 127.0.0.1:4370",
    "Connected members: a@h, b@h",
    "Settings that are not the default:",
    "  limits.max_packet = 2MiB (--set limits.max_packet; default 1MiB)",
  ]);
  assert.match(startReportText(report, "1.2.3", loaded()), /^Settings: all at their defaults$/m);
});

test("a low limit of file descriptors is warned about, with the way to raise it", () => {
  assert.match(
    warnings("127.0.0.1", 1024).join(),
    /1024 files and sockets only.*ulimit -n 1048576/,
  );
  assert.deepEqual(warnings("127.0.0.1", 4096), []);
  assert.deepEqual(warnings("localhost", undefined), []);
});

test("links beyond loopback are warned about, because they are not encrypted", () => {
  for (const bind of ["0.0.0.0", "10.0.0.1", "::", "127.evil.example"]) {
    assert.match(warnings(bind, 1e6).join(), /NOT ENCRYPTED/);
  }
  for (const bind of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) {
    assert.deepEqual(warnings(bind, 1e6), []);
  }
});

test("listeners that refuse anonymous clients without anybody having said so are named", () => {
  const text = (...set: string[]): string => strangersText(loaded(...set).config).join();
  const open = "listeners.tcp.bind=0.0.0.0";
  assert.equal(text(), "");
  assert.equal(text("listeners.tcp.bind=127.0.0.7"), "");
  assert.match(
    text(open),
    /reach tcp, so anonymous ones are REFUSED there.*auth\.anonymous = true/,
  );
  assert.match(text("listeners.ws.enabled=true", "listeners.ws.bind=::"), /reach ws, so/);
  const proxied = ["listeners.tcp.proxy_protocol=true", "listeners.tcp.trusted_proxies=127.0.0.1"];
  assert.match(text(...proxied), /reach tcp, so/);
  for (const said of [
    "auth.anonymous=true",
    "auth.anonymous=false",
    "listeners.tcp.anonymous=true",
  ]) {
    assert.equal(text(open, said), "");
  }
  assert.match(
    startReportText(report, "1", loaded(open)),
    /\nNOTE: clients from elsewhere reach tcp/,
  );
  const socket = [
    "listeners.unix.enabled=true",
    "listeners.unix.path=/w/s",
    "listeners.tcp.enabled=false",
  ];
  assert.equal(text(...socket), "");
});

test("the system says how many file descriptors there are", () => {
  const limit = fileDescriptorLimit();
  assert.ok(limit === undefined || limit > 10);
});

test("words of a line at the prompt may be quoted", () => {
  assert.deepEqual(splitWords(`  publish a/b "x y" 'z "q"' pre"fi x"  `), [
    ...["publish", "a/b", "x y", 'z "q"', "prefi x"],
  ]);
  assert.deepEqual(splitWords("   "), []);
});
