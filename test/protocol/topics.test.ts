/** Topic names and filters. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import {
  connackReturnCode,
  reasonName,
  subackReturnCode,
} from "../../src/protocol/reason-codes.js";
import {
  beyondTopicLimits,
  filterFault,
  isShared,
  plainFilter,
  textBeyondTopicLimits,
  topicName,
} from "../../src/protocol/topics.js";

const refusedText = (text: string): [number, Buffer] => [0x81, Buffer.from(text)];
const name = (bytes: Buffer): string => topicName(bytes, 0, bytes.length);

test("topic names are taken as they are [MQTT-4.7.3]", () => {
  for (const topic of ["a", "/", "a//b", "$SYS/x", "ä/漢字/😀", "\ufeffbom", " ", "\u00a0"]) {
    assert.equal(name(Buffer.from(topic)), topic);
  }
  assert.equal(topicName(Buffer.from("xxa/byy"), 2, 5), "a/b");
});

test("what is no topic name is refused with its code", () => {
  const cases: [number, Buffer][] = [
    [0x81, Buffer.from("")],
    [0x82, Buffer.from("a/+")],
    [0x82, Buffer.from("#")],
    [0x90, Buffer.alloc(65_536, 0x61)],
    [0x81, Buffer.from([0x61, 0])],
    [0x81, Buffer.from([0xc0, 0x80])],
    [0x81, Buffer.from([0xed, 0xa0, 0x80])],
    [0x81, Buffer.from([0xf4, 0x90, 0x80, 0x80])],
    [0x81, Buffer.from([0xe2, 0x82])],
    ...["\u0001", "\u001f", "\u007f", "\u0080", "\u009f"].map(refusedText),
    ...["\ufdd0", "\ufdef", "\ufffe", "\uffff", "\u{1ffff}", "\u{10fffe}"].map(refusedText),
  ];
  for (const [reason, bytes] of cases) {
    const right = (error: unknown): boolean =>
      error instanceof ProtocolError && error.reason === reason;
    assert.throws(() => name(bytes), right, bytes.toString("hex", 0, 8));
  }
});

test("filters [MQTT-4.7.1-1, 4.7.1-2]", () => {
  for (const good of ["#", "+", "a/#", "+/+/#", "/", "a/+/b", "$SYS/#", "/+"]) {
    assert.equal(filterFault(good), undefined, good);
  }
  for (const bad of ["", "a#", "#/a", "a/#/b", "a+", "+a", "a/b+/c", "a\0", "\ud800", "##"]) {
    assert.notEqual(filterFault(bad), undefined, bad);
  }
});

test("limits of bytes and levels", () => {
  const beyond = (topic: string, bytes: number, levels: number): boolean =>
    textBeyondTopicLimits(topic, bytes, levels);
  assert.equal(beyond("abc", 3, 1), false);
  assert.equal(beyond("abcd", 3, 1), true);
  assert.equal(beyond("ää", 3, 1), true);
  assert.equal(beyond("a/b/c", 100, 3), false);
  assert.equal(beyond("a/b/c/", 100, 3), true);
  assert.equal(beyond("/".repeat(127), 4096, 128), false);
  assert.equal(beyond("/".repeat(128), 4096, 128), true);
  assert.equal(beyondTopicLimits(Buffer.from("x/a/b/cx"), 2, 7, 5, 3), false);
});

test("shared filters are recognised", () => {
  assert.equal(isShared("$share/g/a"), true);
  assert.equal(isShared("$share"), true);
  assert.equal(isShared("$shared/a"), false);
});

test("shared filters have a name and a filter [MQTT-4.8.2-1, 4.8.2-2]", () => {
  const plain = { "$share/g/a/+": "a/+", "$share/g//": "/", "$share/g/#": "#", "a/b": "a/b" };
  for (const [good, rest] of Object.entries(plain)) {
    assert.equal(filterFault(good), undefined, good);
    assert.equal(plainFilter(good), rest);
  }
  const faulty = [
    "$share",
    "$share/",
    "$share/g",
    "$share/g/",
    "$share//t",
    "$share//",
    "$share/#",
  ];
  for (const bad of [...faulty, "$share/+/t", "$share/g+/t", "$share/g/a#"]) {
    assert.notEqual(filterFault(bad), undefined, bad);
  }
});

test("reason codes have names, and stand-ins in MQTT 3", () => {
  assert.equal(reasonName(0x8e), "session taken over");
  assert.equal(reasonName(0x7f), "reason 0x7f");
  assert.deepEqual([0, 0x84, 0x85, 0x86, 0x87, 0x97].map(connackReturnCode), [0, 1, 2, 4, 5, 3]);
  assert.deepEqual([0, 1, 2, 0x8f].map(subackReturnCode), [0, 1, 2, 0x80]);
});
