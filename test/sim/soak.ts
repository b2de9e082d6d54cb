/**
 * Tells histories of a range of seeds: `npx tsx test/sim/soak.ts FIRST [LAST] [sessions|cluster|roams]`, the first two kinds
 * unless one is named; in `roams` clients come back at other nodes. Stops at the first that breaks a promise, and says how
 * to tell it again.
 */
import { checkStory } from "./checks.js";
import { checkSessions } from "./sessions/checks.js";
import { OwnerDown, SessionStory } from "./sessions/story.js";
import { Story } from "./story.js";

const [firstText = "1", lastText = firstText, kind = ""] = process.argv.slice(2);
const [first, last] = [Number(firstText), Number(lastText)];

let turns = 0;

async function tellCluster(seed: number): Promise<void> {
  const story = new Story(seed);
  await story.tell();
  await checkStory(story);
  turns += story.world.timeline.turns;
}

async function tellSessions(seed: number): Promise<void> {
  const story = new SessionStory(seed);
  await story.tell();
  await checkSessions(story);
  turns += story.world.timeline.turns;
}

/** Clients come back at other nodes; a history in which one could not, as its node was down, is not told to its end. */
async function tellRoams(seed: number): Promise<void> {
  const story = new SessionStory(seed, { roams: true });
  try {
    await story.tell();
    await checkSessions(story);
  } catch (error) {
    if (!(error instanceof OwnerDown)) throw error;
  }
  turns += story.world.timeline.turns;
}

for (let seed = first; seed <= last; seed++) {
  try {
    if (kind === "cluster" || kind === "") await tellCluster(seed);
    if (kind === "sessions" || kind === "") await tellSessions(seed);
    if (kind === "roams") await tellRoams(seed);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
  if (seed % 100 === 0) process.stdout.write(`${seed} `);
}
process.stdout.write(`\nseeds ${first} to ${last}, ${turns} turns, no fault\n`);
