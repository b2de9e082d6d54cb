/** One answer from the answers of all workers: lists one after the other, numbers as sums. */
import { z } from "zod";

const objectSchema = z.record(z.string(), z.unknown());

/** What one worker answered. */
export interface Part {
  readonly name: string;
  readonly result: unknown;
}

/**
 * Objects are put together key by key: items of lists say in `node` where they are from, numbers are added up, and
 * of anything else the first counts.
 */
export function merged(parts: readonly Part[]): unknown {
  const whole: Record<string, unknown> = {};
  for (const { name, result } of parts) {
    const object = objectSchema.safeParse(result).data ?? {};
    for (const [key, value] of Object.entries(object)) whole[key] = join(whole[key], value, name);
  }
  return whole;
}

function join(before: unknown, value: unknown, node: string): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item: unknown) => {
      const object = objectSchema.safeParse(item).data;
      return object === undefined ? item : { ...object, node };
    });
    return Array.isArray(before) ? [...before, ...items] : items;
  }
  if (typeof value === "number" && typeof before === "number") return before + value;
  return before === undefined ? value : before;
}
