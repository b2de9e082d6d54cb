/**
 * Tells histories: `npx tsx test/sim/soak.ts [FIRST [LAST [KIND]]]`, of 10,000 seeds and all kinds (kinds.ts) unless said otherwise.
 * Stops at the first that breaks a promise, with a trace of who did what, and says how to tell it again.
 */
import { isKind, type Kind, kinds, soaked } from "./kinds.js";

const [firstText = "1", lastText = process.argv.length > 2 ? firstText : "10000", kind = ""] =
  process.argv.slice(2);
const [first, last] = [Number(firstText), Number(lastText)];
if (kind !== "" && !isKind(kind)) {
  process.stderr.write(`${kind} is none of ${Object.keys(kinds).join(", ")}\n`);
  process.exit(2);
}
const told: readonly Kind[] = isKind(kind) ? [kind] : soaked;
let turns = 0;

for (let seed = first; seed <= last; seed++) {
  for (const one of told) {
    try {
      turns += await kinds[one](seed);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      process.stderr.write(`${what}\nagain: npx tsx test/sim/soak.ts ${seed} ${seed} ${one}\n`);
      process.exit(1);
    }
  }
  if (seed % 100 === 0) process.stdout.write(`${seed} `);
}
process.stdout.write(`\n${told.join(", ")}: seeds ${first} to ${last}, ${turns} turns, no fault\n`);
