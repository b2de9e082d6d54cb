/** Share groups of one node: rows, strategies, what a peer's forward names, and second choices. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { forwardHeaderBytes } from "../../src/cluster/wire/frames.js";
import { realClock } from "../../src/lib/clock.js";
import { seededRandom } from "../../src/lib/random.js";
import { decodeForward, encodeForward } from "../../src/routing/forward.js";
import { Message } from "../../src/routing/message.js";
import {
  atFirst,
  hasShared,
  readShared,
  type SharedPart,
  withShared,
} from "../../src/routing/shared-forward.js";
import { isSharedRowValue, sharedRow, sharedRowValue } from "../../src/routing/shared-row.js";
import type { Router } from "../../src/routing/router.js";
import type { Qos } from "../../src/protocol/publish.js";
import { TopicTable } from "../../src/routing/topic.js";
import { member, publish, recordingRouter, replacePeerRows, Taker } from "./recording-cluster.js";

const key = "$share/g/t";
const onlineRow = sharedRowValue({ qos: 1, durable: false, online: 1, waiting: 0 });
const waitingRow = sharedRowValue({ qos: 1, durable: true, online: 0, waiting: 1 });

/** A peer that is up and has this row. */
function peerUp(router: Router, peer: number, value: number, group = key): void {
  router.onPeerState(peer, "up");
  router.setPeerRow(peer, group, value);
}

/** A forward from a peer that names groups; returns whether it is accepted at once. */
function arrive(
  router: Router,
  part: Partial<SharedPart>,
  options: { readonly qos?: Qos; readonly retain?: boolean } = {},
): boolean {
  const { qos = 1, retain = false } = options;
  const payload = Buffer.from("x");
  const topic = new TopicTable().internName("t");
  const message = new Message(topic, qos, retain, "p", payload, 0, 0, 0, 1);
  if (retain) message.stamp = 5;
  const plain = encodeForward(message, qos, realClock);
  const { keys = [key] } = part;
  const groups = keys.map((name) => ({ key: name }));
  const frame = withShared(plain, { ...atFirst, only: false, ...part }, groups);
  return router.onForward(0, 1, 7, frame, forwardHeaderBytes, frame.length);
}

const payloads = (taker: Taker): string[] => taker.got.map(({ payload }) => payload);

test("the value of a row holds its members", () => {
  const rows = [
    { qos: 0, durable: false, online: 0, waiting: 0 },
    { qos: 2, durable: true, online: 16_383, waiting: 16_383 },
    { qos: 1, durable: true, online: 3, waiting: 5 },
  ];
  for (const row of rows) {
    const value = sharedRowValue(row);
    assert.ok(isSharedRowValue(value), `${value}`);
    assert.deepEqual(sharedRow(value), row);
  }
  const many = sharedRowValue({ qos: 1, durable: true, online: 20_000, waiting: 1e9 });
  assert.deepEqual([sharedRow(many).online, sharedRow(many).waiting], [16_383, 16_383]);
  for (const wrong of [0, 7, 11, 2 ** 32 + 8, -8, 8.5])
    assert.equal(isSharedRowValue(wrong), false);
});

test("a peer's row with a value that cannot be is refused", () => {
  const { router } = recordingRouter();
  assert.throws(() => router.setPeerRow(0, key, 11), /row with value 11/);
  assert.throws(() => router.setPeerRow(0, "t", onlineRow), /row with value/);
  assert.equal(router.setPeerRow(0, key, 0), 0);
  assert.equal(router.index.groupCount, 0);
});

test("our own row counts members, and follows them", () => {
  const { router, cluster } = recordingRouter();
  const [a, b] = [new Taker("a"), new Taker("b")];
  const row = () => sharedRow(cluster.rows.get(key) ?? 0);
  member(router, a, key, { qos: 0 });
  assert.deepEqual(row(), { qos: 0, durable: false, online: 1, waiting: 0 });
  member(router, b, key, { qos: 2, durable: true });
  assert.deepEqual(row(), { qos: 2, durable: true, online: 2, waiting: 0 });
  member(router, b, key, { qos: 2, durable: true, online: false });
  assert.deepEqual(row(), { qos: 2, durable: true, online: 1, waiting: 1 });
  assert.ok(router.unsubscribe(b, key));
  assert.equal(router.unsubscribe(b, key), false);
  assert.deepEqual(row(), { qos: 0, durable: false, online: 1, waiting: 0 });
  router.unsubscribe(a, key);
  assert.equal(cluster.rows.has(key), false);
});

