/** Flow control: publishers are held at the limit and go on at half of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Flow } from "../../../src/cli/bench/flow.js";

test("publishers are held at the limit, and resumed once at half of it", () => {
  let resumed = 0;
  const flow = new Flow(10, () => resumed++);
  assert.equal(flow.room(), 10);
  flow.expected += 10;
  assert.equal(flow.room(), 0);
  flow.arrived(4);
  assert.equal(flow.room(), 0, "still held: 6 of 10 are outstanding");
  assert.equal(resumed, 0);
  flow.arrived(1);
  assert.equal(resumed, 1);
  assert.equal(flow.room(), 5);
  flow.arrived(5);
  assert.equal(resumed, 1, "nobody was held any more");
});

test("what is written off no longer holds publishers", () => {
  let resumed = 0;
  const flow = new Flow(10, () => resumed++);
  flow.expected += 5;
  flow.writeOff();
  assert.equal(flow.outstanding(), 5, "nothing is written off while nobody is held");
  flow.expected += 5;
  assert.equal(flow.room(), 0);
  flow.writeOff();
  assert.equal(resumed, 1);
  assert.equal(flow.room(), 10);
});
