/** The comparison's command line: every option with its default and limits, and its refusals. */
import { parseArgs } from "node:util";
import { type Broker, brokers } from "./brokers.js";
import { type Case, cases } from "./cases.js";
import { UsageError } from "../src/cli/usage.js";
import { seconds, whole } from "./options.js";

export const compareUsage = `usage: npm run bench -- [options]
  --runs N (3)          medians of N runs
  --seconds N (4)  --warm-up N (2)    of each run
  --only CASE[,...]     ${cases.map(({ id }) => id).join(", ")}
  --brokers NAME[,...]  ${brokers.map(({ name }) => name).join(", ")}
  --json                all figures as one JSON document instead of a table
`;

export interface CompareOptions {
  readonly runs: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly cases: readonly Case[];
  readonly brokers: readonly Broker[];
  readonly json: boolean;
}

/** Reads the arguments after the program's name; throws `UsageError` for any that make no sense. */
export function parseCompareOptions(args: readonly string[]): CompareOptions {
  const { values } = parse(args);
  return {
    runs: whole("runs", values.runs, 1, 100),
    durationMs: seconds("seconds", values.seconds, 0.1),
    warmUpMs: seconds("warm-up", values["warm-up"], 0),
    cases: chosen("only", cases, ({ id }) => id, values.only),
    brokers: chosen("brokers", brokers, ({ name }) => name, values.brokers),
    json: values.json,
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        runs: { type: "string", default: "3" },
        seconds: { type: "string", default: "4" },
        "warm-up": { type: "string", default: "2" },
        only: { type: "string" },
        brokers: { type: "string" },
        json: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** Those of `all` that `list` names, in the order of `all`; all of them without a list. */
function chosen<T>(
  option: string,
  all: readonly T[],
  nameOf: (item: T) => string,
  list: string | undefined,
): readonly T[] {
  if (list === undefined) return all;
  const names = list.split(",");
  const unknown = names.find((name) => !all.some((item) => nameOf(item) === name));
  if (unknown !== undefined) {
    const known = all.map(nameOf).join(", ");
    throw new UsageError(`--${option}: '${unknown}' is not one of ${known}`);
  }
  return all.filter((item) => names.includes(nameOf(item)));
}
