/** Committed publishes leave in the order of their identities, those of an earlier process first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message } from "../../../src/routing/message.js";
import {
  type CommittedPublish,
  CommittedPublishes,
  qos2Origin,
} from "../../../src/session/journal/committed-publishes.js";
import { message } from "../support.js";

function make(incarnation: number): { publishes: CommittedPublishes; published: string[] } {
  const published: string[] = [];
  const publishes = new CommittedPublishes(
    ({ origin, identity }: Message) => published.push(`${origin?.incarnation}/${identity}`),
    () => ({ name: qos2Origin, incarnation }),
  );
  return { publishes, published };
}

function commit(publishes: CommittedPublishes, ...entries: CommittedPublish[]): void {
  for (const entry of entries) entry.isCommitted = true;
  publishes.proceed();
}

test("what is committed later holds up what was committed before it has its turn", () => {
  const { publishes, published } = make(1);
  const first = publishes.add(message("t", "a", 2));
  const second = publishes.add(message("t", "b", 2));
  commit(publishes, second);
  assert.deepEqual(published, []);
  commit(publishes, first);
  assert.deepEqual(published, ["1/1", "1/2"]);
});

test("what an earlier process left is published before anything new", () => {
  const { publishes, published } = make(2);
  const left = [1, 2].map((identity) => {
    const one = message("t", "left", 2);
    one.origin = { name: qos2Origin, incarnation: 1 };
    one.identity = identity;
    return one;
  });
  publishes.hold();
  commit(publishes, publishes.add(message("t", "new", 2)));
  assert.deepEqual([published, publishes.length], [[], 1]);
  publishes.publishLeft(left);
  assert.deepEqual(published, ["1/1", "1/2", "2/1"]);
});
