/** A few rounds of the crash trial; `npm run test:crash` plays many. */
import { test } from "node:test";
import { startNodes } from "../support/nodes.js";
import { CrashTrial, chanceFrom } from "./crash.js";
import { crashSettings } from "./settings.js";

test("nothing acknowledged is lost by kill -9, in ten rounds", { timeout: 170_000 }, async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const [node] = await startNodes(t, { nodes: 1, settings: crashSettings });
  if (node === undefined) throw new Error("no node");
  const trial = new CrashTrial(node, chanceFrom(seed));
  await trial.begin();
  for (let round = 1; round <= 10; round++) await trial.play();
  t.diagnostic(`${trial.kills} kills, ${trial.acknowledged} messages acknowledged and found`);
});
