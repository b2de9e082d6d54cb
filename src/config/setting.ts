/**
 * The kinds of settings. Each function here makes one leaf of the schema: a zod type that accepts what
 * an operator may write, with the words that explain it beside it, so that no setting can exist
 * without its explanation, unit, default and allowed range.
 */
import { z } from "zod";
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.js";

/** What every setting must say about itself. */
interface Words {
  /** What it sets, and what follows from a higher or lower value. */
  readonly about: string;
}

/** The explanation of one setting, as the reference and error messages print it. */
export interface SettingInfo extends Words {
  readonly type: string;
  /** Unit of a plain number; empty when there is none. */
  readonly unit: string;
  /** Default, as it would be written in YAML (a flow scalar or list). */
  readonly defaultText: string;
  /** What is allowed, as the end of the sentence "must be ...". */
  readonly allowed: string;
  /** Turns the text of an environment variable or flag into what the YAML file would hold. */
  readonly fromText: (text: string) => unknown;
  /** A value after parsing, in the form in which the file would hold it. */
  readonly format: (value: unknown) => string;
  /** What exactly is wrong in a value with parts, from the key on: "[0].port is ...; it must be ...". */
  readonly problem?: (value: unknown) => string | undefined;
}

/** Explanations by schema leaf. */
export const settingInfo = z.registry<SettingInfo>();

interface Range {
  readonly min: number;
  readonly max: number;
}

const plainText = (text: string): unknown => text;
const numberFromText = (text: string): unknown => (/^-?\d+$/.test(text) ? Number(text) : text);
const flagWords = new Map([
  ["true", true],
  ["false", false],
  ["null", null],
]);
const asWritten = (value: unknown): string => JSON.stringify(value);

/** A whole number. `unit` names what is counted. */
export function integer(options: Words & Range & { default: number; unit: string }) {
  const { min, max } = options;
  const leaf = z.int().min(min).max(max).default(options.default);
  return register(leaf, {
    about: options.about,
    type: "integer",
    unit: options.unit,
    defaultText: String(options.default),
    allowed: `a whole number from ${min} to ${max}`,
    fromText: numberFromText,
    format: String,
  });
}

/** A span of time; milliseconds after parsing. */
export function duration(options: Words & { default: string; min: string; max: string }) {
  return measure("duration", "ms", parseDuration, formatDuration, "500ms, 5s, 10m, 7d", options);
}

/** An amount of memory or data; bytes after parsing. */
export function size(options: Words & { default: string; min: string; max: string }) {
  return measure("size", "bytes", parseSize, formatSize, "64KiB, 1MiB, 2GiB", options);
}

/** `true` or `false`. */
export function flag(options: Words & { default: boolean }) {
  return register(z.boolean().default(options.default), {
    about: options.about,
    type: "boolean",
    unit: "",
    defaultText: String(options.default),
    allowed: "true or false",
    fromText: (value) => (value === "true" ? true : value === "false" ? false : value),
    format: String,
  });
}

/** `true`, `false`, or null: not set. */
export function flagOrUnset(options: Words) {
  return register(z.boolean().nullable().default(null), {
    about: options.about,
    type: "boolean",
    unit: "",
    defaultText: "null",
    allowed: "true or false, or null for not set",
    fromText: (value) => (flagWords.has(value) ? flagWords.get(value) : value),
    format: String,
  });
}

/** One of a few words. */
export function oneOf<const T extends readonly [string, ...string[]]>(
  words: T,
  options: Words & { default: T[number] },
) {
  return register(
    z.enum(words).default(() => options.default),
    {
      about: options.about,
      type: "word",
      unit: "",
      defaultText: options.default,
      allowed: `one of ${words.join(", ")}`,
      fromText: plainText,
      format: String,
    },
  );
}

/**
 * Text that must match `pattern`. `default` need not (an empty one stands for "not set"), and
 * `defaultText` says what stands in its place when it is worked out at start.
 */
export function text(
  options: Words & {
    type: string;
    pattern: RegExp;
    allowed: string;
    default: string;
    defaultText?: string;
  },
) {
  return register(z.string().regex(options.pattern).default(options.default), {
    about: options.about,
    type: options.type,
    unit: "",
    defaultText: options.defaultText ?? JSON.stringify(options.default),
    allowed: options.allowed,
    fromText: plainText,
    format: asWritten,
  });
}

/** Text that nobody may see: neither it nor what was wrong in it is ever printed. Empty: not set. */
export function secret(options: Words) {
  return register(
    z
      .string()
      .regex(/^[^\r\n\0]{0,1024}$/)
      .default(""),
    {
      about: options.about,
      type: "secret",
      unit: "",
      defaultText: '""',
      allowed: "text of one line, at most 1024 characters",
      fromText: plainText,
      format: (value) => (value === "" ? '""' : '"***"'),
      problem: () => " must be text of one line, at most 1024 characters (it is not shown here)",
    },
  );
}

/** A list of texts, each of which must match `pattern`. In text form: separated by commas. */
export function list(
  options: Words & { pattern: RegExp; allowed: string; default?: readonly string[] },
) {
  const { default: standard = [] } = options;
  const leaf = z.array(z.string().regex(options.pattern)).default(() => [...standard]);
  return register(leaf, {
    about: options.about,
    type: "list",
    unit: "",
    defaultText: `[${standard.map(asWritten).join(", ")}]`,
    allowed: options.allowed,
    fromText: listFromText,
    format: asWritten,
  });
}