test("who is in a group does not change the generation of matches", () => {
  const { router } = recordingRouter();
  const [a, b] = [new Taker("a"), new Taker("b")];
  member(router, a, key);
  const { generation } = router.index;
  member(router, b, key);
  member(router, b, key, { online: false });
  router.unsubscribe(b, key);
  router.setPeerRow(0, key, onlineRow);
  assert.equal(router.index.generation, generation);
});

test("a client in a group and with a subscription of its own gets both copies", () => {
  const { router } = recordingRouter();
  const both = new Taker("both");
  member(router, both, "t");
  member(router, both, key);
  member(router, both, "$share/h/+");
  publish(router, "t", "x", 1);
  assert.deepEqual(both.got.map(({ share }) => share).sort(), ["$share/g/t", "$share/h/+", null]);
});

test("round robin goes round, over all nodes by their members", () => {
  const { router, cluster } = recordingRouter("round_robin");
  const own = [new Taker("a"), new Taker("b"), new Taker("c")];
  for (const taker of own) member(router, taker, key);
  peerUp(router, 0, sharedRowValue({ qos: 1, durable: false, online: 2, waiting: 9 }));
  for (let i = 0; i < 50; i++) publish(router, "t", `${i}`, 0);
  assert.deepEqual(
    own.map(({ got }) => got.length),
    [10, 10, 10],
  );
  assert.equal(cluster.take().length, 20);
  for (let i = 0; i < 30; i++) arrive(router, {});
  assert.deepEqual(
    own.map(({ got }) => got.length),
    [20, 20, 20],
  );
});

test("members come and go: each that is connected gets every so many-th message", () => {
  const { router } = recordingRouter("round_robin");
  const dice = seededRandom(5);
  const all = Array.from({ length: 9 }, (_, i) => new Taker(`${i}`));
  const online = new Set<Taker>();
  for (let i = 0; i < 400; i++) {
    const taker = all[Math.floor(dice.fraction() * all.length)];
    assert.ok(taker !== undefined);
    const present = dice.fraction() < 0.5;
    if (present) online.add(taker);
    else online.delete(taker);
    if (present || dice.fraction() < 0.5)
      member(router, taker, key, { durable: true, online: present });
    else router.unsubscribe(taker, key);
    if (online.size === 0) continue;
    for (let n = 0; n < online.size; n++) publish(router, "t", "x", 0);
    for (const one of all) assert.equal(one.got.splice(0).length, online.has(one) ? 1 : 0);
  }
});

test("random gives every member its part", () => {
  const { router, cluster } = recordingRouter("random", 3);
  const own = [new Taker("a"), new Taker("b"), new Taker("c")];
  for (const taker of own) member(router, taker, key);
  peerUp(router, 0, sharedRowValue({ qos: 1, durable: false, online: 5, waiting: 0 }));
  for (let i = 0; i < 8000; i++) publish(router, "t", "x", 0);
  const counts = [...own.map(({ got }) => got.length), cluster.take().length / 5];
  for (const count of counts) assert.ok(count > 900 && count < 1100, `${counts}`);
});

test("hash of the client: one publisher, one member", () => {
  const { router } = recordingRouter("hash_client");
  const own = Array.from({ length: 4 }, (_, i) => new Taker(`${i}`));
  for (const taker of own) member(router, taker, key);
  for (let i = 0; i < 10; i++) publish(router, "t", "x", 0, "one");
  assert.deepEqual(own.map(({ got }) => got.length).sort(), [0, 0, 0, 10]);
  for (let i = 0; i < 100; i++) publish(router, "t", "x", 0, `publisher ${i}`);
  for (const { got } of own) assert.ok(got.length > 10);
});

