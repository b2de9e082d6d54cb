/**
 * A session out of its snapshot is the session that it was: after random histories its client gets the same packets in
 * the same order from the new owner as it would have from the old one, also when the new owner has crashed since.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { WireError } from "../../../src/cluster/wire/frames.js";
import { type SnapshotParts, takeSnapshot } from "../../../src/session/move/export.js";
import { SessionImport } from "../../../src/session/move/import.js";
import { decodeHead, decodeSubscriptions } from "../../../src/session/move/snapshot.js";
import type { Session } from "../../../src/session/session.js";
import { CrashStore, settle } from "../crash-store.js";
import { message, subscribe, type World, world } from "../support.js";

const day = 86_400_000;
const positions = [
  { origin: "a@h", incarnation: 5, counter: 77 },
  { origin: "c@h", incarnation: 9, counter: 3 },
];

type Step =
  | { readonly do: "publish"; readonly qos: 1 | 2; readonly seconds: number }
  | { readonly do: "publish2"; readonly id: number }
  | { readonly do: "puback" | "pubrec" | "pubcomp"; readonly nth: number }
  | { readonly do: "leave" | "come" | "commit" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("publish" as const),
      qos: fc.constantFrom(1 as const, 2 as const),
      seconds: fc.constantFrom(0, 0, 100),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("publish2" as const), id: fc.nat({ max: 9 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constantFrom("puback" as const, "pubrec" as const, "pubcomp" as const),
      nth: fc.nat({ max: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom("leave" as const, "come" as const, "commit" as const),
    }),
  },
);

/** Runs a history of the client "c" at its old owner, at the end of which it is away. */
async function history(one: World, steps: readonly Step[]): Promise<Session> {
  let { channel } = one.connect("c", { expiryMs: day, receiveMaximum: 6 });
  await settle(one);
  const session = one.sessions.get("c");
  assert.ok(session !== undefined);
  subscribe(session, "t/#", 2);
  subscribe(session, "u", 1);
  let next = 0;
  for (const { do: what, ...rest } of steps) {
    const ids = [...session.window.ids()];
    const id = "nth" in rest ? (ids[rest.nth] ?? 0) : 0;
    const state = session.window.stateOf(id);
    if (what === "publish" && "qos" in rest) {
      const sent = message("t/x", `m${++next}`, rest.qos, one.router.topics);
      if (rest.seconds > 0) sent.expireIn(rest.seconds, one.sessions.turn.refresh());
      one.router.publish(sent);
    } else if (what === "publish2" && channel.isOpen && "id" in rest)
      publish2(one, session, rest.id + 1);
    else if (what === "puback" && state === 1 && channel.isOpen) session.onPuback(id);
    else if (what === "pubrec" && state === 2 && channel.isOpen) session.onPubrec(id, 0);
    else if (what === "pubcomp" && state === 3 && channel.isOpen) session.onPubcomp(id);
    else if (what === "leave") {
      one.disconnect("c");
      channel.isOpen = false;
    } else if (what === "come" && !channel.isOpen) {
      channel = one.connect("c", { expiryMs: day, clean: false, receiveMaximum: 6 }).channel;
      await settle(one);
    } else if (what === "commit") await settle(one);
  }
  one.disconnect("c");
  await settle(one);
  return session;
}

/** The client sends with QoS 2, and the message is accepted: the id waits for PUBREL. */
function publish2(_one: World, session: Session, id: number): void {
  if (!session.incoming.has(id)) session.incoming.add(id, null);
}

/** A long journal is read in several turns. */
async function read(one: World, session: Session): Promise<SnapshotParts | null> {
  let isRead = false;
  const reading = takeSnapshot(session, "a@h", positions)
    .read()
    .finally(() => {
      isRead = true;
    });
  while (!isRead) await settle(one);
  return await reading;
}

/** Moves the session; `to` has it afterwards. */
async function move(from: World, session: Session, to: World): Promise<void> {
  const parts = await read(from, session);
  assert.ok(parts !== null);
  const { sessions } = to;
  const own = { self: "b@h", sessions, journals: sessions.journals };
  const subscriptions = parts.subscriptions.flatMap(decodeSubscriptions);
  // The directory of these tests counts epochs for each node.
  const coming = new SessionImport(own, decodeHead(parts.head), subscriptions, 0);
  for (const part of parts.messages) coming.addMessages(part);
  const moved = coming.finish();
  await settle(to);
  sessions.takeIn(moved);
  coming.subscribe();
  await settle(to);
  assert.equal(moved.queued, session.queued);
  assert.equal(moved.window.inFlight, session.window.inFlight);
  assert.equal(from.sessions.get("c"), session);
}

