/** Names of nodes: every form that is allowed, and a sentence for everything else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  hostText,
  parseHostPort,
  parseNodeAddress,
  parseNodeName,
} from "../../src/cluster/names.js";
import { Refusal } from "../../src/lib/refusal.js";

function refusal(text: string, parse: (text: string) => unknown = parseNodeAddress): string {
  try {
    parse(text);
  } catch (error) {
    assert.ok(error instanceof Refusal, String(error));
    assert.ok(error.message.includes(`"${text}"`), `names what is wrong: ${error.message}`);
    return error.message;
  }
  return assert.fail(`"${text}" was taken`);
}

test("name@host is read with a hostname, an IPv4 and an IPv6 address", () => {
  assert.deepEqual(parseNodeAddress("node1@broker.example.org"), {
    node: "node1@broker.example.org",
    name: "node1",
    host: "broker.example.org",
    port: null,
  });
  assert.equal(parseNodeAddress("a@10.0.0.1").host, "10.0.0.1");
  const six = parseNodeAddress("a@[::1]:4371");
  assert.deepEqual(six, { node: "a@[::1]", name: "a", host: "::1", port: 4371 });
});

test("a port is read and is no part of the name", () => {
  const address = parseNodeAddress("a.b_c-1@Host_1:65535");
  assert.deepEqual(address, {
    node: "a.b_c-1@host_1",
    name: "a.b_c-1",
    host: "host_1",
    port: 65_535,
  });
});

test("a node has one spelling", () => {
  assert.equal(parseNodeAddress("a@HOST").node, parseNodeAddress("a@host").node);
  assert.equal(parseNodeAddress("a@[2001:DB8:0:0::1]").node, "a@[2001:db8::1]");
  assert.notEqual(parseNodeAddress("A@host").node, parseNodeAddress("a@host").node);
});

test("what stands before the @ is checked", () => {
  assert.match(refusal("node1"), /write name@host/);
  assert.match(refusal(""), /write name@host/);
  for (const text of ["@host", "a b@host", "ä@host", `${"x".repeat(65)}@host`, "a/b@host"]) {
    assert.match(refusal(text), /1 to 64/);
  }
  assert.equal(parseNodeAddress(`${"x".repeat(64)}@host`).name.length, 64);
});

test("a host that cannot be one is refused", () => {
  const wrong = ["a@", "a@b@c", "a@ho st", "a@-x", "a@x-", "a@x..y", "a@x.", "a@host\n", "a@/etc"];
  const longLabel = `a@${"x".repeat(64)}`;
  const longHost = `a@${"x.".repeat(127)}x`;
  for (const text of [...wrong, longLabel, longHost]) assert.match(refusal(text), /no valid host/);
});

test("an address that is none is refused, not taken for a hostname", () => {
  for (const text of ["a@1.2.3", "a@1.2.3.256", "a@1.2.3.4.5", "a@127", "a@01.2.3.4"]) {
    assert.match(refusal(text), /no valid host/);
  }
  assert.match(refusal("a@[1.2.3.4]"), /no IPv6 address/);
  assert.match(refusal("a@[fe80::1%eth0]"), /no IPv6 address/);
  assert.match(refusal("a@[]"), /no IPv6 address/);
});

test("an IPv6 address without brackets is refused with the right spelling", () => {
  assert.match(refusal("a@2001:db8::1"), /in brackets, \[2001:db8::1\]/);
  assert.match(refusal("a@[::1"), /no valid host/);
});

test("a port is a number from 1 to 65535", () => {
  for (const text of ["a@h:", "a@h:0", "a@h:65536", "a@h:-1", "a@h:1e3", "a@h: 1", "a@h:1:2"]) {
    assert.match(refusal(text), /no valid port/);
  }
});

test("where a name alone is meant, a port is refused", () => {
  assert.equal(parseNodeName("a@h").node, "a@h");
  assert.match(refusal("a@h:1", parseNodeName), /name@host alone \(a@h\)/);
});

test("host and port without a name are read the same way", () => {
  assert.deepEqual(parseHostPort("[::1]:80"), { host: "::1", port: 80 });
  assert.deepEqual(parseHostPort("Example.org"), { host: "example.org", port: null });
  assert.match(refusal("a b", parseHostPort), /no valid host/);
});

test("a host is written back as it was read", () => {
  for (const text of ["[::1]", "127.0.0.1", "x.org"]) {
    assert.equal(hostText(parseHostPort(text).host), text);
  }
});
