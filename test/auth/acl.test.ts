/** Access rules without a network: both formats, placeholders, order, reload, and what is remembered. */
import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import type { Access } from "../../src/auth/acl/access.js";
import { Acl, type AclSettings } from "../../src/auth/acl/acl.js";
import { covers } from "../../src/auth/acl/rule.js";
import type { ClientRule } from "../../src/auth/rules.js";
import { createLog, silentLog } from "../../src/lib/log.js";
import { TopicTable } from "../../src/routing/topic.js";
import { type TestAcl, testAcl } from "./acl-support.js";

const topics = new TopicTable();

interface Who {
  readonly clientId?: string;
  readonly user?: string;
  readonly rules?: readonly ClientRule[] | null;
}

function access(acl: Acl, { clientId = "c", user = "", rules = null }: Who = {}): Access {
  const found = acl.accessOf({ clientId, user, rules });
  assert.ok(found !== null);
  return found;
}

/** What somebody may do with a topic, as letters: publish, receive, subscribe to it. */
function rights(acl: Acl, who: Who, name: string): string {
  const one = access(acl, who);
  const topic = topics.internName(name);
  const publishes = one.mayPublish(topic);
  const receives = one.mayReceive(topic);
  assert.equal(one.decide("publish", name).allowed, publishes);
  return `${publishes ? "p" : ""}${receives ? "r" : ""}${one.maySubscribe(name) ? "s" : ""}`;
}

async function refusal(t: TestContext, line: string, settings: Partial<AclSettings> = {}) {
  try {
    await testAcl(t, ["", line], settings);
  } catch (error) {
    return String(error);
  }
  return `${line} is taken`;
}

test("the first rule that fits decides; what none fits is as acl_default says", async (t) => {
  const lines = [
    "# a comment",
    "  deny  all      publish   sensors/secret/#  ",
    "allow all        publish   sensors/#",
    "allow user anna  subscribe sensors/+/temperature",
    "allow client c7  all       c7/#",
    "allow anonymous  subscribe public/#",
  ];
  const acl = await testAcl(t, lines);
  assert.equal(acl.size, 5);
  assert.equal(rights(acl, {}, "sensors/a"), "p");
  assert.equal(rights(acl, {}, "sensors/secret"), "");
  assert.equal(rights(acl, {}, "sensors/secret/a"), "");
  assert.equal(rights(acl, { user: "anna" }, "sensors/a/temperature"), "prs");
  assert.equal(rights(acl, { user: "bert" }, "sensors/a/temperature"), "p");
  assert.equal(rights(acl, { clientId: "c7" }, "c7/x"), "prs");
  assert.equal(rights(acl, { clientId: "c8" }, "c7/x"), "");
  assert.equal(rights(acl, {}, "public/x"), "rs");
  assert.equal(rights(acl, { user: "anna" }, "public/x"), "");
  const open = await testAcl(t, lines, { acl_default: "allow" });
  assert.equal(rights(open, {}, "sensors/secret/a"), "rs");
  assert.equal(rights(open, {}, "elsewhere"), "prs");
});

test("a user may be called like a client id, and names with spaces stand in quotes", async (t) => {
  const lines = [
    'allow user "an na" all a b/#',
    'deny client all all "x"',
    'allow user "q\\"" all "q/ "',
    "allow all all x",
  ];
  const acl = await testAcl(t, lines);
  assert.equal(rights(acl, { user: "an na" }, "a b/1"), "prs");
  assert.equal(rights(acl, { user: 'q"' }, "q/ "), "prs");
  assert.equal(rights(acl, { clientId: "all" }, "x"), "");
  assert.equal(rights(acl, { clientId: "other", user: "all" }, "x"), "prs");
});

