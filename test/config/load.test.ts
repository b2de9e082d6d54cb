/** What a wrong configuration is told, and which source wins. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { readEnvironment } from "../../src/config/environment.js";
import { ConfigRefusal, loadConfig, parseSetFlag } from "../../src/config/load.js";

const place = { cwd: "/srv", home: "/home/op", uid: 7 };

interface Given {
  readonly yaml?: string;
  readonly environment?: Record<string, string>;
  readonly set?: readonly string[];
}

function load(t: TestContext, given: Given) {
  let file: string | undefined;
  if (given.yaml !== undefined) {
    const folder = mkdtempSync(join(tmpdir(), "trellis-config-"));
    t.after(() => rmSync(folder, { recursive: true }));
    file = join(folder, "broker.yaml");
    writeFileSync(file, given.yaml);
  }
  const environment = readEnvironment(given.environment ?? {});
  const flags = (given.set ?? []).map(parseSetFlag);
  return loadConfig({ file, environment, flags, place });
}

/** The problems with which a configuration is refused, without the folder of the file. */
function problems(t: TestContext, given: Given): string[] {
  try {
    load(t, given);
  } catch (error) {
    assert.ok(error instanceof ConfigRefusal, String(error));
    return error.problems.map((problem) => problem.replace(/\S*\/(?=broker\.yaml)/, ""));
  }
  return assert.fail("the configuration was taken");
}

test("without any source every setting has its default", (t) => {
  const { config, changed } = load(t, {});
  assert.deepEqual(changed, []);
  assert.equal(config.node.name, "trellis@127.0.0.1");
  assert.equal(config.node.data_dir, "/srv/data/trellis@127.0.0.1");
  assert.equal(config.node.run_dir, "/tmp/trellis-7");
  assert.equal(config.cluster.cookie_file, "/home/op/.broker.cookie");
  assert.deepEqual(config.cluster.port_range, [4370, 4399]);
  assert.equal(config.cluster.forget_after, 7 * 24 * 3600 * 1000);
  assert.equal(config.limits.outbox_bytes, 1024 ** 3);
});

test("an empty file, and sections without settings, change nothing", (t) => {
  assert.deepEqual(load(t, { yaml: "" }).changed, []);
  assert.deepEqual(load(t, { yaml: "node:\nlimits: {}\n" }).changed, []);
});

test("durations, sizes and lists are read in every spelling", (t) => {
  const { config } = load(t, {
    yaml: `
cluster:
  port_range: 5000-5009
  suspect_after: 3s
  redial_max: 1500
  discovery: { static: { nodes: ["a@h1", "b@h2:4371"] } }
limits: { max_packet: 2MiB, session_expiry: 1h, outbox_bytes: 2097152 }
`,
  });
  assert.deepEqual(config.cluster.port_range, [5000, 5009]);
  assert.equal(config.cluster.suspect_after, 3000);
  assert.equal(config.cluster.redial_max, 1500);
  assert.deepEqual(config.cluster.discovery.static.nodes, ["a@h1", "b@h2:4371"]);
  assert.equal(config.limits.max_packet, 2 * 1024 ** 2);
  assert.equal(config.limits.session_expiry, 3_600_000);
  assert.equal(config.limits.outbox_bytes, 2_097_152);
});