test("local first: others only when nobody is connected here", () => {
  const { router, cluster } = recordingRouter("local_first");
  const own = new Taker("own");
  member(router, own, key, { durable: true });
  peerUp(router, 0, sharedRowValue({ qos: 1, durable: false, online: 100, waiting: 0 }));
  for (let i = 0; i < 20; i++) publish(router, "t", "x", 1);
  assert.equal(own.got.length, 20);
  member(router, own, key, { durable: true, online: false });
  publish(router, "t", "x", 1);
  assert.equal(cluster.take().length, 1);
});

test("one forward for a peer's rows and all groups that chose it", () => {
  const { router, cluster } = recordingRouter();
  const groups = ["$share/g/t", "$share/h/t", "$share/g/+"];
  for (const group of groups) peerUp(router, 0, onlineRow, group);
  router.setPeerRow(0, "t", 8);
  const message = publish(router, "t", "x", 2);
  const [sent, ...more] = cluster.take();
  assert.deepEqual(more, []);
  assert.deepEqual([...(sent?.part?.keys ?? [])].sort(), [...groups].sort());
  assert.deepEqual(
    [sent?.qos, sent?.counter, sent?.part?.only, sent?.durable],
    [2, 1, false, false],
  );
  assert.deepEqual([message.matched, message.pending], [1, 1]);
  sent?.receipt?.accept();
  assert.equal(message.pending, 0);
});

test("keys that are too many for one forward follow in others, under their own numbers", () => {
  const { router, cluster } = recordingRouter();
  const names = Array.from({ length: 60 }, (_, i) => `$share/${i}-${"n".repeat(3000)}/t`);
  for (const name of names) peerUp(router, 0, onlineRow, name);
  const message = publish(router, "t", "x", 1);
  const sent = cluster.take();
  assert.ok(sent.length > 1 && sent.length < 10);
  assert.deepEqual(
    sent.map(({ counter }) => counter),
    sent.map((_, i) => i + 1),
  );
  assert.deepEqual(
    sent.map(({ part }) => part?.only),
    sent.map((_, i) => i > 0),
  );
  assert.equal(new Set(sent.flatMap(({ part }) => part?.keys ?? [])).size, names.length);
  assert.equal(message.pending, sent.length);
  assert.equal(publish(router, "t", "x", 1).counter, sent.length + 1);
});

test("a retained message goes to a group as any other, and to every node once", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 0, onlineRow);
  const bytes = Buffer.from("kept");
  const topic = router.topics.internName("t");
  router.publish(new Message(topic, 1, true, "p", bytes, 0, 0, 0, bytes.length));
  const sent = cluster.take();
  assert.equal(sent.length, 1);
  assert.deepEqual(sent[0]?.part, { ...atFirst, only: false, keys: [key] });
});

test("an ordinary forward is for no group, and one for groups alone is for nobody else", () => {
  const { router } = recordingRouter();
  const [own, one] = [new Taker("own"), new Taker("one")];
  member(router, own, "t");
  member(router, one, key);
  arrive(router, {});
  assert.deepEqual([own.got.length, one.got.length], [1, 1]);
  arrive(router, { only: true }, { retain: true });
  assert.deepEqual([own.got.length, one.got.length], [1, 2]);
  assert.equal(router.retained.size, 0);
  arrive(router, { keys: [] });
  assert.deepEqual([own.got.length, one.got.length], [2, 2]);
});

test("a forward for a group without connected members here goes on to where some are", () => {
  const { router, cluster } = recordingRouter();
  const away = new Taker("away");
  member(router, away, key, { durable: true, online: false });
  peerUp(router, 1, onlineRow);
  assert.equal(arrive(router, { hops: 1 }), false);
  const [sent] = cluster.take();
  assert.deepEqual(sent?.part, { ...atFirst, only: true, hops: 2, keys: [key] });
  assert.equal(sent?.peer, 1);
  assert.deepEqual(cluster.accepted, []);
  sent?.receipt?.accept();
  assert.deepEqual(cluster.accepted, [7]);
  assert.equal(router.shared.counters.passedOn, 1);
  assert.deepEqual(away.got, []);
  // Passed on and back: what is known of the other node is old.
  assert.equal(arrive(router, { hops: 2 }), true);
  assert.equal(away.got.length, 1);
});

