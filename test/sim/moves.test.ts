/**
 * Moves of sessions in a simulated cluster (sessions/move-story.ts): whoever dies or is cut off at whatever step, the session
 * has one owner in the end, and nothing acknowledged is lost, doubled at QoS 2 or out of order.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { kinds } from "./kinds.js";
import { checkSessions } from "./sessions/checks.js";
import {
  type Mishap,
  MoveStory,
  moveSteps,
  type Third,
  type Whereabouts,
} from "./sessions/move-story.js";

async function tell(
  seed: number,
  step: number,
  mishap: Mishap,
  whereabouts?: Whereabouts,
  third?: Third,
): Promise<MoveStory> {
  const story = new MoveStory(seed, step, mishap, whereabouts, third);
  await story.tell();
  await checkSessions(story);
  return story;
}

test("a session moves while messages flow", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const story = new MoveStory(seed, 0, { kind: "none" });
    await story.tell();
    assert.ok(story.isMoved, `seed ${seed}`);
    assert.ok(story.steps <= moveSteps + 2, `${story.steps} steps`);
    for (const client of story.clients) {
      for (const [{ sentMs }, times] of client.taken) {
        // What was in flight when the client left comes again.
        assert.ok(times === 1 || sentMs < story.awayMs, "nothing comes twice");
      }
    }
    await checkSessions(story);
  }
});

const places = [0, 1, 2] as const;

test("a session moves while its client is connected, which does not notice", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const story = new MoveStory(300 + seed, 0, { kind: "none" }, places[seed % 3]);
    await story.tell();
    assert.ok(story.isMoved, `seed ${seed}`);
    for (const client of story.clients) {
      for (const [{ sentMs }, times] of client.taken) {
        assert.ok(times === 1 || sentMs < story.awayMs, "nothing comes twice");
      }
    }
    const [mover] = story.clients;
    assert.equal(mover?.connections, story.connections, "it did not connect again");
    await checkSessions(story);
  }
});

test("a node dies, or is cut off, at any step of the move of a connected client's session", async () => {
  for (let step = 0; step < moveSteps; step++) {
    for (const node of places) {
      await tell(400 + step, step, { kind: "crash", node }, places[(step + node) % 3]);
    }
    const between = [step % 3, (step + 1) % 3] as const;
    await tell(500 + step, step, { kind: "cut", between }, places[(step >> 1) % 3]);
  }
});

for (const [node, who] of [
  [0, "the old owner"],
  [1, "the new owner"],
  [2, "another node"],
] as const) {
  const every = node === 2 ? 3 : 1;
  test(`${who} dies at any step of a move`, async () => {
    for (let step = 0; step < moveSteps; step += every) {
      await tell(100 + step, step, { kind: "crash", node });
    }
  });
}

for (const between of [
  [0, 1],
  [0, 2],
  [1, 2],
] as const) {
  test(`nodes ${between.join(" and ")} do not hear each other from any step of a move on`, async () => {
    for (let step = 0; step < moveSteps; step += 3) {
      await tell(200 + step, step, { kind: "cut", between });
    }
  });
}

test("a session moves while a third node is down, which has messages for it and comes back at any step", async () => {
  for (let step = 0; step < moveSteps; step += 2) {
    await tell(600 + step, step, { kind: "back" }, "away", step % 4 === 0 ? "dead" : "cut");
  }
});

test("the new owner dies at any step of a move, with a third node down", async () => {
  for (let step = 1; step < moveSteps; step += 2) {
    await tell(620 + step, step, { kind: "crash", node: 1 }, places[step % 2], "cut");
  }
});

test("nodes that share a store die, or are cut off, at any step of a move, and what is for groups is not lost either", async () => {
  for (let seed = 1; seed <= 24; seed++) await kinds.adoptedMoves(seed);
  // What the old owner had taken when the state had left was deleted with the rest.
  for (const seed of [134, 141, 218, 4516, 6702]) await kinds.adoptedMoves(seed);
});
