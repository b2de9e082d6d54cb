/** The settings as one list, by dotted key: what the tree of the schema looks like to everything else. */
import { z } from "zod";
import { assert } from "../lib/assert.js";
import { configSchema } from "./schema.js";
import { type SettingInfo, settingInfo } from "./setting.js";

/** One setting: where it is in the tree, how it is checked, and what it says about itself. */
export interface Setting {
  /** Dotted, as in `limits.max_packet`. */
  readonly key: string;
  readonly info: SettingInfo;
  readonly leaf: z.ZodType;
}

/** Every setting by key, in the order of the schema. */
export const settings: ReadonlyMap<string, Setting> = new Map(
  collect("", configSchema).map((setting) => [setting.key, setting]),
);

/** Every section, such as `limits` or `cluster.discovery`. */
export const sections: ReadonlySet<string> = new Set(
  [...settings.keys()].flatMap((key) => {
    const words = key.split(".");
    return words.slice(1).map((_, index) => words.slice(0, index + 1).join("."));
  }),
);

/** The key that was probably meant by one that does not exist, or undefined. */
export function nearestKey(unknown: string): string | undefined {
  const least = { key: "", distance: Math.max(2, Math.ceil(unknown.length / 3)) };
  for (const key of [...settings.keys(), ...sections]) {
    const distance = editDistance(unknown, key);
    if (distance < least.distance) Object.assign(least, { key, distance });
  }
  if (least.key !== "") return least.key;
  // The right word in the wrong section.
  const word = unknown.split(".").at(-1) ?? "";
  return [...settings.keys()].find((key) => key.endsWith(`.${word}`));
}

/** "There is no such setting", with the nearest one that exists. */
export function unknownKey(key: string): string {
  const nearest = nearestKey(key);
  const hint = nearest === undefined ? "" : ` (did you mean ${nearest}?)`;
  return `there is no setting ${key}${hint}; \`broker config reference\` lists all of them`;
}

function collect(prefix: string, schema: z.ZodType): Setting[] {
  const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema;
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape).flatMap(([word, child]) => {
      assert(child instanceof z.ZodType, `${prefix}${word} is no zod type`);
      return collect(prefix === "" ? word : `${prefix}.${word}`, child);
    });
  }
  const info = settingInfo.get(schema);
  assert(info !== undefined, `setting ${prefix} has no explanation`);
  return [{ key: prefix, info, leaf: schema }];
}

/** Levenshtein distance: insertions, deletions and replacements from one word to the other. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (const [j, other] of [...b].entries()) {
      const replace = (row[j] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replace, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
