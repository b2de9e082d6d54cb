/** `broker console`: a node in the foreground, with a prompt that takes the commands of `broker ctl`. */
import yargs from "yargs";
import { Refusal } from "../lib/refusal.js";
import { addCtlCommands, type CtlCall } from "./ctl.js";
import type { Dependencies } from "./dependencies.js";
import { foreground } from "./foreground.js";
import { type CommonOptions, configOf } from "./options.js";
import { parse, parserSettings } from "./parser.js";
import { type Target, targetOf } from "./target.js";
import { UsageError } from "./usage.js";
import { runCtlAt } from "./workers/ctl.js";

/** Runs a node and its prompt; the node stops at `exit` or at the end of the input. */
export function runConsole(options: CommonOptions, dependencies: Dependencies): Promise<number> {
  const { name, run_dir: runDir } = configOf(options, dependencies).config.node;
  const { terminal } = dependencies;
  return foreground(options, dependencies, () => {
    terminal.print("Type a command of `broker ctl`, help, or exit.");
    return terminal.prompt("trellis> ", async (line) => {
      const words = splitWords(line);
      if (words[0] === "exit" || words[0] === "quit") return false;
      if (words.length > 0) await runLine(words, await targetOf(runDir, name), dependencies);
      return true;
    });
  });
}

/** Words of a line; quotes hold words with spaces together. */
export function splitWords(line: string): string[] {
  const words = line.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? [];
  return words.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
}

async function runLine(
  words: readonly string[],
  target: Target,
  { terminal }: Dependencies,
): Promise<void> {
  let call: CtlCall | undefined;
  const parser = parserSettings(yargs([]).scriptName(""))
    .option("json", { type: "boolean", describe: "print one JSON document" })
    .usage("Commands of this node");
  addCtlCommands(parser, (typed) => {
    call = typed;
  });
  try {
    const line = words[0] === "help" ? ["--help", ...words.slice(1)] : [...words];
    await parse(parser, line, terminal);
    if (call !== undefined) await runCtlAt(call, target, terminal);
  } catch (error) {
    if (!(error instanceof Refusal || error instanceof UsageError)) throw error;
    terminal.print(`Error: ${error.message}`);
  }
}
