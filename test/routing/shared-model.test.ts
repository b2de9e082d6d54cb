/**
 * Share groups against a naive model: random members, rows and states of peers; every publish reaches
 * exactly one of those whom the model allows, and each peer gets one forward at most.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PeerState } from "../../src/cluster/failure-detector.js";
import type { Qos } from "../../src/protocol/publish.js";
import { rowValue } from "../../src/routing/leaf.js";
import type { SharedStrategy } from "../../src/routing/shared.js";
import { type SharedRow, sharedRowValue } from "../../src/routing/shared-row.js";
import {
  member,
  publish,
  type RecordingCluster,
  recordingRouter,
  Taker,
} from "./recording-cluster.js";

const filters = ["a", "a/b", "a/+", "a/#", "#", "+/b", "$s/+"];
const topics = ["a", "a/b", "a/c", "b", "$s/b", "c/b"];
const names = ["g", "h"];
const keys = names.flatMap((name) => filters.map((filter) => `$share/${name}/${filter}`));
const states: PeerState[] = ["joining", "up", "suspect", "down"];
const strategies: SharedStrategy[] = ["random", "round_robin", "hash_client", "local_first"];

type Operation =
  | { kind: "join"; who: number; key: string; qos: Qos; durable: boolean; online: boolean }
  | { kind: "leave"; who: number; key: string }
  | { kind: "row"; peer: number; key: string; row: SharedRow | null }
  | { kind: "plainRow"; peer: number; filter: string; qos: Qos; durable: boolean; present: boolean }
  | { kind: "state"; peer: number; state: PeerState }
  | { kind: "publish"; topic: string; qos: Qos };

const qos = fc.constantFrom<Qos>(0, 1, 2);
const who = fc.nat(4);
const peer = fc.nat(2);
const key = fc.constantFrom(...keys);
const row = fc.record({
  ...{ qos, durable: fc.boolean(), online: fc.nat(3), waiting: fc.nat(2) },
});
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({
    ...{ kind: fc.constant("join" as const), who, key, qos },
    ...{ durable: fc.boolean(), online: fc.boolean() },
  }),
  fc.record({ kind: fc.constant("leave" as const), who, key }),
  fc.record({ kind: fc.constant("row" as const), peer, key, row: fc.option(row) }),
  fc.record({
    ...{ kind: fc.constant("plainRow" as const), peer, filter: fc.constantFrom(...filters), qos },
    ...{ durable: fc.boolean(), present: fc.boolean() },
  }),
  fc.record({ kind: fc.constant("state" as const), peer, state: fc.constantFrom(...states) }),
  fc.record({ kind: fc.constant("publish" as const), topic: fc.constantFrom(...topics), qos }),
);

interface ModelMember {
  readonly qos: Qos;
  readonly durable: boolean;
  readonly online: boolean;
}

class Model {
  readonly members = new Map<string, Map<number, ModelMember>>();
  readonly rows = new Map<string, Map<number, SharedRow>>();
  readonly plainRows = new Map<string, Set<number>>();
  readonly states = new Map<number, PeerState>();

  /** Who may get a message of the group: `own N` or `peer N`; the first tier that has somebody. */
  allowed(group: string, messageQos: Qos): Set<string> {
    const own = [...(this.members.get(group) ?? [])];
    const rows = [...(this.rows.get(group) ?? [])];
    const inState = (which: (state: PeerState) => boolean) =>
      rows.filter(([index]) => which(this.states.get(index) ?? "down"));
    const up = inState((state) => state === "up");
    const unsure = inState((state) => state === "suspect" || state === "joining");
    const down = inState((state) => state === "down");
    const waits = ({ durable, qos: most, online }: ModelMember) => !online && durable && most > 0;
    const tiers = [
      [...mine(own, (one) => one.online), ...theirs(up, (one) => one.online > 0)],
      [...mine(own, waits), ...theirs(up, (one) => one.waiting > 0)],
      theirs(unsure, (one) => one.online + one.waiting > 0),
      theirs(down, (one) => one.durable),
    ];
    const best = tiers.findIndex((tier) => tier.length > 0);
    if (messageQos === 0 && (best === 1 || best === 3)) return new Set();
    return new Set(tiers[best] ?? []);
  }
}

const mine = (own: [number, ModelMember][], which: (one: ModelMember) => boolean): string[] =>
  own.filter(([, one]) => which(one)).map(([index]) => `own ${index}`);
const theirs = (rows: [number, SharedRow][], which: (one: SharedRow) => boolean): string[] =>
  rows.filter(([, one]) => which(one)).map(([index]) => `peer ${index}`);

/** Written as the specification says it, level by level. */
function matches(filter: string, topic: string): boolean {
  const wanted = filter.split("/");
  const given = topic.split("/");
  if (topic.startsWith("$") && (wanted[0] === "+" || wanted[0] === "#")) return false;
  for (const [index, level] of wanted.entries()) {
    if (level === "#") return given.length >= index;
    if (given[index] === undefined || (level !== "+" && level !== given[index])) return false;
  }
  return wanted.length === given.length;
}