test("… one of QoS 2 under the number that it came by", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 1, sharedRowValue({ qos: 2, durable: false, online: 1, waiting: 0 }));
  for (const qos of [2, 1] as const) arrive(router, {}, { qos });
  const origins = cluster.take().map(({ origin, identity }) => ({ origin, identity }));
  assert.deepEqual(origins, [
    { origin: { name: "p0@h", incarnation: 1 }, identity: 7 },
    { origin: null, identity: 0 },
  ]);
});

test("… and to a member without connection if nobody is connected anywhere", () => {
  const { router, cluster } = recordingRouter();
  const away = new Taker("away");
  member(router, away, key, { durable: true, online: false });
  peerUp(router, 1, waitingRow);
  assert.equal(arrive(router, {}), true);
  assert.equal(away.got.length, 1);
  arrive(router, {}, { qos: 0 });
  assert.equal(away.got.length, 1);
  assert.deepEqual(cluster.take(), []);
  assert.equal(router.shared.counters.noMember, 1);
});

test("a message is not passed on for ever", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 1, onlineRow);
  assert.equal(arrive(router, { hops: 8 }), true);
  assert.deepEqual(cluster.take(), []);
  assert.equal(router.shared.counters.noMember, 1);
  const away = new Taker("away");
  member(router, away, key, { durable: true, online: false });
  arrive(router, { hops: 8 });
  assert.equal(away.got.length, 1);
  arrive(router, { hops: 8, keys: ["$share/unknown/t"] });
  assert.equal(router.shared.counters.noMember, 2);
  arrive(router, { keys: ["$share/unknown/t"] }, { qos: 0 });
  assert.equal(router.shared.counters.noMember, 3);
  assert.deepEqual(cluster.take(), []);
});

test("what finds nobody goes back to whoever had chosen, with the number that it came by", () => {
  const { router, cluster } = recordingRouter();
  assert.equal(arrive(router, { hops: 2 }, { qos: 2 }), false);
  const [sent] = cluster.take();
  assert.deepEqual(sent?.part, { ...atFirst, only: true, returned: true, hops: 3, keys: [key] });
  // It waits for that node if it goes down now.
  assert.deepEqual([sent?.peer, sent?.durable, sent?.receipt?.alone], [0, true, true]);
  assert.equal(sent?.receipt?.onDown, undefined);
  const { frame } = sent ?? assert.fail("nothing was sent");
  const end = readShared(frame, forwardHeaderBytes, frame.length).rest;
  const again = decodeForward(new TopicTable(), frame, forwardHeaderBytes, end, realClock);
  assert.deepEqual([again.origin?.name, again.identity], ["p0@h", 7]);
  assert.deepEqual(cluster.accepted, []);
  sent.receipt?.accept();
  assert.deepEqual(cluster.accepted, [7]);
  assert.equal(router.shared.counters.returned, 1);
});

test("what comes back goes to somebody else, and to nobody when there is nobody else", () => {
  const { router, cluster } = recordingRouter();
  assert.equal(arrive(router, { returned: true, hops: 1 }), true);
  assert.equal(router.shared.counters.noMember, 1);
  // Its row may be old while it is joining.
  router.setPeerRow(0, key, onlineRow);
  router.onPeerState(0, "joining");
  const durableRow = sharedRowValue({ qos: 1, durable: true, online: 1, waiting: 0 });
  router.setPeerRow(1, key, durableRow);
  arrive(router, { returned: true, hops: 1 });
  const [waits] = cluster.take();
  assert.deepEqual([waits?.peer, waits?.durable], [1, true]);
  assert.deepEqual([waits?.part?.returned, waits?.part?.hops], [false, 2]);
  const one = new Taker("one");
  member(router, one, key);
  assert.equal(arrive(router, { returned: true, hops: 1 }), true);
  assert.equal(one.got.length, 1);
});