test("a SUBSCRIBE needs a rule that covers all of its filter", async (t) => {
  const acl = await testAcl(t, [
    "deny all subscribe a/secret/#",
    "deny all subscribe b/#",
    "allow all subscribe a/#",
    "allow all subscribe +/x",
  ]);
  const one = access(acl);
  for (const filter of ["a/#", "a", "a/+", "a/b/+/#", "a/+/c", "+/x"]) {
    assert.ok(one.maySubscribe(filter), filter);
  }
  for (const filter of ["#", "+", "+/#", "a/secret/#", "a/secret/+", "b/x", "b/#", "c/#"]) {
    assert.ok(!one.maySubscribe(filter), filter);
  }
  // Granted, and yet what is denied in it is not delivered.
  assert.ok(!one.mayReceive(topics.internName("a/secret/x")));
  assert.ok(one.mayReceive(topics.internName("a/x")));
});

test("a filter of a rule covers what it matches, and wildcards do not cover $ topics", () => {
  const yes = ["# a", "# a/b", "# #", "a/# a", "a/# a/#", "+ a", "+/+ a/b", "+/+ /", "a/+/# a/b"];
  const no = [
    "a a/b",
    "a/b a",
    "+ a/b",
    "+ #",
    "a/+ a/#",
    "a/+/# a",
    "a +",
    "# $SYS/a",
    "+/a $a/a",
  ];
  const split = (pair: string): [string[], string[]] => {
    const [rule = "", asked = ""] = pair.split(" ");
    return [rule.split("/"), asked.split("/")];
  };
  for (const pair of yes) assert.ok(covers(...split(pair)), pair);
  for (const pair of no) assert.ok(!covers(...split(pair)), pair);
  assert.ok(covers(["$SYS", "#"], ["$SYS", "a"]));
});

test("%c and %u stand for the client id and the user name, literally", async (t) => {
  const acl = await testAcl(t, [
    "deny all all d/%c/#",
    "allow all all c/%c/#",
    "allow all publish u/%u",
    "allow all all both/%u-%c/x",
    "allow all all d/#",
  ]);
  const anna = { clientId: "c1", user: "anna" };
  assert.equal(rights(acl, anna, "c/c1/x/y"), "prs");
  assert.equal(rights(acl, anna, "c/c2/x"), "");
  assert.equal(rights(acl, anna, "u/anna"), "p");
  assert.equal(rights(acl, anna, "both/anna-c1/x"), "prs");
  assert.equal(rights(acl, anna, "d/c1/x"), "");
  assert.equal(rights(acl, anna, "d/c2/x"), "prs");
  // Not replaced twice, and no pattern of the replacing function.
  assert.equal(rights(acl, { clientId: "%u", user: "anna" }, "c/anna/x"), "");
  assert.equal(rights(acl, { clientId: "%u", user: "anna" }, "c/%u/x"), "prs");
  assert.equal(rights(acl, { clientId: "$&", user: "anna" }, "c/$&/x"), "prs");
});

test("a name that could mean more than itself widens nothing", async (t) => {
  const acl = await testAcl(t, [
    "deny all all d/%c/#",
    "allow all all d/#",
    "allow all all c/%c/#",
    "allow all all %u/#",
    "allow all all u/%u/#",
  ]);
  for (const clientId of ["+", "#", "a+b", "x/#", "+/x", "a/b"]) {
    for (const topic of ["c/a", "c/a/b", "c/x/y", `c/${clientId.replace(/[+#]/g, "z")}`]) {
      assert.equal(rights(acl, { clientId }, topic), "", `${clientId} ${topic}`);
    }
    const one = access(acl, { clientId });
    assert.ok(!one.maySubscribe(`c/${clientId}/#`.replace("##", "#")), clientId);
  }
  // Nothing in the place of a user: neither an empty level nor all of them.
  assert.equal(rights(acl, {}, "/x"), "");
  assert.equal(rights(acl, {}, "u//x"), "");
  assert.equal(rights(acl, { user: "$SYS" }, "$SYS/x"), "");
  assert.equal(rights(acl, { user: "$SYS" }, "u/$SYS/x"), "prs");
  // What is denied stays denied.
  assert.equal(rights(acl, { clientId: "a/b" }, "d/a/b/x"), "");
  assert.equal(rights(acl, { clientId: "a/b" }, "d/a/c"), "prs");
});

