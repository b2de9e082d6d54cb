/** The member list: all nodes end with the same one, whatever they hear in whatever order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemberList, membersMax } from "../../src/cluster/member-list.js";
import { Membership } from "../../src/cluster/membership.js";
import type { Member } from "../../src/cluster/wire/messages.js";
import { HybridClock } from "../../src/lib/hlc.js";
import { silentLog } from "../../src/lib/log.js";
import { World } from "../sim/world/world.js";

const member = (name: string, id: string, more: Partial<Member> = {}): Member => ({
  ...{ name, id: id.repeat(32), host: "h", port: 4370, incarnation: 1, status: "in", stamp: 1 },
  ...more,
});

const anyMember: fc.Arbitrary<Member> = fc
  .tuple(
    fc.constantFrom("a@h", "b@h", "c@h"),
    fc.constantFrom("1", "2"),
    fc.constantFrom("in" as const, "left" as const, "removed" as const),
    fc.integer({ min: 1, max: 4 }),
    fc.integer({ min: 1, max: 2 }),
  )
  .map(([name, id, status, stamp, port]) => member(name, id, { status, stamp, port }));
const anyList = fc.array(anyMember, { maxLength: 8 });

const text = (list: MemberList): string =>
  list
    .everything()
    .map((one) => JSON.stringify(Object.entries(one).sort()))
    .sort()
    .join("\n");
const current = (list: MemberList): string =>
  list
    .all()
    .map(({ name, id, status }) => `${name} ${id} ${status}`)
    .sort()
    .join("\n");

function merged(...lists: readonly (readonly Member[])[]): MemberList {
  const list = new MemberList([]);
  for (const members of lists) list.merge(members);
  return list;
}

test("merge is commutative, associative and idempotent, and so is who counts of each name", () => {
  fc.assert(
    fc.property(anyList, anyList, anyList, (a, b, c) => {
      for (const look of [text, current]) {
        assert.equal(look(merged(a, b)), look(merged(b, a)));
        const left = merged(merged(a, b).everything(), c);
        const right = merged(a, merged(b, c).everything());
        assert.equal(look(left), look(right));
        assert.equal(look(merged(a, b, a, b)), look(merged(a, b)));
      }
    }),
    { numRuns: 1000 },
  );
});

test("what merge says it took is what changed", () => {
  fc.assert(
    fc.property(anyList, anyList, (a, b) => {
      const list = merged(a);
      const before = text(list);
      const taken = list.merge(b);
      assert.equal(taken.length === 0, text(list) === before);
      for (const one of taken) assert.equal(list.entry(one.name, one.id)?.name, one.name);
      assert.deepEqual(list.merge(b), []);
    }),
    { numRuns: 500 },
  );
});

test("removed is final for a data directory, whatever comes later", () => {
  const list = merged(
    [member("a@h", "1", { status: "removed", stamp: 5 })],
    [member("a@h", "1", { status: "in", stamp: 9 })],
  );
  assert.equal(list.get("a@h")?.status, "removed");
  list.merge([member("a@h", "2", { stamp: 2 })]);
  assert.equal(list.get("a@h")?.id, "2".repeat(32), "another data directory is another node");
  assert.equal(list.entry("a@h", "1".repeat(32))?.status, "removed");
  assert.deepEqual([list.all().length, list.everything().length], [1, 2]);
});

test("left and in follow the stamps", () => {
  const list = merged([member("a@h", "1", { stamp: 1 })]);
  list.merge([member("a@h", "1", { status: "left", stamp: 3 })]);
  list.merge([member("a@h", "1", { status: "in", stamp: 2 })]);
  assert.equal(list.get("a@h")?.status, "left");
  list.merge([member("a@h", "1", { status: "in", stamp: 4 })]);
  assert.deepEqual(
    list.present().map(({ name }) => name),
    ["a@h"],
  );
});

test("a conflict is one from both sides: two directories under a name, or one of them removed", () => {
  const removed = [member("x@h", "1", { status: "removed", stamp: 9 })];
  const isIn = [member("x@h", "1", { stamp: 1 })];
  assert.deepEqual(new MemberList(removed).conflict(isIn), { kind: "removed", name: "x@h" });
  assert.deepEqual(new MemberList(isIn).conflict(removed), { kind: "removed", name: "x@h" });
  const other = [member("x@h", "2", { stamp: 5 })];
  assert.deepEqual(new MemberList(isIn).conflict(other), { kind: "name-taken", name: "x@h" });
  assert.equal(new MemberList(removed).conflict(other), null);
  const left = [member("x@h", "1", { status: "left" })];
  assert.equal(new MemberList(left).conflict(other), null);
  assert.equal(new MemberList(left).conflict(isIn), null);
});

test("of too many entries those that are out the longest go, and all lists agree on which", () => {
  const out = Array.from({ length: membersMax + 50 }, (_, i) =>
    member(`n${i}@h`, "1", { status: "left", stamp: 100 + i }),
  );
  const isIn = [member("here@h", "1", { stamp: 1 })];
  const one = merged(out.slice(0, 2000), isIn, out.slice(2000));
  const two = merged(isIn, out.toReversed());
  assert.equal(one.everything().length, membersMax);
  assert.equal(text(one), text(two));
  assert.equal(one.get("here@h")?.status, "in");
  assert.deepEqual(one.merge(out.slice(0, 10)), [], "they do not come back");
});

async function membership(seed: number) {
  const world = new World(seed);
  const life = world.node("a@ha").boot();
  const changes: Member[][] = [];
  const members = new Membership({
    ...{ name: "a@ha", stamps: new HybridClock(life.clock), random: life.random, log: silentLog },
    address: () => ({ host: "ha", port: 4370 }),
    wallMs: () => life.clock.wallMs(),
    stateFile: life.file("cluster"),
    onChanged: (changed) => void changes.push([...changed]),
  });
  await members.load();
  await world.settled(members.announceSelf(), 1000, "announced");
  return { world, life, members, changes };
}

test("our own entry is ours: another's word about it is answered with a newer stamp", async () => {
  const { members } = await membership(1);
  const own = members.get("a@ha");
  assert.ok(own !== undefined);
  members.merge([{ ...own, status: "left", stamp: own.stamp + 5_000_000 }]);
  const after = members.get("a@ha");
  assert.equal(after?.status, "in");
  assert.ok((after?.stamp ?? 0) > own.stamp + 5_000_000);
});

test("that we were removed is believed", async () => {
  const { members, changes } = await membership(2);
  const own = members.get("a@ha");
  assert.ok(own !== undefined);
  members.merge([{ ...own, status: "removed", stamp: 1 }]);
  assert.equal(members.get("a@ha")?.status, "removed");
  const [change] = changes.at(-1) ?? [];
  assert.ok(change !== undefined && members.isRemoval(change));
});

test("a leave that is quoted with its old stamp does not undo a return", async () => {
  const { members } = await membership(3);
  members.welcome(member("b@hb", "1"));
  const back = members.get("b@hb");
  assert.ok(back !== undefined);
  members.mark("b@hb", "left", back.stamp - 10);
  assert.equal(members.get("b@hb")?.status, "in");
  members.mark("b@hb", "left", back.stamp + 10);
  assert.equal(members.get("b@hb")?.status, "left");
  members.mark("b@hb", "removed");
  assert.equal(members.get("b@hb")?.status, "left", "only a member can be removed");
});

test("the incarnation grows at every start, also when the wall clock goes back", async () => {
  const { world, life, members } = await membership(4);
  const { incarnation } = members;
  world.nodes[0]?.crash();
  const node = world.nodes[0];
  assert.ok(node !== undefined && life.dead);
  node.wallOffsetMs = -3_600_000;
  const again = node.boot();
  const next = new Membership({
    ...{ name: "a@ha", stamps: new HybridClock(again.clock), random: again.random, log: silentLog },
    address: () => ({ host: "ha", port: 4370 }),
    wallMs: () => again.clock.wallMs(),
    stateFile: again.file("cluster"),
    onChanged: () => undefined,
  });
  await next.load();
  assert.equal(next.incarnation, incarnation + 1);
  assert.equal(next.id, members.id);
  await world.settled(next.announceSelf(), 1000, "announced");
  assert.ok((next.get("a@ha")?.stamp ?? 0) > (members.get("a@ha")?.stamp ?? 0));
});