test("a forward whose end does not fit goes to nobody and is counted", () => {
  const { router } = recordingRouter();
  const one = new Taker("one");
  member(router, one, "t");
  member(router, one, key);
  const message = new Message(
    new TopicTable().internName("t"),
    1,
    false,
    "p",
    Buffer.of(1),
    0,
    0,
    0,
    1,
  );
  const route = { ...atFirst, only: false, tried: ["a@h", "b@h"], waiting: true };
  const good = withShared(encodeForward(message, 1, realClock), route, [{ key }]);
  let read = 0;
  for (let i = 1; i <= 20; i++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const bad = Buffer.from(good);
      bad[bad.length - i] = value;
      assert.ok(hasShared(bad, forwardHeaderBytes, bad.length));
      const { part, rest } = readShared(bad, forwardHeaderBytes, bad.length);
      assert.ok(rest >= forwardHeaderBytes && rest < bad.length);
      if (rest > forwardHeaderBytes) read += part.keys.length;
      router.onForward(0, 1, 7, bad, forwardHeaderBytes, bad.length);
    }
  }
  assert.ok(read > 0);
  const before = router.counters.undecodable;
  const cut = good.subarray(0, forwardHeaderBytes + 3);
  assert.equal(router.onForward(0, 1, 7, cut, forwardHeaderBytes, cut.length), true);
  assert.equal(router.counters.undecodable, before + 1);
});

test("QoS 0 for members that are away is dropped and counted, and is not unmatched", () => {
  const { router } = recordingRouter();
  member(router, new Taker("away"), key, { durable: true, online: false });
  const message = publish(router, "t", "x", 0);
  assert.equal(message.matched, 1);
  assert.equal(router.shared.counters.noMember, 1);
  assert.equal(router.counters.unmatched, 0);
});

test("a node that goes down before it accepted: another one gets the message", () => {
  const { router, cluster } = recordingRouter();
  const later = new Taker("later");
  later.accepting = false;
  peerUp(router, 0, onlineRow);
  const message = publish(router, "t", "x", 1);
  const [sent] = cluster.take();
  member(router, later, key);
  router.onPeerState(0, "down");
  assert.equal(sent?.receipt?.onDown?.(sent.frame, true), null);
  sent?.receipt?.accept();
  assert.deepEqual(payloads(later), ["x"]);
  assert.equal(router.shared.counters.rerouted, 1);
  // The publisher waits until the other one has it.
  assert.equal(message.pending, 1);
  for (const one of later.waiting) one.accept();
  assert.equal(message.pending, 0);
});

test("… its outbox, when only its own members have queues", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 0, waitingRow);
  const message = publish(router, "t", "x", 1);
  const [sent] = cluster.take();
  router.onPeerState(0, "down");
  cluster.down.add(0);
  assert.equal(sent?.receipt?.onDown?.(sent.frame, true), null);
  sent?.receipt?.accept();
  assert.equal(message.pending, 0);
  const [again] = cluster.take();
  assert.deepEqual([again?.durable, again?.counter, again?.peer], [true, 2, 0]);
  assert.deepEqual(again?.part, { ...atFirst, only: true, keys: [key] });
});

test("… and the peer's own durable rows keep their copy without the group", () => {
  const { router, cluster } = recordingRouter();
  const own = new Taker("own");
  member(router, own, key, { qos: 0 });
  router.unsubscribe(own, key);
  peerUp(router, 0, onlineRow);
  router.setPeerRow(0, "t", 8 + 4 + 1);
  publish(router, "t", "x", 1);
  const [sent] = cluster.take();
  assert.ok(sent?.durable);
  const due = sent.receipt?.onDown?.(sent.frame, true);
  assert.ok(due !== null && due !== undefined);
  assert.equal(hasShared(due, forwardHeaderBytes, due.length), false);
});

test("… it waits in the outbox when a stored session was there as it was sent", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 0, waitingRow);
  publish(router, "t", "x", 2);
  const [sent] = cluster.take();
  // The session has moved away, and the message had not come.
  peerUp(router, 0, 0);
  router.onPeerState(0, "down");
  assert.equal(sent?.receipt?.onDown?.(sent.frame, true), sent?.frame);
  assert.equal(router.shared.counters.lostWithNode, 0);
});