test("a line that is no rule keeps the whole file out, and is named", async (t) => {
  const wrong = [
    "allow",
    "permit all all #",
    "allow everybody all #",
    "allow user anna read #",
    "allow user all #",
    "allow all publish",
    "allow all all a/#/b",
    "allow all all a+",
    "allow all all %c#",
    "allow all subscribe $share/g/t",
    'allow user "anna all #',
    'allow all all "a" b',
  ];
  for (const line of wrong) {
    assert.match(await refusal(t, line), /the ACL file .* cannot be used: line 2: /, line);
  }
});

test("a file that is missing, unreadable, no text or too large is refused", async (t) => {
  const acl = await testAcl(t, ["allow all all #"]);
  acl.write("#".repeat(16 * 1024 * 1024));
  await assert.rejects(acl.reload(), /larger than/);
  writeFileSync(acl.path, Buffer.from([0xff, 0xfe]));
  await assert.rejects(acl.reload(), /not UTF-8/);
  rmSync(acl.path);
  await assert.rejects(acl.reload(), /ENOENT/);
  await assert.rejects(new Acl({ ...settingsOf(acl.path) }, silentLog).open(), /ENOENT/);
  if (process.getuid?.() === 0) return; // may read everything
  acl.write("allow all all #");
  chmodSync(acl.path, 0);
  await assert.rejects(acl.reload(), /EACCES/);
});

const settingsOf = (path: string): AclSettings => ({
  ...{ acl_file: path, acl_format: "trellis", acl_default: "deny" },
});

test("a reload holds for clients that are there; a broken file changes nothing", async (t) => {
  const lines: string[] = [];
  const log = createLog("info", { write: (line) => void lines.push(line) });
  const acl = await testAcl(t, ["allow all all a"], {}, log);
  const one = access(acl);
  const a = topics.internName("a");
  assert.ok(one.mayPublish(a) && one.mayReceive(a) && one.maySubscribe("a"));
  acl.write("allow all publish a");
  assert.ok(one.mayReceive(a));
  await acl.reload();
  assert.ok(one.mayPublish(a) && !one.mayReceive(a) && !one.maySubscribe("a"));
  acl.write("allow all all a", "something else");
  await assert.rejects(acl.reload(), /line 2/);
  assert.ok(one.mayPublish(a) && !one.mayReceive(a));
  assert.deepEqual(
    [acl.counters.loaded, acl.counters.loadFailures, acl.counters.failing],
    [2, 1, 1],
  );
  assert.match(
    lines.join(""),
    /"level":50.*the ACL file is not taken; the rules stay as they were/,
  );
  acl.write("deny all all #");
  await acl.reload();
  assert.ok(!one.mayPublish(a));
  assert.equal(acl.counters.failing, 0);
});

test("without a file nothing is asked, unless a client brings rules of its own", async () => {
  const acl = new Acl({ ...settingsOf("") }, silentLog);
  await acl.open();
  assert.equal(acl.accessOf({ clientId: "c", user: "u", rules: null }), null);
  await assert.rejects(acl.reload(), /no ACL file/);
  const rules: ClientRule[] = [
    { allow: false, action: "publish", filter: "own/%c/x" },
    { allow: true, action: "all", filter: "own/%c/#" },
  ];
  assert.equal(rights(acl, { rules }, "own/c/x"), "rs");
  assert.equal(rights(acl, { rules }, "own/c/y"), "prs");
  assert.equal(rights(acl, { rules }, "own/d/y"), "");
  assert.equal(rights(acl, { rules: [] }, "own/c/y"), "");
});

