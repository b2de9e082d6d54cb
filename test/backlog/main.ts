/** Hours of backlog for a node that is down: `npm run test:backlog -- [--hours 3] [--rate 100] [--defaults] [--set KEY=VALUE]`. */
import { parseArgs } from "node:util";
import { startNodes } from "../support/nodes.js";
import { roomySettings } from "./settings.js";
import { BacklogTrial } from "./trial.js";

const { values } = parseArgs({
  options: {
    hours: { type: "string", default: "3" },
    rate: { type: "string", default: "100" },
    bytes: { type: "string", default: "100" },
    window: { type: "string", default: "500" },
    defaults: { type: "boolean", default: false },
    set: { type: "string", multiple: true, default: [] },
  },
});
const count = Number(values.hours) * Number(values.rate) * 3600;
if (!(count >= 4)) throw new Error("--hours and --rate are numbers");

const say = (line: string): void => void process.stdout.write(`${line}\n`);
const cleanups: (() => void)[] = [];
const scope = { after: (cleanup: () => void): void => void cleanups.push(cleanup) };
try {
  const settings = [...(values.defaults ? [] : roomySettings), ...values.set];
  const [a, b, c] = await startNodes(scope, { nodes: 3, settings });
  if (a === undefined || b === undefined || c === undefined) throw new Error("no nodes");
  say(`${count.toLocaleString("en")} messages of ${values.bytes} bytes`);
  const trial = new BacklogTrial([a, b, c], {
    ...{ count, before: 2000, deadlineMs: 1_200_000 },
    ...{ payloadBytes: Number(values.bytes), window: Number(values.window) },
  });
  const { figures, faults } = await trial.play();
  say("\n| | |\n|---|---:|");
  for (const [what, value] of figures) say(`| ${what} | ${value} |`);
  for (const fault of faults) say(fault);
  say(faults.length === 0 ? "\nnothing else was lost, nothing came twice, order was kept" : "");
  if (faults.length > 0) process.exitCode = 1;
} catch (error) {
  say(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exitCode = 1;
} finally {
  for (const cleanup of cleanups.reverse()) cleanup();
}
