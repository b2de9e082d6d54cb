/**
 * Looks for histories in which broken rules show: `npx tsx test/sim/rules/find.ts [WORDS [SEEDS [FIRST]]]`, for the rules whose
 * name has these words, all without. With `-` only those are looked for whose own history does not show it.
 */
import { rules, tellBroken } from "./index.js";

const [words = "", seedsText = "300", firstText = "1"] = process.argv.slice(2);
const [seeds, first] = [Number(seedsText), Number(firstText)];

for (const rule of rules) {
  if (words !== "-" && !rule.name.includes(words)) continue;
  if (words === "-" && (await tellBroken(rule, rule.seed)) !== null) continue;
  let found = 0;
  for (let seed = first; seed < first + seeds && found < 1; seed++) {
    const what = await tellBroken(rule, seed);
    if (what === null) continue;
    found++;
    process.stdout.write(`${rule.kind} ${seed}  ${rule.name}\n    ${what.slice(0, 150)}\n`);
  }
  if (found === 0) process.stdout.write(`NOT FOUND  ${rule.name}\n`);
}
