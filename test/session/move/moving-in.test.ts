/** What stands for a session that comes: for itself, and for share groups where it is certain to come. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MovingIn } from "../../../src/session/move/moving-in.js";
import type { SnapshotSubscription } from "../../../src/session/move/snapshot.js";
import { world } from "../support.js";

const options = {
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  subscriptionId: 0,
  replay: false,
} as const;
const subscriptions: SnapshotSubscription[] = [
  { filter: "t", ...options },
  { filter: "$share/g/u", ...options },
];
const nowhere = { incarnation: 0, counter: 0 };

test("while it may not come, its groups have other members or none", () => {
  const { sessions, publish } = world();
  const holder = new MovingIn("c", sessions, subscriptions);
  holder.subscribe();
  const [own, shared] = [publish("t", "m1", 1), publish("u", "m2", 1)];
  assert.deepEqual([own.pending, shared.matched], [1, 0]);
  holder.release();
  assert.equal(own.pending, 0);
});

test("when it is certain to come it is a member, and takes what it was given when it is here", () => {
  const { sessions, publish, connect } = world();
  const holder = new MovingIn("c", sessions, subscriptions, true);
  holder.subscribe();
  const sent = [publish("t", "m1", 1), publish("u", "m2", 1)];
  assert.deepEqual(
    sent.map(({ pending }) => pending),
    [1, 1],
  );
  const { session, channel } = connect("c");
  holder.handOver(session, nowhere);
  assert.deepEqual(channel.take(), ["m1 q1 id1", "m2 q1 id2"]);
  assert.deepEqual(
    sent.map(({ pending }) => pending),
    [0, 0],
  );
  assert.equal(publish("u", "m3", 1).matched, 0, "it stands for nobody any more");
});

test("what its old owner had been offered too is not taken again, but for what came to it as a group's member", () => {
  const { sessions, publish, connect } = world();
  const filters = [...subscriptions, { filter: "u", ...options }];
  const holder = new MovingIn("c", sessions, filters, true);
  holder.subscribe();
  const { counter } = publish("u", "m1", 1);
  const { session, channel } = connect("c");
  holder.handOver(session, { incarnation: 0, counter });
  assert.deepEqual(channel.take(), ["m1 q1 id1"]);
});