const plain = (group: string): string => group.split("/").slice(2).join("/");

function apply(one: Operation, model: Model, takers: Taker[], world: World): void {
  const { router } = world;
  switch (one.kind) {
    case "join": {
      const taker = takers[one.who];
      assert.ok(taker !== undefined);
      member(router, taker, one.key, one);
      if (!model.members.has(one.key)) model.members.set(one.key, new Map());
      model.members.get(one.key)?.set(one.who, one);
      return;
    }
    case "leave": {
      const taker = takers[one.who];
      assert.ok(taker !== undefined);
      const was = model.members.get(one.key)?.delete(one.who) ?? false;
      assert.equal(router.unsubscribe(taker, one.key), was);
      return;
    }
    case "row":
      router.setPeerRow(one.peer, one.key, one.row === null ? 0 : sharedRowValue(one.row));
      if (!model.rows.has(one.key)) model.rows.set(one.key, new Map());
      if (one.row === null) model.rows.get(one.key)?.delete(one.peer);
      else model.rows.get(one.key)?.set(one.peer, one.row);
      return;
    case "plainRow":
      router.setPeerRow(one.peer, one.filter, one.present ? rowValue(one.qos, one.durable) : 0);
      if (!model.plainRows.has(one.filter)) model.plainRows.set(one.filter, new Set());
      if (one.present) model.plainRows.get(one.filter)?.add(one.peer);
      else model.plainRows.get(one.filter)?.delete(one.peer);
      return;
    case "state":
      router.onPeerState(one.peer, one.state);
      model.states.set(one.peer, one.state);
      return;
    case "publish":
      checkPublish(one, model, takers, world);
  }
}

type World = ReturnType<typeof recordingRouter>;

function checkPublish(
  { topic, qos: messageQos }: { topic: string; qos: Qos },
  model: Model,
  takers: Taker[],
  { router, cluster }: World,
): void {
  const message = publish(router, topic, "x", messageQos);
  const got = takersOf(takers, cluster);
  const due = keys.filter((group) => matches(plain(group), topic));
  let unmatched = true;
  for (const group of due) {
    const isGroup = (model.members.get(group)?.size ?? 0) + (model.rows.get(group)?.size ?? 0) > 0;
    if (isGroup) unmatched = false;
    const allowed = model.allowed(group, messageQos);
    const by = got.groups.get(group) ?? [];
    assert.equal(by.length, allowed.size === 0 ? 0 : 1, `${group} by ${by.join()}`);
    for (const taker of by) assert.ok(allowed.has(taker), `${group} by ${taker}`);
    got.groups.delete(group);
  }
  assert.deepEqual([...got.groups.keys()], [], "groups that do not match");
  const ordinary = new Set<number>();
  for (const [filter, peers] of model.plainRows) {
    if (matches(filter, topic)) for (const index of peers) ordinary.add(index);
  }
  for (const index of ordinary) assert.ok(got.peers.has(index), "an ordinary row gets a forward");
  assert.equal(message.matched === 0, unmatched && ordinary.size === 0);
}

/** Who got each group's message, and which peers got a forward; each of them one. */
function takersOf(
  takers: Taker[],
  cluster: RecordingCluster,
): { groups: Map<string, string[]>; peers: Set<number> } {
  const groups = new Map<string, string[]>();
  const add = (group: string, taker: string): void => {
    groups.set(group, [...(groups.get(group) ?? []), taker]);
  };
  for (const [index, taker] of takers.entries()) {
    for (const { share } of taker.got.splice(0)) add(share ?? "none", `own ${index}`);
  }
  const peers = new Set<number>();
  for (const sent of cluster.take()) {
    assert.ok(!peers.has(sent.peer), "one forward to a peer");
    peers.add(sent.peer);
    for (const group of sent.part?.keys ?? []) add(group, `peer ${sent.peer}`);
  }
  return { groups, peers };
}

for (const strategy of strategies) {
  test(`each message goes to one of those who may get it: ${strategy}`, () => {
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 60 }), fc.nat(), (list, seed) => {
        const world = recordingRouter(strategy, seed + 1);
        const takers = Array.from({ length: 5 }, (_, i) => new Taker(`m${i}`));
        const model = new Model();
        for (const one of list) apply(one, model, takers, world);
        for (const topic of topics) {
          for (const level of [0, 1, 2] as const) {
            checkPublish({ topic, qos: level }, model, takers, world);
          }
        }
        // Nothing is left of a group when everybody has gone.
        for (const group of keys) {
          for (const taker of takers) world.router.unsubscribe(taker, group);
          for (const index of [0, 1, 2]) world.router.setPeerRow(index, group, 0);
        }
        assert.equal(world.router.index.groupCount, 0);
        assert.equal([...world.cluster.rows.keys()].length, 0);
      }),
      { numRuns: 150 },
    );
  });
}
