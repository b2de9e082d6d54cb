/**
 * Durations and sizes as people write them, and back. Inside the program a duration is a number of
 * milliseconds and a size a number of bytes; only this file knows the suffixes.
 */

const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

/** What `forever` stands for: 136 years, the longest that MQTT can say, where it means that as well. */
const foreverMs = 0xffff_ffff * 1000;

/** Milliseconds of `5s`, `500ms`, `10m`, `2h`, `7d`, `forever` or a plain number; undefined: none of those. */
export function parseDuration(value: unknown): number | undefined {
  return value === "forever" ? foreverMs : parse(value, durationUnits);
}

/** Bytes of `64KiB`, `1MiB`, `1GiB` or a plain number; undefined: none of those. */
export function parseSize(value: unknown): number | undefined {
  return parse(value, sizeUnits);
}

/** The shortest exact way to write `ms` milliseconds. */
export function formatDuration(ms: number): string {
  return ms === foreverMs ? "forever" : format(ms, durationUnits);
}

/** The shortest exact way to write `bytes`. */
export function formatSize(bytes: number): string {
  return format(bytes, sizeUnits);
}

function parse(value: unknown, units: Record<string, number>): number | undefined {
  if (typeof value === "number") return whole(value);
  if (typeof value !== "string") return undefined;
  const match = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*$/.exec(value);
  if (match === null) return undefined;
  const [, digits = "", suffix = ""] = match;
  const factor = suffix === "" ? 1 : Object.hasOwn(units, suffix) ? units[suffix] : undefined;
  return factor === undefined ? undefined : whole(Number(digits) * factor);
}

function whole(value: number): number | undefined {
  return Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

function format(value: number, units: Record<string, number>): string {
  let best = `${value}${Object.keys(units)[0]}`;
  if (value === 0) return best;
  for (const [suffix, factor] of Object.entries(units)) {
    if (value % factor === 0) best = `${value / factor}${suffix}`;
  }
  return best;
}
