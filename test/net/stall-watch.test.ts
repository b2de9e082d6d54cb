/** Connections that wait for an answer while the store takes nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type StallSubject, StallWatch } from "../../src/net/stall-watch.js";
import { HandClock } from "../store/support.js";

class Subject implements StallSubject {
  oldestUnanswered: object | null = {};
  hasWithheld = false;
  closed = 0;
  closeStalled(): void {
    this.closed++;
  }
}

function watch(): {
  clock: HandClock;
  stall: StallWatch;
  subjects: Set<Subject>;
  add: () => Subject;
} {
  const clock = new HandClock();
  const subjects = new Set<Subject>();
  const stall = new StallWatch(clock, 1000, () => subjects);
  const add = (): Subject => {
    const subject = new Subject();
    subjects.add(subject);
    return subject;
  };
  return { clock, stall, subjects, add };
}

const pass = async (clock: HandClock, ms: number): Promise<void> => {
  for (let left = ms; left > 0; left -= 50) await clock.advance(50);
};

test("who waited for one thing through the whole time-out is closed, and counted", async () => {
  const { clock, stall, add } = watch();
  const waits = add();
  const answered = add();
  const idle = add();
  idle.oldestUnanswered = null;
  stall.setStalled(true);
  await pass(clock, 950);
  assert.equal(waits.closed, 0);
  answered.oldestUnanswered = {};
  await pass(clock, 350);
  assert.deepEqual([waits.closed, answered.closed, idle.closed], [1, 0, 0]);
  await pass(clock, 1000);
  assert.equal(answered.closed, 1);
  assert.equal(idle.closed, 0);
  stall.stop();
});

test("when the store takes everything again, who was not answered for good is closed at once", async () => {
  const { clock, stall, add } = watch();
  const waits = add();
  const withheld = add();
  withheld.hasWithheld = true;
  stall.setStalled(true);
  await pass(clock, 400);
  stall.setStalled(false);
  assert.deepEqual([waits.closed, withheld.closed], [0, 1]);
  await pass(clock, 5000);
  assert.equal(waits.closed, 0);
  assert.equal(clock.timerCount, 0);
  assert.equal(stall.counters.closedStalled, 1);
});

test("one who comes late has the whole time-out as well", async () => {
  const { clock, stall, add } = watch();
  stall.setStalled(true);
  await pass(clock, 900);
  const late = add();
  await pass(clock, 900);
  assert.equal(late.closed, 0);
  await pass(clock, 500);
  assert.equal(late.closed, 1);
  stall.stop();
});

test("without a stall: a client that was refused without a word is closed in time, others are not", async () => {
  const { clock, stall, subjects, add } = watch();
  add();
  const withheld = add();
  const left = add();
  withheld.hasWithheld = left.hasWithheld = true;
  stall.noteWithheld();
  stall.noteWithheld();
  await pass(clock, 950);
  subjects.delete(left);
  assert.equal(withheld.closed, 0);
  await pass(clock, 300);
  subjects.delete(withheld);
  assert.deepEqual([withheld.closed, left.closed, stall.counters.closedStalled], [1, 0, 1]);
  await pass(clock, 1000);
  assert.equal(clock.timerCount, 0);
});