/** What its client is told when it comes back, and again after it has answered all of it. */
async function told(one: World): Promise<string[]> {
  const { channel } = one.connect("c", { expiryMs: day, clean: false, receiveMaximum: 4 });
  await settle(one);
  const session = one.sessions.get("c");
  assert.ok(session !== undefined);
  const lines: string[] = [];
  for (let said = channel.take(); said.length > 0; said = channel.take()) {
    lines.push(...said);
    for (const id of [...session.window.ids()]) {
      const state = session.window.stateOf(id);
      if (state === 1) session.onPuback(id);
      else if (state === 2) session.onPubrec(id, 0);
      else if (state === 3) session.onPubcomp(id);
    }
    await settle(one);
  }
  lines.push(`next ${session.window.nextId}`, `open ${[...session.openPublishes()].map(String)}`);
  lines.push(`filters ${[...session.subscriptions.keys()]}`, `user ${session.user}`);
  return lines;
}

const histories = fc.array(step, { minLength: 3, maxLength: 60 });

for (const [name, store] of [
  ["with a journal", () => new CrashStore()],
  ["in memory", () => null],
] as const) {
  test(`${name}, a session is the same at its new owner`, async () => {
    await fc.assert(
      fc.asyncProperty(histories, async (steps) => {
        const before = world({}, store());
        const after = world({}, store());
        const session = await history(before, steps);
        await move(before, session, after);
        assert.deepEqual(await told(after), await told(before));
      }),
      { numRuns: 40, includeErrorInReport: true },
    );
  });
}

test("a session that has come is whole in the store of its new owner, in one write", async () => {
  await fc.assert(
    fc.asyncProperty(histories, async (steps) => {
      const store = new CrashStore();
      const before = world({}, new CrashStore());
      const session = await history(before, steps);
      await move(before, session, world({}, store));
      const first = store.history.findIndex((writes) =>
        writes.some(({ partition }) => partition === "session/c"),
      );
      const restarted = world({}, store.copy(first + 1));
      await restarted.load();
      await settle(restarted);
      assert.deepEqual(await told(restarted), await told(before));
    }),
    { numRuns: 40, includeErrorInReport: true },
  );
});

test("long queues travel in parts of bounded size", async () => {
  const before = world({}, new CrashStore());
  const session = await history(before, []);
  const payload = "x".repeat(1000);
  for (let i = 0; i < 2000; i++) before.publish("t/x", `${i} ${payload}`, 1);
  await settle(before);
  const parts = await read(before, session);
  assert.ok(parts !== null && parts.messages.length >= 8);
  for (const part of parts.messages) assert.ok(part.length < 300_000, `${part.length} bytes`);
});

test("marks keep their meaning: what is a node's own has its name elsewhere", async () => {
  const before = world({}, new CrashStore());
  const session = await history(before, []);
  session.journal?.marks.restore({ name: "/qos2", incarnation: 4 }, 10);
  session.journal?.marks.restore({ name: "/qos2", incarnation: 5 }, 11);
  session.journal?.marks.restore({ name: "b@h/qos2", incarnation: 6 }, 12);
  session.journal?.marks.restore({ name: "c@h", incarnation: 9 }, 13);
  const after = world({}, new CrashStore());
  await move(before, session, after);
  const marks = [...(after.sessions.get("c")?.journal?.marks.all() ?? [])];
  assert.deepEqual(
    marks.map(({ name, incarnation, identity }) => `${name} ${incarnation} ${identity}`).sort(),
    ["/qos2 6 12", "a@h 5 77", "a@h/qos2 4 10", "a@h/qos2 5 11", "c@h 9 13"],
  );
});

test("what cannot be read, or is not whole, is refused", async () => {
  const before = world({}, new CrashStore());
  const session = await history(before, [{ do: "publish", qos: 1, seconds: 0 }]);
  const parts = await read(before, session);
  assert.ok(parts !== null);
  assert.throws(() => decodeHead(Buffer.from("no head")), WireError);
  assert.throws(() => decodeSubscriptions(parts.head), WireError);
  const { sessions } = world({}, new CrashStore());
  const own = { self: "b@h", sessions, journals: sessions.journals };
  const make = (): SessionImport => new SessionImport(own, decodeHead(parts.head), [], 9);
  assert.throws(() => make().finish(), WireError);
  assert.throws(() => make().addMessages(Buffer.from([1, 2, 3])), WireError);
});
