import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";
import { MessageParts } from "../../../src/session/move/snapshot.js";
import { Inheritance } from "../../../src/session/superseded/inheritance.js";
import { takenOf, withTaken } from "../../../src/session/superseded/succession.js";
import type { Answer } from "../../../src/session/superseded/wire.js";
import { deliveryTo, message, type World, world } from "../support.js";

/** Queues of `count` messages in parts, `each` in one. */
function partsOf(one: World, count: number, each: number): Buffer[] {
  const parts: Buffer[] = [];
  for (let first = 0; first < count; first += each) {
    const part = new MessageParts();
    for (let i = first; i < Math.min(count, first + each); i++) {
      const sent = message("t", String(i), 1, one.router.topics);
      part.add({ packetId: 0, message: sent, delivery: deliveryTo(null, 1) }, 0, i + 1);
    }
    parts.push(...part.close());
  }
  return parts;
}

test("a long queue is taken a part in each turn, and one that was cut short goes on where it was", async () => {
  const one = world({ limits: { session_queue_messages: 1000 } });
  const { session } = one.connect("c", { expiryMs: 1000 });
  one.disconnect("c");
  const counters = { takenOver: 0 };
  let isLeaving = false;
  const inheritance = new Inheritance(one.sessions, one.clock, counters, {
    isLeaving: () => isLeaving,
    onTaken: (_session, node, id, seq) => {
      const known = session.succession ?? { nodes: [node], cleanEpoch: 0, cuts: [], taken: [] };
      session.succession = withTaken(known, { node, id, seq });
    },
    onInherited: () => undefined,
  });
  const parts = partsOf(one, 30, 10);
  const answers: Answer["kind"][] = [];
  const taken = (): number => takenOf(session.succession, "a@h", 7);
  const give = (): void => {
    for (const [i, part] of parts.entries()) {
      const place = { first: i === 0, last: i === parts.length - 1, upTo: 10 * (i + 1) };
      const question = { kind: "give", clientId: "c", epoch: 1, id: 7, ...place, part } as const;
      inheritance.take(session, "a@h", question, ({ kind }) => answers.push(kind));
    }
  };
  const nextTurn = async (): Promise<void> => {
    one.clock.advance(0);
    await turn();
  };
  give();
  assert.deepEqual([session.queued, answers], [10, ["taken", "taken"]]);
  give(); // while they are being taken
  assert.deepEqual(
    [session.queued, answers.splice(0)],
    [10, ["taken", "taken", "later", "later", "later"]],
  );
  isLeaving = true;
  await nextTurn();
  assert.deepEqual([session.queued, answers.splice(0)], [10, ["later"]]);
  assert.deepEqual([taken(), inheritance.isTaking("c")], [10, false]);
  isLeaving = false;
  give();
  assert.equal(inheritance.isTaking("c"), true);
  for (let i = 0; i < 3; i++) await nextTurn();
  assert.deepEqual([session.queued, answers.splice(0)], [30, ["taken", "taken", "taken"]]);
  assert.equal(taken(), 30);
  give();
  await turn();
  assert.deepEqual([session.queued, counters.takenOver], [30, 30]);
  assert.deepEqual(answers, ["taken", "taken", "taken"]);
  const { channel } = one.connect("c", { expiryMs: 1000 });
  assert.equal(channel.said.length, 30);
});
