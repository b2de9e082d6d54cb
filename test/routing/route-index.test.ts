/** The one index: every topic finds exactly who subscribed, each once, whatever came and went before. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LocalSubscription } from "../../src/routing/leaf.js";
import {
  isRowValue,
  packedIndex,
  packedValue,
  packPeer,
  rowValue,
} from "../../src/routing/leaf.js";
import { RouteIndex } from "../../src/routing/route-index.js";
import type { Subscriber, Targets } from "../../src/routing/targets.js";
import { TopicTable } from "../../src/routing/topic.js";
import { anyFilter, anyTopic, matches } from "./naive.js";

const subscriberOf = (clientId: string): Subscriber => ({
  clientId,
  deliver: () => true,
  mayReceive: () => true,
});
const subscription = (more: Partial<LocalSubscription> = {}): LocalSubscription => ({
  ...{ qos: 0, noLocal: false, retainAsPublished: false, subscriptionId: 0, durable: false },
  ...more,
});

/** The same as the index, as plain lists. */
class NaiveIndex {
  readonly local = new Map<
    string,
    { readonly subscriber: Subscriber; filter: string; one: LocalSubscription }
  >();
  readonly peers = new Map<string, { readonly filter: string; peer: number; value: number }>();

  setLocal(filter: string, subscriber: Subscriber, one: LocalSubscription): void {
    this.local.set(`${subscriber.clientId} ${filter}`, { subscriber, filter, one });
  }

  deleteLocal(filter: string, subscriber: Subscriber): boolean {
    return this.local.delete(`${subscriber.clientId} ${filter}`);
  }

  setPeer(filter: string, peer: number, value: number): void {
    if (value === 0) this.peers.delete(`${peer} ${filter}`);
    else this.peers.set(`${peer} ${filter}`, { filter, peer, value });
  }

  ownRow(filter: string): number {
    const all = [...this.local.values()].filter((entry) => entry.filter === filter);
    if (all.length === 0) return 0;
    const qos = Math.max(...all.map(({ one }) => one.qos));
    return rowValue(
      qos,
      all.some(({ one }) => one.durable && one.qos > 0),
    );
  }

  match(topic: string): string {
    const local = new Map<string, number>();
    for (const { subscriber, filter, one } of this.local.values()) {
      if (!matches(filter, topic)) continue;
      const { clientId } = subscriber;
      local.set(clientId, Math.max(local.get(clientId) ?? 0, one.qos));
    }
    const peers = new Map<number, { qos: number; durable: boolean }>();
    for (const { filter, peer, value } of this.peers.values()) {
      if (!matches(filter, topic)) continue;
      const before = peers.get(peer) ?? { qos: 0, durable: false };
      const qos = Math.max(before.qos, value & 3);
      peers.set(peer, { qos, durable: before.durable || (value & 4) !== 0 });
    }
    const locals = [...local].map(([clientId, qos]) => `${clientId} ${qos}`);
    const nodes = [...peers].map(([peer, { qos, durable }]) => `#${peer} ${qos} ${durable}`);
    return [...locals, ...nodes].sort().join(", ");
  }
}

function words({ local, peers }: Targets): string {
  const locals = local.map(({ subscriber, qos }) => `${subscriber.clientId} ${qos}`);
  const nodes = peers.map(({ peer, qos, durable }) => `#${peer} ${qos} ${durable}`);
  return [...locals, ...nodes].sort().join(", ");
}

const subscribers = ["s1", "s2", "s3"].map(subscriberOf);
const rowValues = [0, 8, 9, 10, 13, 14];
const step = fc.record({
  filter: anyFilter,
  who: fc.nat(5),
  value: fc.constantFrom(...rowValues),
  qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
  durable: fc.boolean(),
  remove: fc.boolean(),
});

test("whatever came and went, every topic finds who a naive matcher finds", () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.array(anyTopic, { maxLength: 20 }),
      (steps, topics) => {
        const index = new RouteIndex();
        const naive = new NaiveIndex();
        for (const one of steps) apply(index, naive, one);
        for (const topic of topics)
          assert.equal(words(index.match(topic)), naive.match(topic), topic);
        const filters = new Set(
          [...naive.local.values(), ...naive.peers.values()].map(({ filter }) => filter),
        );
        assert.deepEqual(
          [...index.entries()].map(([filter]) => filter).sort(),
          [...filters].sort(),
        );
        for (const peer of [0, 1, 2]) {
          const rows = [...naive.peers.values()].filter((row) => row.peer === peer);
          assert.deepEqual(
            [...index.peerRows(peer)].sort(),
            rows.map(({ filter, value }) => [filter, value]).sort(),
          );
        }
      },
    ),
    { numRuns: 1500 },
  );
});

