/**
 * The command line: words in, exit code out. 0: done; 1: refused or failed, with one line on standard
 * error that starts with `Error:`; 2: wrong usage.
 */
import { MessageChannel } from "node:worker_threads";
import yargs, { type Argv } from "yargs";
import { Refusal } from "../lib/refusal.js";
import { addBenchOptions, bench } from "./bench/command.js";
import { check } from "./check.js";
import { checkConfig, printReference, showConfig } from "./config-commands.js";
import { runConsole } from "./console.js";
import { addCtlCommands } from "./ctl.js";
import { type Dependencies, realDependencies } from "./dependencies.js";
import { foreground } from "./foreground.js";
import { localCluster } from "./local-cluster.js";
import { type CommonOptions, commonOptions, configOf, refuseTwice } from "./options.js";
import { parse, parserSettings } from "./parser.js";
import { start, started, stop } from "./start-stop.js";
import { supervise } from "./supervisor.js";
import { findTarget } from "./target.js";
import { UsageError } from "./usage.js";
import { runCtlAt } from "./workers/ctl.js";

const localNodesMax = 30;

/** Runs one command line. Never throws for what an operator can do wrong. */
export async function main(
  words: readonly string[],
  dependencies: Dependencies = realDependencies(),
): Promise<number> {
  // Timers of the clock do not keep the process alive; a command that waits must.
  const alive = new MessageChannel();
  alive.port1.on("message", () => undefined);
  try {
    return await run(words, dependencies);
  } catch (error) {
    const { terminal } = dependencies;
    if (error instanceof UsageError) {
      terminal.printError(`Error: ${error.message} (see --help)`);
      return 2;
    }
    if (!(error instanceof Refusal)) throw error;
    terminal.printError(`Error: ${error.message}`);
    return 1;
  } finally {
    alive.port1.close();
  }
}

const same = <T>(parser: T): T => parser;

type Action = (options: CommonOptions) => number | Promise<number>;

async function run(words: readonly string[], dependencies: Dependencies): Promise<number> {
  let action: Action = () => 0;
  const parser = commandLine(dependencies, (chosen) => {
    action = chosen;
  });
  const options = await parse(parser, [...words], dependencies.terminal);
  return action(options);
}

/** Every command. A handler hands `choose` what is to be done, and does nothing itself. */
function commandLine(dependencies: Dependencies, choose: (action: Action) => void) {
  const parser = parserSettings(yargs([]).scriptName("broker"))
    .usage("$0 COMMAND: run and control a node of an MQTT broker cluster")
    .version(dependencies.version)
    .options(commonOptions)
    .check((argv) => refuseTwice(argv))
    .demandCommand(1, "name a command; `broker --help` lists them");
  addNodeCommands(parser, dependencies, choose);
  addCheckCommand(parser, dependencies, choose);
  addConfigCommands(parser, dependencies, choose);
  parser.command("ctl", "send a command to a node that runs on this machine", (inner) =>
    addCtlCommands(
      inner.option("json", { type: "boolean", describe: "print one JSON document" }),
      (call) =>
        choose(async (options) => {
          const target = await findTarget(configOf(options, dependencies));
          return runCtlAt(call, target, dependencies.terminal);
        }),
    ),
  );
  return parser;
}

function addNodeCommands(
  parser: Argv<CommonOptions>,
  dependencies: Dependencies,
  choose: (action: Action) => void,
): void {
  parser
    .command(
      "start",
      "run a node in the background; it is started again after a crash",
      (inner) =>
        inner.option("no-wait", { type: "boolean", describe: "do not wait until it runs" }),
      (argv) => choose(() => start(argv, argv["no-wait"] !== true, dependencies)),
    )
    .command(
      "foreground",
      "run a node in this terminal",
      (inner) =>
        inner
          .option("stop-with-parent", { type: "boolean", hidden: true })
          .option("worker", { type: "string", hidden: true }),
      (argv) => choose(() => foreground(argv, dependencies)),
    )
    .command(
      "console",
      "run a node in this terminal, with a prompt for ctl commands",
      same,
      (argv) => choose(() => runConsole(argv, dependencies)),
    )
    .command("stop", "stop a node and wait until it has stopped", same, (argv) =>
      choose(() => stop(argv, dependencies)),
    )
    .command(
      "started",
      "wait until a node runs",
      (inner) =>
        inner.option("timeout", {
          type: "number",
          requiresArg: true,
          default: 60,
          describe: "give up after so many seconds",
        }),
      (argv) => choose(() => started(argv, whole("timeout", argv.timeout, 86_400), dependencies)),
    )
    .command(
      "local-cluster",
      "run a cluster on this machine, for trying things out",
      (inner) =>
        inner
          .option("nodes", { type: "number", requiresArg: true, default: 3, describe: "how many" })
          .option("port", {
            type: "number",
            requiresArg: true,
            default: 1883,
            describe: "MQTT port of the first node; 0: any free ports",
          }),
      (argv) =>
        choose(() => {
          if (argv.nodes === 0) throw new UsageError("--nodes must be at least 1");
          const nodes = whole("nodes", argv.nodes, localNodesMax);
          const port = whole("port", argv.port, 65_536 - nodes);
          return localCluster({ ...argv, nodes, port }, dependencies);
        }),
    )
    .command("bench", "measure any MQTT broker and print a table", addBenchOptions, (argv) =>
      choose(() => bench(argv, dependencies)),
    )
    .command("supervise", false, same, (argv) => choose(() => supervise(argv, dependencies)));
}

function addCheckCommand(
  parser: Argv<CommonOptions>,
  dependencies: Dependencies,
  choose: (action: Action) => void,
): void {
  parser.command(
    "check",
    "connect to a broker as a client and see whether a QoS 1 message comes back",
    addCheckOptions,
    (argv) =>
      choose(() => {
        const timeout = whole("timeout", argv.timeout, 3600);
        return check({ ...argv, timeout }, dependencies);
      }),
  );
}

function addCheckOptions(parser: Argv<CommonOptions>) {
  const text = { type: "string", requiresArg: true } as const;
  return parser
    .option("host", { ...text, describe: "address of the broker; default: that of the settings" })
    .option("port", { type: "number", requiresArg: true, describe: "port of the broker" })
    .option("socket", { ...text, describe: "path of a Unix socket, in place of both" })
    .option("user", { ...text, describe: "user name" })
    .option("password-file", { ...text, describe: "file whose first line is the password" })
    .option("topic", {
      ...{ ...text, default: "trellis/check/%r" },
      describe: "topic that is subscribed and published to; %r is a random word",
    })
    .option("timeout", {
      ...{ type: "number", requiresArg: true, default: 5 },
      describe: "give up after so many seconds",
    });
}

function addConfigCommands(
  parser: Argv<CommonOptions>,
  dependencies: Dependencies,
  choose: (action: Action) => void,
): void {
  parser.command("config", "check, show or explain the configuration", (inner) =>
    inner
      .command("check", "say whether the configuration would be taken", same, (argv) =>
        choose(() => checkConfig(argv, dependencies)),
      )
      .command("show", "print every setting as it is now and where it came from", same, (argv) =>
        choose(() => showConfig(argv, dependencies)),
      )
      .command("reference", "print every setting with its explanation, as a YAML file", same, () =>
        choose(() => printReference(dependencies)),
      )
      .demandCommand(1, "say what: check, show or reference"),
  );
}

/** A number that was typed. @throws UsageError when it is no whole number from 0 to `max` */
function whole(name: string, value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new UsageError(`--${name} must be a whole number from 0 to ${max}`);
}
