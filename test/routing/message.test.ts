/** A message that is kept gets bytes of its own, and stays what it was. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { publishShape } from "../../src/protocol/publish.js";
import { Message } from "../../src/routing/message.js";
import { TopicTable } from "../../src/routing/topic.js";

const topic = new TopicTable().internName("t");
// Something else; PUBLISH QoS 1, topic "t", id 1, a property, payload "hi"; something else.
const slab = Buffer.from([9, 9, 0x32, 10, 0, 1, 0x74, 0, 1, 2, 1, 1, 0x68, 0x69, 9]);

function message(): Message {
  return new Message(topic, 1, false, "publisher", Buffer.from(slab), 10, 12, 12, 14);
}

function parts({ bytes, ...at }: Message): [string, string] {
  return [
    bytes.toString("hex", at.propertiesStart, at.propertiesEnd),
    bytes.toString("utf8", at.payloadStart, at.payloadEnd),
  ];
}

test("own() copies properties and payload", () => {
  const one = message();
  const { bytes } = one;
  assert.equal(one.size, 5);
  one.own();
  bytes.fill(0);
  assert.deepEqual(parts(one), ["0101", "hi"]);
  assert.equal(one.bytes.length, 4);
  assert.equal(one.size, 5);
  const own = one.bytes;
  one.own();
  assert.equal(one.bytes, own);
});

test("own() keeps the whole frame where there is one", () => {
  const one = message();
  one.shape = publishShape(5, 1, false);
  one.frameStart = 2;
  const { bytes } = one;
  one.own();
  bytes.fill(0);
  assert.deepEqual(parts(one), ["0101", "hi"]);
  assert.deepEqual(one.bytes.subarray(one.frameStart, one.payloadEnd), slab.subarray(2, 14));
  assert.equal(one.size, 5);
});

test("accept() tells the sink once, when nobody is left to wait for", () => {
  const one = message();
  let told = 0;
  one.sink = { onAccepted: () => told++ };
  one.pending = 2;
  one.accept();
  assert.equal(told, 0);
  one.accept();
  assert.equal(told, 1);
});