test("a client's own rules come before those of the file; broken ones deny everything", async (t) => {
  const acl = await testAcl(t, ["deny all all a/#", "allow all all #"]);
  const rules: ClientRule[] = [
    { allow: true, action: "publish", filter: "a/1" },
    { allow: false, action: "all", filter: "b" },
  ];
  assert.equal(rights(acl, { rules }, "a/1"), "p");
  assert.equal(rights(acl, { rules }, "a/2"), "");
  assert.equal(rights(acl, { rules }, "b"), "");
  assert.equal(rights(acl, { rules }, "c"), "prs");
  const broken = [...rules, { allow: true, action: "all", filter: "a#" } as const];
  assert.equal(rights(acl, { rules: broken }, "c"), "");
  const many = Array.from({ length: 1001 }, () => rules).flat();
  assert.equal(rights(acl, { rules: many }, "c"), "");
});

test("an acl_file of mosquitto has mosquitto's meaning", async (t) => {
  const lines = [
    "# anonymous clients",
    "topic read public/#",
    "topic deny public/secret",
    "",
    "user anna b",
    "topic readwrite a/+/x",
    "topic both",
    "topic write w/ w/#",
    "user bert",
    "topic deny a/#",
    "pattern readwrite p/%u/%c/#",
    "pattern deny a/no/x",
    "pattern read a/#",
  ];
  const acl = await testAcl(t, lines, { acl_format: "mosquitto" });
  const anna = { user: "anna b", clientId: "c1" };
  assert.equal(rights(acl, {}, "public/a"), "rs");
  assert.equal(rights(acl, {}, "public/secret"), "s");
  assert.equal(rights(acl, anna, "public/a"), "s");
  assert.equal(rights(acl, anna, "both"), "prs");
  assert.equal(rights(acl, anna, "w/ w/1"), "ps");
  assert.equal(rights(acl, anna, "p/anna b/c1/x"), "prs");
  assert.equal(rights(acl, anna, "p/bert/c1/x"), "s");
  // The user's own lines come before the patterns, and what is denied before what is allowed.
  assert.equal(rights(acl, anna, "a/no/x"), "prs");
  assert.equal(rights(acl, anna, "a/1"), "rs");
  assert.equal(rights(acl, { user: "bert" }, "a/1"), "s");
  assert.equal(rights(acl, { user: "carl" }, "a/no/x"), "s");
  assert.equal(rights(acl, { user: "a/b" }, "p/a/b/c/x"), "s");
  for (const line of [
    "topic",
    "topic some/where else",
    "user",
    "allow all all #",
    "topic read a#",
  ]) {
    assert.match(await refusal(t, line, { acl_format: "mosquitto" }), /line 2: /, line);
  }
});

test("verdicts are right however many topics are asked about, and their memory is bounded", async (t) => {
  const acl = await testAcl(t, ["allow all publish odd/#", "allow all subscribe even/#"]);
  const many = Array.from({ length: 20_000 }, (_, i) => {
    return topics.internName(`${i % 2 === 0 ? "even" : "odd"}/${i}`);
  });
  const [one, other] = [access(acl), access(acl, { clientId: "d" })];
  for (let round = 0; round < 2; round++) {
    for (const [i, topic] of many.entries()) {
      assert.equal(one.mayPublish(topic), i % 2 === 1);
      assert.equal(other.mayReceive(topic), i % 2 === 0);
    }
  }
  // Clients for whom the same rules hold share what is known.
  const set = acl.setFor({ clientId: "a", user: "x", rules: null });
  assert.equal(set, acl.setFor({ clientId: "b", user: "y", rules: null }));
  const text = JSON.stringify(set, (key, value) => (key === "topics" ? value.length : value));
  assert.match(text, /"topics":16384/);
});

test("rules for others cost a client nothing", async (t) => {
  const lines = Array.from({ length: 50_000 }, (_, i) => `allow user u${i} all t/u${i}/#`);
  const acl: TestAcl = await testAcl(t, lines);
  for (let i = 0; i < 50_000; i += 4999) {
    assert.equal(rights(acl, { user: `u${i}` }, `t/u${i}/x`), "prs");
    assert.equal(rights(acl, { user: `u${i}` }, "t/u1/x"), "");
  }
  const few = access(acl, { user: "u7" }).decide("publish", "t/u7/x");
  assert.equal(few.rule?.line, 8);
});
