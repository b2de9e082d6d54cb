/** A session as plain data, there and back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pack, unpack } from "msgpackr";
import { exportState, importState, type SessionState } from "../../src/session/state.js";
import { subscribe, world } from "./support.js";

const day = 86_400_000;

test("a session goes on elsewhere where it stopped", () => {
  const here = world();
  const { session } = here.connect("c", { expiryMs: day, receiveMaximum: 3 });
  subscribe(session, "t/#", 2);
  for (let i = 1; i <= 5; i++) here.publish("t/x", `m${i}`, i % 2 === 0 ? 2 : 1);
  session.onPubrec(2, 0);
  session.onPuback(1);
  session.incoming.add(77, null);
  here.disconnect("c");
  here.publish("t/y", "late", 1);

  const state = exportState(session);
  const travelled = unpack(pack(state)) as SessionState; // what was packed
  const there = world({}, travelled);
  const restored = importState(travelled, world().sessions);
  assert.deepEqual(exportState(restored), exportState(session));
  assert.equal(restored.openQos2, 1);
  assert.equal(restored.expiryMs, day);

  // The old and the new session say the same to their next connection.
  const old = here.connect("c", { expiryMs: day });
  const expected = old.channel.take();
  assert.deepEqual(expected.slice(0, 3), ["m3 q1 id3 dup", "m4 q2 id4 dup", "pubrel 2"]);
  const { channel } = there.connect("c", { expiryMs: day });
  assert.deepEqual(channel.take(), expected);
  there.publish("t/z", "after", 1);
  old.channel.take();
  here.publish("t/z", "after", 1);
  assert.deepEqual(channel.take(), old.channel.take());
});

test("an empty session, and one whose ids have wrapped", () => {
  const here = world();
  const { session } = here.connect("c", { expiryMs: day });
  here.disconnect("c");
  const empty = importState(exportState(session), world().sessions);
  assert.deepEqual(exportState(empty), exportState(session));
  session.window.restoreNext(65_535);
  here.connect("c", { expiryMs: day });
  subscribe(session, "t", 1);
  for (let i = 0; i < 4; i++) here.publish("t", `m${i}`, 1);
  session.onPuback(1);
  here.disconnect("c");
  const wrapped = exportState(session);
  assert.deepEqual(
    wrapped.inFlight.map(({ packetId }) => packetId),
    [65_535, 2, 3],
  );
  const restored = importState(wrapped, world().sessions);
  assert.deepEqual(exportState(restored), wrapped);
  assert.equal(restored.window.nextId, 4);
});
