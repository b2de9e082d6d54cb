/**
 * What a ctl command is: a summary, arguments, something to do with a running node, and words for its
 * result. One file per command in commands/; the help text, the check of arguments and the answer to
 * `--json` all come from it.
 */
import { z } from "zod";
import { Refusal } from "../lib/refusal.js";
import { inParts, type Listing } from "./lists.js";
import type { Parts } from "./parts.js";
import { lastLines, lines } from "./render.js";

/** How an argument is given on the command line. */
export interface ArgumentInfo {
  /** In the order of the table, or as `--name`. */
  readonly positional: boolean;
  readonly type: "string" | "number" | "boolean";
  readonly about: string;
  /** Never on the command line: asked for without echo, or read from the file of `--name-file`. */
  readonly secret?: boolean;
  /** The command line names a file, and the command gets what it holds: it may not be the node's to read. */
  readonly file?: boolean;
}

/** The explanations of arguments, by their zod types. */
export const argumentInfo = z.registry<ArgumentInfo>();

/** What a command answers: data for programs, and the same in words. */
export interface Answer {
  readonly result: unknown;
  readonly text: string;
}

/** A command, with the types of its arguments and result closed over. */
export interface Command {
  readonly summary: string;
  /** Arguments by name. */
  readonly args: Readonly<Record<string, z.ZodType>>;
  /** It may ask before it does something; then `-f` is offered. */
  readonly asks: boolean;
  /**
   * Checks `args`. Returns what remains to be done.
   * @throws WrongUsage when they do not fit
   */
  prepare(args: unknown): {
    /** The question to ask first, if any. */
    question(parts: Parts): Promise<string | undefined>;
    /** A list that is long comes in parts: `onPart` takes all but the last, which is returned, and says when to go on. */
    run(parts: Parts, onPart: OnPart): Promise<Answer>;
  };
}

export type OnPart = (part: Answer) => Promise<void>;

/** The command was called in a way that it does not offer. */
export class WrongUsage extends Refusal {
  override name = "WrongUsage";
}

type Shapes = z.core.$ZodLooseShape & Record<string, z.ZodType>;

interface Spec<Shape extends Shapes> {
  readonly summary: string;
  readonly args: Shape;
  /** Returns the question that must be answered with yes first, or undefined. */
  readonly question?: (
    parts: Parts,
    args: z.output<z.ZodObject<Shape>>,
  ) => string | undefined | Promise<string | undefined>;
}

/** Makes a command; the types of `run` and `text` follow from `args`. */
export function command<Shape extends Shapes, Result>(
  spec: Spec<Shape> & {
    readonly run: (parts: Parts, args: z.output<z.ZodObject<Shape>>) => Result | Promise<Result>;
    /** The result for people. */
    readonly text: (result: Result) => string;
  },
): Command {
  return commandOf(spec, async (parts, args) => {
    const result = await spec.run(parts, args);
    return { result, text: spec.text(result) };
  });
}

const limitSchema = z.object({ limit: z.number() });

/** Makes a command that lists something of which there may be very much; `args` has a `limitOption`. */
export function listCommand<Shape extends Shapes, Item>(
  spec: Spec<Shape> & {
    readonly list: (parts: Parts, args: z.output<z.ZodObject<Shape>>) => Listing<Item>;
    /** Of the table for people, and the cells of one line. */
    readonly headings: readonly string[];
    readonly row: (item: Item) => readonly unknown[];
  },
): Command {
  return commandOf(spec, async (parts, args, onPart) => {
    const { limit } = limitSchema.parse(args);
    let isFirst = true;
    for await (const { items, total } of inParts(spec.list(parts, args), limit, parts.clock)) {
      const rows = items.map(spec.row);
      if (total !== null) {
        const text = lastLines(rows, spec.headings, isFirst, total - limit);
        return { result: { total, items }, text };
      }
      await onPart({ result: { items }, text: lines(rows, spec.headings, isFirst) });
      isFirst = false;
    }
    return { result: {}, text: "" };
  });
}

function commandOf<Shape extends Shapes>(
  spec: Spec<Shape>,
  run: (parts: Parts, args: z.output<z.ZodObject<Shape>>, onPart: OnPart) => Promise<Answer>,
): Command {
  const schema = z.strictObject(spec.args);
  return {
    summary: spec.summary,
    args: spec.args,
    asks: spec.question !== undefined,
    prepare(given) {
      const parsed = schema.safeParse(given);
      if (!parsed.success) throw new WrongUsage(describeIssue(parsed.error.issues[0]));
      const args = parsed.data;
      return {
        question: async (parts) => spec.question?.(parts, args),
        run: (parts, onPart) => run(parts, args, onPart),
      };
    },
  };
}

/** A text given by its place. */
export function argument(about: string) {
  return describe(z.string().min(1), true, "string", about);
}

/** What a ban is of, given by its place. */
export function banKindArgument() {
  return describe(z.enum(["client", "user", "address"]), true, "string", "client, user or address");
}

/** A text given by its place, that may be left out. */
export function optionalArgument(about: string) {
  return describe(z.string().min(1).optional(), true, "string", about);
}

/** `--name TEXT`. */
export function textOption(about: string) {
  return describe(z.string().min(1).optional(), false, "string", about);
}

/** A text that the operator is asked for without echo; `--name-file FILE` reads it from a file. */
export function secret(about: string) {
  return describe(z.string(), false, "string", about, { secret: true });
}

/** The text of a file that is named by its place. */
export function fileArgument(about: string) {
  return describe(z.string(), true, "string", about, { file: true });
}

/** `--name`. */
export function flagOption(about: string) {
  return describe(z.boolean().default(false), false, "boolean", about);
}

/** `--name NUMBER`, a whole number from `min` to `max`. */
export function numberOption(about: string, range: { min: number; max: number; default: number }) {
  const schema = z.int().min(range.min).max(range.max).default(range.default);
  return describe(schema, false, "number", `${about} [default: ${range.default}]`);
}

/** How many items a list shows. */
export function limitOption() {
  return numberOption("show at most so many", { min: 1, max: 1_000_000, default: 100 });
}

function describe<T extends z.ZodType>(
  schema: T,
  positional: boolean,
  type: ArgumentInfo["type"],
  about: string,
  source: Pick<ArgumentInfo, "secret" | "file"> = {},
): T {
  argumentInfo.add(schema, { positional, type, about, ...source });
  return schema;
}

function describeIssue(issue: z.core.$ZodIssue | undefined): string {
  if (issue === undefined) return "the arguments do not fit";
  if (issue.code === "unrecognized_keys") return `unknown argument ${issue.keys.join(", ")}`;
  const where = issue.path.join(".");
  return where === "" ? issue.message : `${where}: ${issue.message}`;
}
