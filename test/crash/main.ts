/**
 * The crash trial at length: `npm run test:crash -- [--nodes 1] [--rounds 1000] [--seed N]`. Prints a line for each round, and on a
 * fault what was wrong, with the seed. The exit code is 1 when anything was.
 */
import { parseArgs } from "node:util";
import { startNodes } from "../support/nodes.js";
import { ClusterCrashTrial } from "./cluster.js";
import { CrashTrial, chanceFrom } from "./crash.js";
import { clusterCrashSettings, crashSettings } from "./settings.js";

const { values } = parseArgs({
  options: {
    nodes: { type: "string", default: "1" },
    rounds: { type: "string", default: "1000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
    set: { type: "string", multiple: true, default: [] },
  },
});
const rounds = Number(values.rounds);
const seed = Number(values.seed);
const count = Number(values.nodes);
if (!Number.isInteger(count) || count < 1) throw new Error("--nodes is a whole number");
if (!Number.isInteger(rounds) || rounds < 1 || !Number.isInteger(seed)) {
  throw new Error("--rounds and --seed are whole numbers");
}

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const cleanups: (() => void)[] = [];
const scope = { after: (cleanup: () => void): void => void cleanups.push(cleanup) };
say(`seed ${seed}, ${rounds} rounds`);
try {
  const settings = [...(count === 1 ? crashSettings : clusterCrashSettings), ...values.set];
  const nodes = await startNodes(scope, { nodes: count, settings });
  const [node] = nodes;
  if (node === undefined) throw new Error("no node");
  const chance = chanceFrom(seed);
  const trial = count === 1 ? new CrashTrial(node, chance) : new ClusterCrashTrial(nodes, chance);
  await trial.begin();
  for (let round = 1; round <= rounds; round++) {
    const beganMs = performance.now();
    await trial.play();
    const tookMs = Math.round(performance.now() - beganMs);
    say(
      `round ${round}: ${trial.kills} kills, ${trial.acknowledged} acknowledged and found, ${tookMs} ms`,
    );
  }
  say("nothing was lost, nothing came twice, order was kept");
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
} finally {
  for (const cleanup of cleanups.reverse()) cleanup();
}