/**
 * A list of objects with settings of their own: `item` is an object of leaves, or a union of such objects by
 * their `kind`. In text form: JSON.
 */
export function objects<T extends z.ZodObject | z.ZodDiscriminatedUnion<readonly z.ZodObject[]>>(
  item: T,
  options: Words & { allowed: string },
) {
  return register(z.array(item).default([]), {
    about: options.about,
    type: "list",
    unit: "",
    defaultText: "[]",
    allowed: options.allowed,
    fromText: jsonFromText,
    format: asWritten,
    problem: (value) => (Array.isArray(value) ? firstProblem(item, value) : undefined),
  });
}

/** A range of port numbers, `first-last`; a pair of numbers after parsing. */
export function portRange(options: Words & { default: string }) {
  const read = z.unknown().transform((value, context): [number, number] => {
    const range = parsePortRange(value);
    if (range === undefined) context.addIssue("not a port range");
    return range ?? [0, 0];
  });
  const standard = parsePortRange(options.default) ?? [0, 0];
  return register(
    read.default(() => standard),
    {
      about: options.about,
      type: "port range",
      unit: "",
      defaultText: JSON.stringify(options.default),
      allowed: "two ports from 1 to 65535, first-last, or 0-0 for any free port",
      fromText: plainText,
      format: (value) =>
        Array.isArray(value) ? JSON.stringify(value.join("-")) : asWritten(value),
    },
  );
}

function measure(
  type: string,
  unit: string,
  parse: (value: unknown) => number | undefined,
  format: (value: number) => string,
  examples: string,
  options: Words & { default: string; min: string; max: string },
) {
  const min = parse(options.min) ?? 0;
  const max = parse(options.max) ?? 0;
  const read = z.unknown().transform((value, context): number => {
    const parsed = parse(value);
    if (parsed === undefined || parsed < min || parsed > max) context.addIssue("out of range");
    return parsed ?? 0;
  });
  return register(read.default(parse(options.default) ?? 0), {
    about: options.about,
    type,
    unit,
    defaultText: options.default,
    allowed: `a ${type} (such as ${examples}) from ${options.min} to ${options.max}`,
    fromText: numberFromText,
    format: (value) => (typeof value === "number" ? format(value) : asWritten(value)),
  });
}

function parsePortRange(value: unknown): [number, number] | undefined {
  const match = typeof value === "string" ? /^(\d{1,5})-(\d{1,5})$/.exec(value) : null;
  if (match === null) return undefined;
  const first = Number(match[1]);
  const last = Number(match[2]);
  if (first === 0 && last === 0) return [0, 0];
  return first >= 1 && first <= last && last <= 65535 ? [first, last] : undefined;
}

function listFromText(value: string): unknown {
  const inner = value.trim().replace(/^\[(.*)\]$/s, "$1");
  if (inner.trim() === "") return [];
  return inner.split(",").map((item) => item.trim().replace(/^(["'])(.*)\1$/, "$2"));
}

function jsonFromText(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** The first item that is wrong, and where. */
function firstProblem(item: z.ZodType, values: readonly unknown[]): string | undefined {
  for (const [index, value] of values.entries()) {
    const problem = problemIn(item, value);
    if (problem !== undefined) return `[${index}]${problem}`;
  }
  return undefined;
}

function problemIn(item: z.ZodType, value: unknown): string | undefined {
  if (item.safeParse(value).success) return undefined;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return ` is ${asWritten(value)}; it must be an object of settings`;
  }
  if (item instanceof z.ZodDiscriminatedUnion) return problemOfKind(item, value);
  if (!(item instanceof z.ZodObject)) return undefined;
  const leaves = new Map(Object.entries(item.shape));
  for (const key of Object.keys(value)) {
    if (!leaves.has(key))
      return `.${key} is no setting; there are ${[...leaves.keys()].join(", ")}`;
  }
  const given = new Map(Object.entries(value));
  for (const [key, leaf] of leaves) {
    if (!(leaf instanceof z.ZodType) || leaf.safeParse(given.get(key)).success) continue;
    const info = settingInfo.get(leaf);
    const inside = info?.problem?.(given.get(key));
    if (inside !== undefined) return `.${key}${inside}`;
    const allowed = info?.allowed ?? "given, of letters, digits, _ and -";
    return `.${key} is ${asWritten(given.get(key) ?? null)}; it must be ${allowed}`;
  }
  return undefined;
}

/** The kinds of a union are known by their literal `kind`. */
function problemOfKind(union: z.ZodDiscriminatedUnion, value: object): string | undefined {
  const kinds: unknown[] = [];
  const given = "kind" in value ? value.kind : null;
  for (const option of union.options) {
    if (!(option instanceof z.ZodObject) || !(option.shape.kind instanceof z.ZodLiteral)) continue;
    if (option.shape.kind.value === given) return problemIn(option, value);
    kinds.push(option.shape.kind.value);
  }
  return `.kind is ${asWritten(given)}; it must be one of ${kinds.join(", ")}`;
}

function register<T extends z.ZodType>(leaf: T, info: SettingInfo): T {
  settingInfo.add(leaf, info);
  return leaf;
}
