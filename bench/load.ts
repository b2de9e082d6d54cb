/**
 * The load generator's command: one run, one line of JSON. Exit 0 when the run was whole, 1 when a
 * connection failed (one line on standard error), 2 for wrong usage.
 */
import { realClock } from "../src/lib/clock.js";
import { UsageError } from "../src/cli/usage.js";
import { parseConnectOptions, parseLoadOptions, usage } from "./options.js";
import { runConnects } from "../src/cli/bench/connects.js";
import { runLoad } from "../src/cli/bench/run.js";

async function main(args: readonly string[]): Promise<number> {
  if (args.includes("--help")) {
    console.log(usage);
    return 0;
  }
  const isToTell = args.includes("--announce");
  const watch = isToTell ? { onConnected: () => console.error("connected") } : {};
  try {
    const result =
      args[0] === "connect"
        ? await runConnects(parseConnectOptions(args.slice(1)), realClock)
        : await runLoad(parseLoadOptions(args), realClock, watch);
    console.log(JSON.stringify(result));
    return 0;
  } catch (error) {
    console.error(`Error: ${error instanceof Error ? error.message : String(error)}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
