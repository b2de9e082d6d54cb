/** A few rounds of the crash trial with three nodes; `npm run test:crash -- --nodes 3` plays many. */
import { test } from "node:test";
import { startNodes } from "../support/nodes.js";
import { ClusterCrashTrial } from "./cluster.js";
import { chanceFrom } from "./crash.js";
import { clusterCrashSettings } from "./settings.js";

test("nothing acknowledged is lost when nodes of three die, in two rounds", {
  timeout: 170_000,
}, async (t) => {
  const seed = Math.floor(Math.random() * 2 ** 31);
  t.diagnostic(`seed ${seed}`);
  const nodes = await startNodes(t, { nodes: 3, settings: clusterCrashSettings });
  const trial = new ClusterCrashTrial(nodes, chanceFrom(seed));
  await trial.begin();
  for (let round = 1; round <= 2; round++) await trial.play();
  t.diagnostic(`${trial.kills} kills, ${trial.acknowledged} messages acknowledged and found`);
});