test("QoS 2 that the node may have sent to a client goes to no other [MQTT-4.8.2-5]", () => {
  const { router, cluster } = recordingRouter();
  const other = new Taker("other");
  peerUp(router, 0, onlineRow);
  const message = publish(router, "t", "x", 2);
  const [sent] = cluster.take();
  member(router, other, key, { qos: 2 });
  router.onPeerState(0, "down");
  assert.equal(sent?.receipt?.onDown?.(sent.frame, true), null);
  sent?.receipt?.accept();
  assert.deepEqual([message.pending, other.got.length], [0, 0]);
  assert.equal(router.shared.counters.lostWithNode, 1);
});

test("… but one that was never written to the link does, and one for queues stays", () => {
  const { router, cluster } = recordingRouter("local_first");
  const other = new Taker("other");
  peerUp(router, 0, waitingRow);
  publish(router, "t", "x", 2);
  publish(router, "t", "y", 2);
  const [first, second] = cluster.take();
  member(router, other, key, { qos: 2 });
  router.onPeerState(0, "down");
  assert.equal(first?.receipt?.onDown?.(first.frame, true), first?.frame);
  assert.equal(second?.receipt?.onDown?.(second.frame, false), null);
  first?.receipt?.accept();
  second?.receipt?.accept();
  assert.deepEqual(payloads(other), ["y"]);
});

test("redispatch: to a connected member only, if so asked; with nobody it says so", () => {
  const { router, cluster } = recordingRouter();
  const away = new Taker("away");
  const message = publish(router, "t", "x", 1);
  assert.equal(router.redispatch(message, key, false, null), false);
  member(router, away, key, { durable: true, online: false });
  assert.equal(router.redispatch(message, key, true, null), false);
  assert.equal(router.redispatch(message, key, false, null), true);
  assert.deepEqual(payloads(away), ["x"]);
  peerUp(router, 0, onlineRow);
  let accepted = 0;
  const waiter = { accept: () => void accepted++, expiresMs: 0 };
  assert.equal(router.redispatch(message, key, true, waiter), true);
  const [sent] = cluster.take();
  assert.deepEqual(sent?.part, { ...atFirst, only: true, keys: [key] });
  assert.equal(accepted, 0);
  sent?.receipt?.accept();
  assert.equal(accepted, 1);
  assert.equal(router.shared.counters.redispatched, 2);
});

test("redispatch: a node whose members are at QoS 0 may have none any more, and accepts it all the same", () => {
  const { router, cluster } = recordingRouter();
  peerUp(router, 0, sharedRowValue({ qos: 0, durable: false, online: 1, waiting: 0 }));
  const message = publish(router, "t", "x", 1);
  cluster.take();
  let accepted = 0;
  const waiter = { accept: () => void accepted++, expiresMs: 0 };
  assert.equal(router.redispatch(message, key, true, waiter), true);
  const [sent] = cluster.take();
  assert.ok(sent?.receipt);
  assert.equal(accepted, 0);
  sent.receipt.accept();
  assert.equal(accepted, 1);
});

test("a message that has expired when its node goes down is given to nobody", () => {
  const { router, cluster } = recordingRouter();
  const other = new Taker("other");
  peerUp(router, 0, onlineRow);
  const message = publish(router, "t", "x", 1);
  const [sent] = cluster.take();
  member(router, other, key);
  message.expiresMs = 1;
  router.onPeerState(0, "down");
  assert.equal(sent?.receipt?.onDown?.(sent.frame, true), null);
  sent?.receipt?.accept();
  assert.deepEqual([message.pending, other.got.length, router.counters.expired], [0, 0, 1]);
});

test("a peer's rows are replaced, groups included", () => {
  const { router } = recordingRouter();
  router.setPeerRow(0, key, onlineRow);
  router.setPeerRow(0, "$share/h/t", onlineRow);
  router.setPeerRow(1, "$share/h/t", onlineRow);
  replacePeerRows(router, 0, new Map([[key, waitingRow]]));
  assert.deepEqual([...router.index.peerRows(0)], [[key, waitingRow]]);
  assert.deepEqual([...router.index.peerRows(1)], [["$share/h/t", onlineRow]]);
});
