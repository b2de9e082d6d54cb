/** yargs as we use it: it parses and explains, and leaves exit codes and the terminal to us. */
import type { Argv } from "yargs";
import type { Terminal } from "./output.js";
import { UsageError } from "./usage.js";

/** Sets a parser up so that texts stay texts and an unknown word is an error. */
export function parserSettings<T>(parser: Argv<T>): Argv<T> {
  return parser
    .parserConfiguration({
      "boolean-negation": false,
      "camel-case-expansion": false,
      "dot-notation": false,
      "parse-numbers": false,
      "parse-positional-numbers": false,
    })
    .strict()
    .exitProcess(false)
    .help()
    .alias("help", "h")
    .fail(false)
    .wrap(100);
}

/**
 * Parses `words`; help and version texts go to the terminal. Handlers must only take notes, so that
 * whatever is thrown is about usage.
 * Returns the options that every command takes.
 * @throws UsageError
 */
export async function parse<T>(parser: Argv<T>, words: string[], terminal: Terminal) {
  try {
    return await parser.parseAsync(words, {}, (_error, _argv, output) => {
      if (output !== "") terminal.print(output);
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new UsageError(message.split("\n")[0] ?? message);
  }
}