test("environment goes before file, flags go before both", (t) => {
  const { config, changed } = load(t, {
    yaml: "limits:\n  open_qos2: 1\n  user_properties: 1\n  topic_levels: 2\n",
    environment: { BROKER_LIMITS__OPEN_QOS2: "2", BROKER_LIMITS__USER_PROPERTIES: "2" },
    set: ["limits.open_qos2=3"],
  });
  assert.equal(config.limits.open_qos2, 3);
  assert.equal(config.limits.user_properties, 2);
  assert.equal(config.limits.topic_levels, 2);
  assert.deepEqual(
    changed.map(({ key, value, defaultText, origin }) => {
      return [key, value, defaultText, origin.replace(/^.*\//, "")];
    }),
    [
      ["limits.topic_levels", "2", "128", "broker.yaml:4"],
      ["limits.user_properties", "2", "64", "environment BROKER_LIMITS__USER_PROPERTIES"],
      ["limits.open_qos2", "3", "1024", "--set limits.open_qos2"],
    ],
  );
});

test("a setting given at its default is not listed as changed", (t) => {
  assert.deepEqual(
    load(t, { set: ["limits.open_qos2=1024", "limits.max_packet=1024KiB"] }).changed,
    [],
  );
});

test("paths follow the run-time directory of the system, the home and the working directory", (t) => {
  const { config } = load(t, {
    environment: { XDG_RUNTIME_DIR: "/run/user/7" },
    set: ["node.data_dir=var/d", "cluster.cookie_file=~/c"],
  });
  assert.equal(config.node.run_dir, "/run/user/7/trellis");
  assert.equal(config.node.data_dir, "/srv/var/d");
  assert.equal(config.cluster.cookie_file, "/home/op/c");
});

test("an unknown key in the file is refused with its line and the nearest key", (t) => {
  assert.deepEqual(problems(t, { yaml: "limits:\n  open_qos2: 4\n  max_paket: 1MiB\n" }), [
    "broker.yaml:3: there is no setting limits.max_paket (did you mean limits.max_packet?); " +
      "`broker config reference` lists all of them",
  ]);
  assert.match(problems(t, { yaml: "port: 1883\n" })[0] ?? "", /:1: .*listeners\.tcp\.port/);
  assert.match(problems(t, { yaml: "\n\nlimit: {}\n" })[0] ?? "", /:3: .*did you mean limits/);
});

test("a wrong value is refused with key, line and what is allowed", (t) => {
  assert.deepEqual(problems(t, { yaml: "listeners:\n  tcp:\n    port: 70000\n" }), [
    "broker.yaml:3: listeners.tcp.port is 70000; it must be a whole number from 0 to 65535",
  ]);
  const wrong: Record<string, RegExp> = {
    "log: { level: loud }": /log\.level is "loud"; it must be one of debug, info, warn, error/,
    "node: { name: nohost }": /node\.name .* name@host/,
    "mqtt: { reason_strings: yes }": /mqtt\.reason_strings .* true or false/,
    "cluster: { port_range: 9-1 }": /cluster\.port_range .* first-last/,
    "cluster: { suspect_after: 5 parsecs }": /suspect_after .* duration .* from 200ms to 60s/,
    "limits: { max_packet: 256MiB }": /max_packet .* from 20B to 268435455B/,
    "limits: { open_qos2: }": /open_qos2 is null/,
    "limits: { open_qos2: 1.5 }": /open_qos2 is 1.5/,
    "cluster: { discovery: { static: { nodes: a@h } } }": /nodes is "a@h"; it must be a list/,
    "cluster: { discovery: { static: { nodes: [h] } } }": /name@host/,
  };
  for (const [yaml, expected] of Object.entries(wrong)) {
    assert.match(problems(t, { yaml }).join(), expected);
  }
});

test("a file of the wrong shape, unreadable, or no YAML is refused with its line", (t) => {
  assert.match(problems(t, { yaml: "- a\n" })[0] ?? "", /broker\.yaml:1: the file must hold/);
  assert.match(problems(t, { yaml: "limits: 5\n" })[0] ?? "", /:1: limits must hold settings/);
  assert.match(problems(t, { yaml: "a: 1\nb: [\n" })[0] ?? "", /broker\.yaml:3: /);
  assert.match(problems(t, { yaml: "log:\n  level: info\nlog:\n" })[0] ?? "", /:3: .*unique/);
  const absent = { file: "/nowhere/b.yaml", environment: readEnvironment({}), flags: [], place };
  assert.throws(() => loadConfig(absent), /the file \/nowhere\/b\.yaml cannot be read \(ENOENT\)/);
});

test("an unknown variable or flag is refused, naming it", (t) => {
  assert.match(
    problems(t, { environment: { BROKER_LIMITS__OPEN_QOS3: "1" } })[0] ?? "",
    /^environment BROKER_LIMITS__OPEN_QOS3: .*did you mean limits\.open_qos2/,
  );
  assert.match(problems(t, { set: ["nodename=a@b"] })[0] ?? "", /^--set nodename: .*node\.name/);
  assert.throws(() => parseSetFlag("node.name"), /write it as --set key=value/);
});

test("BROKER_COOKIE is the cookie and no setting; other programs' variables are ignored", (t) => {
  const variables = { BROKER_COOKIE: "secret", PATH: "/bin", BROKERAGE: "1" };
  assert.equal(readEnvironment(variables).cookie, "secret");
  assert.deepEqual(load(t, { environment: variables }).changed, []);
});

test("settings that contradict each other are refused where one was given", (t) => {
  assert.match(
    problems(t, { yaml: "cluster:\n  heartbeat_interval: 2s\n" })[0] ?? "",
    /broker\.yaml:2: cluster\.suspect_after must be longer than twice/,
  );
  assert.match(
    problems(t, { set: ["limits.max_packet=64KiB"] })[0] ?? "",
    /^--set limits\.max_packet: limits\.max_packet_before_connect must not be larger/,
  );
});

test("all problems are found at once; the message is the first and their number", (t) => {
  const given = { yaml: "a: 1\nlimits: { open_qos2: 0 }\n", set: ["b=1"] };
  assert.equal(problems(t, given).length, 3);
  assert.throws(() => load(t, given), /broker\.yaml:1: .*\(and 2 more; `broker config check`/);
});