function apply(
  index: RouteIndex,
  naive: NaiveIndex,
  one: {
    readonly filter: string;
    readonly who: number;
    readonly value: number;
    readonly qos: 0 | 1 | 2;
    readonly durable: boolean;
    readonly remove: boolean;
  },
): void {
  const { filter, who, value, qos, durable, remove } = one;
  const generation = index.generation;
  const subscriber = subscribers[who - 3];
  if (subscriber === undefined) {
    const before = naive.peers.get(`${who} ${filter}`)?.value ?? 0;
    assert.equal(index.setPeer(filter, who, value), before);
    naive.setPeer(filter, who, value);
    assert.equal(index.generation > generation, before !== value);
    return;
  }
  if (!remove) {
    const options = subscription({ qos, durable });
    naive.setLocal(filter, subscriber, options);
    assert.equal(index.setLocal(filter, subscriber, options), naive.ownRow(filter));
    return;
  }
  const row = index.deleteLocal(filter, subscriber);
  const was = naive.deleteLocal(filter, subscriber);
  assert.equal(row, was ? naive.ownRow(filter) : undefined);
}

test("a topic that begins with $ is found by no leading wildcard, one inside is", () => {
  const index = new RouteIndex();
  for (const filter of ["#", "+/x", "+/#", "$SYS/#", "$SYS/+"]) {
    index.setLocal(filter, subscriberOf(filter), subscription());
  }
  assert.equal(words(index.match("$SYS/x")), "$SYS/# 0, $SYS/+ 0");
  assert.equal(words(index.match("$SYS")), "$SYS/# 0");
  assert.equal(words(index.match("a/$x")), "# 0, +/# 0");
  assert.equal(words(index.match("a/x")), "# 0, +/# 0, +/x 0");
});

test("empty levels are levels; # finds the parent, and everything below", () => {
  const index = new RouteIndex();
  for (const filter of ["/", "/+", "+/+", "a//b", "a/+/b", "a/#", "/#"]) {
    index.setLocal(filter, subscriberOf(filter), subscription());
  }
  assert.equal(words(index.match("/")), "+/+ 0, / 0, /# 0, /+ 0");
  assert.equal(words(index.match("a//b")), "a/# 0, a/+/b 0, a//b 0");
  assert.equal(words(index.match("a")), "a/# 0");
  assert.equal(words(index.match("/a")), "+/+ 0, /# 0, /+ 0");
});

test("65,535 slashes recurse nowhere, in a filter or in a topic", () => {
  const index = new RouteIndex();
  const slashes = "/".repeat(65_535);
  const wild = `${"/".repeat(65_533)}+/`;
  const many = `${"/".repeat(65_534)}#`;
  const one = subscriberOf("one");
  for (const filter of [slashes, wild, many]) index.setLocal(filter, one, subscription({ qos: 1 }));
  assert.equal(words(index.match(slashes)), "one 1");
  assert.equal([...index.entries()].length, 3);
  for (const filter of [slashes, wild, many]) assert.equal(index.deleteLocal(filter, one), 0);
  assert.equal(words(index.match(slashes)), "");
  assert.equal([...index.entries()].length, 0);
});

test("filters of many + match in time that grows with the filters, not with their combinations", () => {
  const index = new RouteIndex();
  const levels = 16;
  const some = subscriberOf("some");
  for (let i = 0; i < 2 ** 10; i++) {
    const filter = Array.from({ length: levels }, (_, at) => ((i >> (at % 10)) & 1 ? "+" : "a"));
    index.setLocal(filter.join("/"), some, subscription());
  }
  assert.equal(words(index.match(Array(levels).fill("a").join("/"))), "some 0");
  assert.equal(words(index.match(Array(levels).fill("b").join("/"))), "some 0");
});

test("overlapping subscriptions of one client fold into one delivery [MQTT-3.3.4-2]", () => {
  const index = new RouteIndex();
  const one = subscriberOf("one");
  index.setLocal("a/b", one, subscription({ qos: 0, noLocal: true, subscriptionId: 1 }));
  index.setLocal("a/+", one, subscription({ qos: 2, noLocal: true, subscriptionId: 7 }));
  const [folded] = index.match("a/b").local;
  assert.deepEqual(
    { ...folded },
    {
      ...{ subscriber: one, qos: 2, retainAsPublished: false, noLocal: true, share: null },
      ...{ subscriptionIds: [1, 7], durable: false },
    },
  );
  index.setLocal("#", one, subscription({ qos: 1, retainAsPublished: true }));
  const [wider] = index.match("a/b").local;
  assert.equal(wider?.noLocal, false, "one of them wants its own messages");
  assert.equal(wider?.retainAsPublished, true);
  assert.deepEqual(wider?.subscriptionIds, [1, 7]);
  assert.equal(index.match("c").local[0]?.subscriptionIds, null);
});

