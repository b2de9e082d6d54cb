/**
 * Looks for histories in which broken rules show: `npx tsx test/sim/rules/find.ts [WORDS [SEEDS [FIRST]]]`, for the rules whose
 * name has these words, all without. With `-` only those are looked for whose own history does not show it, or shows a fault
 * with nothing broken, too.
 */
import { rules, tellBroken, tellSound } from "./index.js";
import type { Rule } from "./rule.js";

const [words = "", seedsText = "300", firstText = "1"] = process.argv.slice(2);
const [seeds, first] = [Number(seedsText), Number(firstText)];

/** What the simulation says of it; null: nothing, or it says something with nothing broken. */
async function shows(rule: Rule, seed: number): Promise<string | null> {
  const what = await tellBroken(rule, seed);
  return what !== null && (await tellSound(rule, seed)) ? what : null;
}

for (const rule of rules) {
  if (words !== "-" && !rule.name.includes(words)) continue;
  if (words === "-" && (await shows(rule, rule.seed)) !== null) continue;
  let found = 0;
  for (let seed = first; seed < first + seeds && found < 1; seed++) {
    const what = await shows(rule, seed);
    if (what === null) continue;
    found++;
    process.stdout.write(`${rule.kind} ${seed}  ${rule.name}\n    ${what.slice(0, 150)}\n`);
  }
  if (found === 0) process.stdout.write(`NOT FOUND  ${rule.name}\n`);
}
