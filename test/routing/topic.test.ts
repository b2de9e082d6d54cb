/** Topics are interned by their bytes, and the table stays small whatever is published to. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hashBytes } from "../../src/lib/hash.js";
import { ProtocolError } from "../../src/protocol/protocol-error.js";
import { Topic, TopicTable } from "../../src/routing/topic.js";

test("one name has one record while it is in use, wherever its bytes stand", () => {
  const table = new TopicTable(4);
  const first = table.internName("a/b");
  const bytes = Buffer.from("xxa/byy");
  assert.equal(table.intern(bytes, 2, 5), first);
  bytes.fill(0);
  assert.equal(first.name, "a/b");
  assert.equal(first.bytes.toString(), "a/b");
  assert.equal(table.internName("a/b"), first);
  assert.notEqual(table.internName("a/bb"), first);
});

test("a topic that stays in use keeps the result of its match through rotations", () => {
  const table = new TopicTable(4);
  const targets = { local: [], peers: [], groups: [] };
  const used = table.internName("used");
  used.targets = targets;
  used.generation = 7;
  for (let i = 0; i < 100; i++) {
    table.internName(`other/${i}`);
    const again = table.internName("used");
    assert.equal(again.targets, targets);
    assert.equal(again.generation, 7);
  }
});

test("what is not used any more is dropped: at most two halves are kept", () => {
  const table = new TopicTable(10);
  const gone = table.internName("gone");
  gone.generation = 7;
  for (let i = 0; i < 30; i++) table.internName(`other/${i}`);
  assert.equal(table.internName("gone").generation, -1);
});

test("whatever is interned, in tables of any size, the record has the name asked for", () => {
  const name = fc.stringMatching(/^[a-c/ä$]{1,3}$/u);
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(name, { maxLength: 60 }),
      (half, names) => {
        const table = new TopicTable(half);
        for (const one of names) {
          const topic = table.internName(one);
          assert.equal(topic.name, one);
          assert.equal(topic.bytes.toString("utf8"), one);
          assert.equal(topic.hash, hashBytes(topic.bytes, 0, topic.bytes.length) | 0);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("of topics that meet in one hash only a few are kept, and all are found or made anew", () => {
  const table = new TopicTable(1000);
  // Pairs of blocks that FNV-1a takes from one state to one state: any row of them has the same hash.
  const names = meeting(64);
  const [first] = names;
  assert.ok(first !== undefined);
  for (let round = 0; round < 2; round++) {
    for (const name of names) {
      const topic = table.internName(name);
      assert.equal(topic.name, name);
      let length = 0;
      for (let one: Topic | undefined = topic; one !== undefined; one = one.next) length++;
      assert.ok(length <= 8, `${length} in a bucket`);
    }
  }
});

/** `count` topics of one hash: found by trying, over hashes of 32 bits of which many meet. */
function meeting(count: number): string[] {
  let heads = [""];
  while (heads.length < count) {
    const [some] = heads;
    const [one, other] = meetingAfter(some ?? "");
    heads = heads.flatMap((head) => [head + one, head + other]);
  }
  return heads.slice(0, count);
}

/** Two blocks after which the hash is the same, where `head` went before. */
function meetingAfter(head: string): [string, string] {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    // Blocks that look like chance meet soon; those in a row take millions of tries.
    const block = `${Math.imul(i, 0x9e37_79b1) >>> 0}/`;
    const bytes = Buffer.from(head + block);
    const hash = hashBytes(bytes, 0, bytes.length);
    const other = seen.get(hash);
    if (other !== undefined) return [other, block];
    seen.set(hash, block);
  }
}

test("topics of one hash share a bucket and stay apart", () => {
  const one = new Topic("a", Buffer.from("a"), 5, undefined);
  const two = new Topic("b", Buffer.from("b"), 5, one);
  assert.equal(two.next, one);
  assert.ok(two.is(Buffer.from("xb"), 1, 2));
  assert.ok(!two.is(Buffer.from("xa"), 1, 2));
  assert.ok(!two.is(Buffer.from("bb"), 0, 2));
});

test("what is no topic name is refused: empty, with a wildcard, not UTF-8, U+0000, too long", () => {
  const table = new TopicTable();
  const wrong = ["", "a/+", "#", "a\0b", "x".repeat(65_536)].map((text) => Buffer.from(text));
  for (const bytes of [...wrong, Buffer.from([0xff]), Buffer.from([0xed, 0xa0, 0x80])]) {
    assert.throws(() => table.intern(bytes, 0, bytes.length), ProtocolError);
  }
  assert.equal(table.internName("x".repeat(65_535)).name.length, 65_535);
});
