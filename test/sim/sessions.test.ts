/**
 * Random histories of durable sessions (sessions/story.ts): whatever happens to nodes, stores and connections, what was
 * acknowledged is delivered, once where that was asked for, and in order (sessions/checks.ts). And the proof that
 * the simulation sees what it is there for: rules that are broken on purpose are found.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSessions } from "./sessions/checks.js";
import { plants } from "./sessions/plants.js";
import { OwnerDown, SessionStory, type SessionStoryOptions } from "./sessions/story.js";

const seedsPerTest = 30;
const seedsMax = 1000;
const roamingSeeds = 24;

async function tell(seed: number, options: SessionStoryOptions = {}): Promise<void> {
  const story = new SessionStory(seed, options);
  await story.tell();
  await checkSessions(story);
}

for (let first = 1; first <= 60; first += seedsPerTest) {
  test(`sessions keep their promises in the histories ${first} to ${first + seedsPerTest - 1}`, async () => {
    for (let seed = first; seed < first + seedsPerTest; seed++) await tell(seed);
  });
}

test("sessions keep their promises in histories that once broke one", async () => {
  for (const seed of [
    136, 270, 287, 333, 336, 812, 848, 933, 948, 1178, 1481, 1625, 1667, 1725, 1821, 2019, 2207,
    2259,
  ])
    await tell(seed);
});

/** Returns whether it came to its end. */
async function tellRoaming(seed: number): Promise<boolean> {
  try {
    await tell(seed, { roams: true });
    return true;
  } catch (error) {
    if (error instanceof OwnerDown) return false;
    throw error;
  }
}

test("sessions keep their promises to clients that come back at other nodes", async (t) => {
  let told = 0;
  for (let seed = 1; seed <= roamingSeeds; seed++) if (await tellRoaming(seed)) told++;
  // Once broke a promise.
  for (const seed of [58, 455]) await tellRoaming(seed);
  t.diagnostic(`${told} of ${roamingSeeds} histories`);
  assert.ok(told >= roamingSeeds / 2);
});

/** The first history that says so. */
async function seedThatFinds(fault: RegExp, options: SessionStoryOptions = {}): Promise<number> {
  for (let seed = 1; seed <= seedsMax; seed++) {
    try {
      await tell(seed, options);
    } catch (error) {
      const [what = ""] = error instanceof Error ? error.message.split("\n") : [];
      if (fault.test(what)) return seed;
    }
  }
  assert.fail(`not found in ${seedsMax} histories`);
}

test("found: the store says that a commit is durable when it has only begun", async (t) => {
  const seed = await seedThatFinds(/never got|no member|granted|session present/, {
    answersEarly: true,
  });
  t.diagnostic(`by history ${seed}`);
});

for (const { name, fault, plant } of plants) {
  test(`found: ${name}`, async (t) => {
    const undo = plant();
    t.after(undo);
    t.diagnostic(`by history ${await seedThatFinds(fault)}`);
  });
}
