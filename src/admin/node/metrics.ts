/** Every counter and gauge of a node under one name each: `part.name`, in lower case with underscores. */

/** Something that counts in plain number fields; nested records become further parts of the name. */
export type CounterSource = Readonly<Record<string, unknown>>;

/** Collects all number fields of the sources. */
export function collectMetrics(
  sources: Readonly<Record<string, CounterSource>>,
): Record<string, number> {
  const metrics: Record<string, number> = {};
  for (const [part, source] of Object.entries(sources)) add(metrics, part, source);
  return metrics;
}

function add(metrics: Record<string, number>, prefix: string, source: CounterSource): void {
  for (const [key, value] of Object.entries(source)) {
    const name = `${prefix}.${snake(key)}`;
    if (typeof value === "number") metrics[name] = value;
    else if (isSource(value)) add(metrics, name, value);
  }
}

const isSource = (value: unknown): value is CounterSource =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const snake = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replace(/[^a-z0-9_@.:-]+/g, "_");
