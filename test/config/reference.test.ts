/** The reference says everything about every setting, and conf/broker.yaml is the reference. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { readEnvironment } from "../../src/config/environment.js";
import { parseConfigText } from "../../src/config/file.js";
import { loadConfig, parseSetFlag } from "../../src/config/load.js";
import { effectiveText, referenceText } from "../../src/config/reference.js";
import { configSchema } from "../../src/config/schema.js";
import { nearestKey, settings } from "../../src/config/settings.js";

const conf = fileURLToPath(new URL("../../conf/broker.yaml", import.meta.url));

test("conf/broker.yaml is what `broker config reference` prints", () => {
  const hint = "run `npm run reference` to write it again";
  assert.equal(readFileSync(conf, "utf8"), referenceText(), hint);
});

test("every setting has an explanation, a type, a range and a default that is allowed", () => {
  for (const { key, info, leaf } of settings.values()) {
    assert.ok(info.about.length > 40 && info.about.endsWith("."), key);
    assert.ok(info.allowed !== "" && info.type !== "" && info.defaultText !== "", key);
    assert.ok(leaf.safeParse(undefined).success, key);
    assert.ok(referenceText().includes(`# ${key.split(".").at(-1)}: `), key);
  }
});

test("with every '#' before a setting taken out, the file still means the defaults", () => {
  const lines = referenceText().split("\n");
  // The last line of each block of comments is the setting itself.
  const text = lines
    .map((line, index) =>
      /^ *#/.test(lines[index + 1] ?? "") ? line : line.replace(/^( +)# /, "$1"),
    )
    .join("\n");
  const content = parseConfigText(text, "broker.yaml");
  assert.deepEqual(content.problems, []);
  assert.equal(content.values.length, settings.size);
  assert.deepEqual(configSchema.parse(parse(text)), configSchema.parse({}));
});

test("the effective configuration is a file that means the same, and says what was changed", () => {
  const loaded = loadConfig({
    file: undefined,
    environment: readEnvironment({}),
    flags: ["limits.max_packet=2MiB", "cluster.port_range=0-0"].map(parseSetFlag),
    place: { cwd: "/srv", home: "/home/op", uid: 7 },
  });
  const text = effectiveText(loaded.config, loaded.changed);
  assert.deepEqual(configSchema.parse(parse(text)), loaded.config);
  assert.match(text, /^ {2}max_packet: 2MiB {2}# --set limits\.max_packet$/m);
  assert.match(text, /^ {2}port_range: "0-0" {2}# --set cluster\.port_range$/m);
});

test("the nearest key is a near one or none", () => {
  assert.equal(nearestKey("node.nmae"), "node.name");
  assert.equal(nearestKey("limits.port"), "listeners.tcp.port");
  assert.equal(nearestKey("zzzzzzzzzzzz"), undefined);
});
