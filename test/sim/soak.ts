/**
 * Tells histories of a range of seeds: `node --import tsx test/sim/soak.ts FIRST [LAST]`. Stops at the first
 * that breaks a promise, and says how to tell it again.
 */
import { checkStory } from "./checks.js";
import { Story } from "./story.js";

const [first = 1, last = first] = process.argv.slice(2).map(Number);

let turns = 0;
for (let seed = first; seed <= last; seed++) {
  const story = new Story(seed);
  try {
    await story.tell();
    await checkStory(story);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  }
  turns += story.world.timeline.turns;
  if (seed % 100 === 0) process.stdout.write(`${seed} `);
}
process.stdout.write(`\n${last - first + 1} histories, ${turns} turns, no fault\n`);
