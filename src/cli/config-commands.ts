/** `broker config check`, `show` and `reference`. */
import { ConfigRefusal } from "../config/load.js";
import { effectiveText, referenceText } from "../config/reference.js";
import { Refusal } from "../lib/refusal.js";
import type { Dependencies } from "./dependencies.js";
import { type CommonOptions, configOf } from "./options.js";

/** Says whether the configuration would be taken; names every problem. */
export function checkConfig(options: CommonOptions, dependencies: Dependencies): number {
  try {
    const { changed } = configOf(options, dependencies);
    const number = changed.length === 1 ? "1 setting is" : `${changed.length} settings are`;
    dependencies.terminal.print(`The configuration is right; ${number} not at the default`);
    return 0;
  } catch (error) {
    if (!(error instanceof ConfigRefusal) || error.problems.length === 1) throw error;
    for (const problem of error.problems) dependencies.terminal.print(problem);
    throw new Refusal(`the configuration has ${error.problems.length} problems`);
  }
}

/** Prints the effective configuration and where it came from. */
export function showConfig(options: CommonOptions, dependencies: Dependencies): number {
  const { config, changed } = configOf(options, dependencies);
  dependencies.terminal.print(effectiveText(config, changed).trimEnd());
  return 0;
}

/** Prints every setting with its explanation. */
export function printReference({ terminal }: Dependencies): number {
  terminal.print(referenceText().trimEnd());
  return 0;
}