test("a subscription that is replaced counts once", () => {
  const index = new RouteIndex();
  const one = subscriberOf("one");
  assert.equal(
    index.setLocal("a", one, subscription({ qos: 2, durable: true })),
    rowValue(2, true),
  );
  assert.equal(index.setLocal("a", one, subscription({ qos: 1 })), rowValue(1, false));
  assert.equal(index.deleteLocal("a", one), 0);
  assert.equal(index.deleteLocal("a", one), undefined);
});

test("a persistent session's QoS 0 subscription needs no durable row", () => {
  const index = new RouteIndex();
  assert.equal(
    index.setLocal("a", subscriberOf("s"), subscription({ durable: true })),
    rowValue(0, false),
  );
});

test("rows pack into integers for any number of peers", () => {
  for (const peer of [0, 1, 4095, 2 ** 30, 2 ** 40]) {
    for (const value of rowValues.slice(1)) {
      const packed = packPeer(peer, value);
      assert.deepEqual([packedIndex(packed), packedValue(packed)], [peer, value]);
    }
  }
  const valid = Array.from({ length: 20 }, (_, i) => i).filter(isRowValue);
  assert.deepEqual(valid, [8, 9, 10, 12, 13, 14]);
  assert.ok(![Number.NaN, -8, 8.5, 2 ** 32 + 8].some(isRowValue));
});

test("whatever changes, a topic that keeps its result finds who a naive matcher finds", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.array(step, { minLength: 1, maxLength: 24 }), fc.array(anyTopic)), {
        maxLength: 8,
      }),
      (rounds) => {
        const index = new RouteIndex();
        const naive = new NaiveIndex();
        const table = new TopicTable();
        for (const [steps, topics] of rounds) {
          for (const one of steps) apply(index, naive, one);
          for (const name of topics) {
            const found = words(index.targetsOf(table.internName(name)));
            assert.equal(found, naive.match(name), name);
          }
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("a topic is matched anew only when a filter changes that may concern it", () => {
  const index = new RouteIndex();
  const topic = new TopicTable().internName("site/1/state");
  const one = subscriberOf("one");
  index.setLocal("site/1/state", one, subscription());
  const before = index.targetsOf(topic);
  for (let i = 0; i < 100; i++) {
    index.setLocal(`site/2/${i}`, one, subscription());
    index.setPeer(`room/${i}/+`, 1, 9);
    if (i % 5 === 0) index.targetsOf(topic);
  }
  assert.equal(index.targetsOf(topic), before);
  index.setLocal("site/1/state", one, subscription());
  assert.equal(index.targetsOf(topic), before, "subscribed just so before");
  for (const filter of ["+/+/state", "site/+/state", "site/1/+", "site/1/state/#", "#"]) {
    index.setPeer(filter, 1, 9);
    assert.equal(index.targetsOf(topic).peers.length, 1, filter);
    index.setPeer(filter, 1, 0);
    assert.equal(index.targetsOf(topic).peers.length, 0, filter);
  }
});

test("one filter with many subscribers: each comes, changes and goes by itself", () => {
  const index = new RouteIndex();
  const many = Array.from({ length: 100 }, (_, i) => subscriberOf(`s${i}`));
  for (const one of many) index.setLocal("a/+", one, subscription());
  for (const one of many.slice(0, 50)) index.setLocal("a/b", one, subscription({ qos: 1 }));
  assert.equal(index.match("a/b").local.length, 100);
  assert.equal(index.match("a/b").local.filter(({ qos }) => qos === 1).length, 50);
  for (const [i, one] of many.entries()) {
    const row = index.deleteLocal("a/+", one);
    assert.equal(row, i === 99 ? 0 : rowValue(0, false));
    assert.equal(index.deleteLocal("a/+", one), undefined);
    const left = index.match("a/c").local.map(({ subscriber }) => subscriber.clientId);
    assert.deepEqual(new Set(left), new Set(many.slice(i + 1).map(({ clientId }) => clientId)));
  }
});
