/**
 * Random histories: whatever happens to nodes and links, promises are kept and all copies end equal
 * (checks.ts). `node --import tsx test/sim/soak.ts FIRST LAST` tells more of them.
 */
import { test } from "node:test";
import { checkStory } from "./checks.js";
import { Story } from "./story.js";

const seedsPerTest = 25;

for (let first = 1; first <= 100; first += seedsPerTest) {
  test(`promises hold in the histories ${first} to ${first + seedsPerTest - 1}`, async () => {
    for (let seed = first; seed < first + seedsPerTest; seed++) {
      const story = new Story(seed);
      await story.tell();
      await checkStory(story);
    }
  });
}
