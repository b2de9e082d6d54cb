/** The command line in one process: usage, exit codes, help, configuration commands. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { referenceText } from "../../src/config/reference.js";
import { fakeDependencies } from "./fake-node.js";
import { Place } from "./support.js";

const place = (t: TestContext): Place => new Place(t, fakeDependencies());

test("wrong usage is exit code 2 and one line on standard error", async (t) => {
  const wrong: [string[], RegExp][] = [
    [[], /name a command/],
    [["begin"], /Unknown (argument|command): begin/],
    [["start", "--colour"], /Unknown argument: colour/],
    [["start", "--node"], /Not enough arguments following: node/],
    [["start", "--node", "a@h", "--node", "b@h"], /--node is given more than once/],
    [["started", "--timeout", "soon"], /--timeout must be a whole number/],
    [["local-cluster", "--nodes", "0"], /--nodes must be at least 1/],
    [["local-cluster", "--nodes", "99"], /--nodes must be a whole number from 0 to 30/],
    [["local-cluster", "--port", "65535"], /--port must be a whole number from 0 to 65533/],
    [["config"], /check, show or reference/],
    [["ctl"], /name a command/],
    [["ctl", "reboot"], /Unknown (argument|command): reboot/],
    [["ctl", "join_cluster"], /Not enough non-option arguments/],
    [["ctl", "join_cluster", "a@h", "b@h"], /Unknown (argument|command): b@h/],
    [["ctl", "clients"], /say what: list, show, kick/],
    [["ctl", "clients", "hide"], /Unknown (argument|command): hide/],
  ];
  for (const [words, expected] of wrong) {
    const { code, output, errors } = await place(t).run(words);
    assert.deepEqual({ words, code, output }, { words, code: 2, output: "" });
    assert.match(errors, /^Error: [^\n]* \(see --help\)$/);
    assert.match(errors, expected);
  }
});

test("help explains, version is the package's, both are exit code 0", async (t) => {
  const help = await place(t).run(["--help"]);
  assert.equal(help.code, 0);
  for (const word of ["start", "foreground", "console", "stop", "started", "local-cluster"]) {
    assert.match(help.output, new RegExp(`^ +broker ${word} `, "m"));
  }
  assert.doesNotMatch(help.output, /supervise/);
  const ctl = await place(t).run(["ctl", "--help"]);
  assert.match(ctl.output, /broker ctl join_cluster <NODE> +join the cluster that NODE belongs to/);
  assert.match(ctl.output, /broker ctl names \[HOST\]/);
  const join = await place(t).run(["ctl", "join_cluster", "--help"]);
  assert.match(join.output, /--discard/);
  assert.match(join.output, /-f, --force/);
  const version = await place(t).run(["--version"]);
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  assert.match(text, new RegExp(`"version": "${version.output}"`));
});

test("a wrong setting refuses every command that needs the configuration", async (t) => {
  for (const command of [["start"], ["foreground"], ["config", "check"], ["ctl", "status"]]) {
    const refused = await place(t).run([...command, "--set", "limits.max_paket=1"]);
    assert.equal(refused.code, 1);
    assert.match(
      refused.errors,
      /^Error: --set limits\.max_paket: .*did you mean limits\.max_packet/,
    );
  }
  const { code, errors } = await place(t).run(["start", "--set", "port"]);
  assert.deepEqual([code, errors], [1, "Error: --set port: write it as --set key=value"]);
});

test("config check says that all is right, or every problem with its line", async (t) => {
  const here = place(t);
  const file = join(here.folder, "broker.yaml");
  writeFileSync(file, "limits:\n  open_qos2: 9\n");
  const right = await here.run(["config", "check", "--config", file]);
  assert.equal(right.code, 0);
  assert.match(right.output, /configuration is right; 3 settings are not at the default/);
  writeFileSync(file, "limits:\n  open_qos2: no\nlog:\n  levle: info\n");
  const wrong = await here.run(["config", "check", "--config", file]);
  assert.equal(wrong.code, 1);
  assert.equal(wrong.errors, "Error: the configuration has 2 problems");
  assert.match(wrong.output, /broker\.yaml:4: .*\n.*broker\.yaml:2: limits\.open_qos2 is "no"/);
});

test("config show names the origin of what was changed; reference is conf/broker.yaml", async (t) => {
  const show = await place(t).run(["config", "show", "--node", "x@h", "--data", "d"]);
  assert.match(show.output, /^ {2}name: "x@h" {2}# --node$/m);
  assert.match(show.output, /^ {2}data_dir: ".*\/d" {2}# --data$/m);
  assert.match(show.output, /^ {2}run_dir: ".*" {2}# environment BROKER_NODE__RUN_DIR$/m);
  const reference = await place(t).run(["config", "reference"]);
  assert.equal(`${reference.output}\n`, referenceText());
});

test("ctl without a node to speak to says how to start one", async (t) => {
  const { code, errors } = await place(t).run(["ctl", "status"]);
  assert.equal(code, 1);
  assert.match(errors, /^Error: no node runs here .*`broker start`$/);
  const named = await place(t).run(["ctl", "--node", "x@h", "status"]);
  assert.match(named.errors, /^Error: the node does not answer on .*x@h\.ctl\.sock/);
  const stop = await place(t).run(["stop", "--node", "x@h"]);
  assert.deepEqual([stop.code, stop.errors], [1, "Error: no node named x@h runs here"]);
  const started = await place(t).run(["started", "--timeout", "0"]);
  assert.equal(started.code, 1);
  assert.match(started.errors, /^Error: no node runs here .* \(waited 0 s\)$/);
});
