/** Results as text for people: tables and records. */
import type { GroupMembers, Page } from "./parts.js";

/** Rows in columns, under their headings. */
export function table(headings: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = [headings, ...rows.map((row) => row.map((cell) => printable(String(cell))))];
  const widths = headings.map((_, column) => {
    return cells.reduce((most, row) => Math.max(most, row[column]?.length ?? 0), 0);
  });
  const line = (row: readonly string[]): string => {
    return row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  };
  return cells.map(line).join("\n");
}

/** Some rows of a long table; only the first lines of it have the headings. */
export function lines(
  rows: readonly (readonly unknown[])[],
  headings: readonly string[],
  isFirst: boolean,
): string {
  const all = table(headings, rows);
  return isFirst ? all : all.slice(all.indexOf("\n") + 1);
}

/** The end of a long table; says how many items are left out. */
export function lastLines(
  rows: readonly (readonly unknown[])[],
  headings: readonly string[],
  isFirst: boolean,
  left: number,
): string {
  if (rows.length === 0 && isFirst && left <= 0) return "none";
  const more = left > 0 ? [`... and ${left} more (--limit)`] : [];
  return [lines(rows, headings, isFirst), ...more].join("\n");
}

/** A page as a table; says how much was left out. */
export function pageTable<T>(
  page: Page<T>,
  headings: readonly string[],
  row: (item: T) => readonly unknown[],
): string {
  if (page.total === 0) return "none";
  const left = page.total - page.items.length;
  const more = left > 0 ? `\n... and ${left} more (--limit)` : "";
  return table(headings, page.items.map(row)) + more;
}

/** One `name: value` a line. */
export function record(fields: object): string {
  const entries = Object.entries(fields);
  const width = entries.reduce((most, [name]) => Math.max(most, name.length), 0);
  return entries
    .map(([name, value]) => `${`${name}:`.padEnd(width + 1)} ${show(value)}`)
    .join("\n");
}

/** `1 session`, `2 sessions`. */
export function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** Members of a share group in a few words; nothing for what is none. */
export function members(of: GroupMembers | undefined): string {
  if (of === undefined) return "";
  return of.waiting === 0 ? `${of.online} online` : `${of.online} online, ${of.waiting} waiting`;
}

/** A document as `--json` prints it, over several lines. */
export function json(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

/** Text from a client without the characters that a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}]/gu, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function show(value: unknown): string {
  return printable(typeof value === "object" ? JSON.stringify(value) : String(value));
}
