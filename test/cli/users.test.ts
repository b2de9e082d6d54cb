/** `ctl users`: passwords are asked for or read from a file, and shown nowhere. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openCtl } from "../../src/admin/ctl-server.js";
import { silentLog } from "../../src/lib/log.js";
import { fakeParts } from "../admin/fake-parts.js";
import { fakeDependencies } from "./fake-node.js";
import { Place } from "./support.js";

async function withNode(t: TestContext) {
  const place = new Place(t, fakeDependencies());
  const runDir = place.environment.BROKER_NODE__RUN_DIR ?? "";
  const parts = fakeParts({ name: "a@h" });
  const server = await openCtl({ runDir, name: "a@h", parts, log: silentLog });
  t.after(() => server.close());
  return { place, asked: parts.asked };
}

test("add asks for the password twice and prints it nowhere", async (t) => {
  const { place, asked } = await withNode(t);
  const outcome = await place.run(["ctl", "users", "add", "bert"], ["one two", "one two"]);
  assert.deepEqual(outcome, {
    code: 0,
    output: "The user bert has been added",
    errors: "the user's password:\nonce more:",
  });
  assert.deepEqual(asked, [["add", "bert", "one two"]]);
});

test("two different passwords, or none, change nothing", async (t) => {
  const { place, asked } = await withNode(t);
  const different = await place.run(["ctl", "users", "passwd", "anna"], ["one", "two"]);
  assert.equal(different.code, 1);
  assert.match(different.errors, /Error: that was not the same twice; nothing has been changed$/);
  const none = await place.run(["ctl", "users", "add", "bert"], []);
  assert.equal(none.code, 1);
  assert.match(none.errors, /Error: no password was given; --password-file reads it from a file$/);
  assert.deepEqual(asked, []);
});

test("--password-file gives the first line of a file", async (t) => {
  const { place, asked } = await withNode(t);
  const file = join(place.folder, "password");
  writeFileSync(file, " spaces stay \r\nmore\n");
  const words = ["ctl", "--json", "users", "passwd", "anna", "--password-file", file];
  const { code, output, errors } = await place.run(words);
  assert.deepEqual([code, output, errors], [0, '{"changed":"anna"}', ""]);
  assert.deepEqual(asked, [["passwd", "anna", " spaces stay "]]);
  const missing = await place.run([...words.slice(0, -1), `${file}.not`]);
  assert.equal(missing.code, 1);
  assert.match(missing.errors, /^Error: the file .*password\.not cannot be read: ENOENT$/);
});

test("a password on the command line is wrong usage", async (t) => {
  const { place, asked } = await withNode(t);
  const option = await place.run(["ctl", "users", "add", "bert", "--password", "x"]);
  const place2 = await place.run(["ctl", "users", "add", "bert", "x"]);
  assert.deepEqual([option.code, place2.code, asked], [2, 2, []]);
});

test("list and delete", async (t) => {
  const { place, asked } = await withNode(t);
  const listed = await place.run(["ctl", "users", "list"]);
  assert.equal(listed.output, "user  hash    iterations\nanna  scrypt  4096");
  const deleted = await place.run(["ctl", "users", "delete", "anna"]);
  assert.equal(deleted.output, "The user anna has been deleted");
  assert.deepEqual(asked, [["delete", "anna"]]);
  const unknown = await place.run(["ctl", "users", "delete", "bert"]);
  assert.deepEqual([unknown.code, unknown.errors], [1, "Error: there is no user of this name"]);
});

test("import sends what the file holds", async (t) => {
  const { place, asked } = await withNode(t);
  const file = join(place.folder, "passwd");
  writeFileSync(file, "anna:$6$a$b\n");
  const { code, output } = await place.run(["ctl", "users", "import", file]);
  assert.equal(code, 0);
  assert.equal(output, "2 users have been imported; 1 that exist already stay as they are");
  assert.deepEqual(asked, [["import", "anna:$6$a$b\n"]]);
  const missing = await place.run(["ctl", "users", "import", `${file}.not`]);
  assert.deepEqual(missing.code, 1);
  assert.match(missing.errors, /^Error: the file .*passwd\.not cannot be read: ENOENT$/);
  writeFileSync(file, Buffer.alloc(2 * 1024 * 1024 + 1, "#"));
  const large = await place.run(["ctl", "users", "import", file]);
  assert.match(large.errors, /^Error: the file .* is larger than 2097152 bytes: split it$/);
});
