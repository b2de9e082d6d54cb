/** The comparison's command line: every option with its default and limits, and its refusals. */
import { parseArgs } from "node:util";
import { type Broker, brokers } from "./brokers.js";
import { type Case, cases, quick, withMqtt5 } from "./cases.js";
import { UsageError } from "../src/cli/usage.js";
import { seconds, whole } from "./options.js";

export const compareUsage = `usage: npm run bench -- [options]
  --runs N (5)          median, least and most of N runs
  --seconds N (2)  --warm-up N (0.7)  of each run; of the peers half of that
  --minutes N (20)      nothing that was disturbed is measured again when it would take longer than that
  --only CASE[,...]     ${cases.map(({ id }) => id).join(", ")}
  --brokers NAME[,...]  ${brokers.map(({ name }) => name).join(", ")}
  --mqtt 4|5|4,5 (4,5)  MQTT 3.1.1, 5 or both; with 5 the cases that are the same but for that
  --mqttload PATH       let this program make the load where it can
  --results FILE (bench-results.jsonl)  where each result is written as it comes; none: nowhere
  --continue            go on where the last comparison was cut off, with the same options; what failed is tried again
  --docs FOLDER (docs)  where the table and the chart are written; none: nowhere
  --quick               to try: one run of a second, MQTT 3.1.1, few clients, nothing written without --docs
  --json                all figures as one JSON document instead of a table, nothing written
`;

export interface CompareOptions {
  readonly runs: number;
  readonly durationMs: number;
  readonly warmUpMs: number;
  readonly cases: readonly Case[];
  readonly brokers: readonly Broker[];
  /** Path of a generator that takes the place of ours; null: none. */
  readonly mqttload: string | null;
  /** Where to write; null: nowhere. */
  readonly docs: string | null;
  /** A run that others disturbed is made again. */
  readonly repeats: boolean;
  /** When it would take longer, nothing is repeated. */
  readonly limitMs: number;
  /** Null: results are not written as they come. */
  readonly results: string | null;
  readonly isContinued: boolean;
  readonly json: boolean;
}

/** Reads the arguments after the program's name; throws `UsageError` for any that make no sense. */
export function parseCompareOptions(args: readonly string[]): CompareOptions {
  const values = parse(args);
  const isQuick = values.quick;
  const picked = chosen("only", cases, ({ id }) => id, values.only);
  const docs = values.docs ?? (isQuick || values.json ? "none" : "docs");
  return {
    runs: whole("runs", values.runs ?? (isQuick ? "1" : "5"), 1, 100),
    durationMs: seconds("seconds", values.seconds ?? (isQuick ? "1" : "2"), 0.1),
    warmUpMs: seconds("warm-up", values["warm-up"] ?? (isQuick ? "0.5" : "0.7"), 0),
    cases: versions(isQuick ? picked.map(quick) : picked, values.mqtt ?? (isQuick ? "4" : "4,5")),
    brokers:
      values.brokers === undefined
        ? brokers.filter(({ special }) => special !== true)
        : chosen("brokers", brokers, ({ name }) => name, values.brokers),
    mqttload: values.mqttload ?? null,
    docs: docs === "none" ? null : docs,
    repeats: !isQuick,
    limitMs: 60_000 * whole("minutes", values.minutes, 1, 1000),
    results: values.results === "none" || (isQuick && !values.continue) ? null : values.results,
    isContinued: values.continue,
    json: values.json,
  };
}

function parse(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...{ runs: { type: "string" }, seconds: { type: "string" }, "warm-up": { type: "string" } },
        ...{ only: { type: "string" }, brokers: { type: "string" }, mqtt: { type: "string" } },
        ...{ mqttload: { type: "string" }, docs: { type: "string" } },
        minutes: { type: "string", default: "20" },
        results: { type: "string", default: "bench-results.jsonl" },
        continue: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The cases in the versions of MQTT that were asked for, those of one next to each other. */
function versions(picked: readonly Case[], mqtt: string): Case[] {
  if (!["4", "5", "4,5"].includes(mqtt)) throw new UsageError("--mqtt must be 4, 5 or 4,5");
  return picked.flatMap((one) => [
    ...(mqtt.includes("4") ? [one] : []),
    ...(mqtt.includes("5") && one.both === true ? [withMqtt5(one)] : []),
  ]);
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
