/** Puts the comparison's figures where readers look: between two marks in performance.md, and as a picture beside it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const begin = "<!-- bench: written by `npm run bench` -->";
const end = "<!-- bench: end -->";

/** Writes both into `folder`; a page without the marks, or none, gets them at its end. */
export function writeDocuments(folder: string, body: string, svg: string): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, "performance.md");
  const page = existsSync(file) ? readFileSync(file, "utf8") : "# Performance\n";
  writeFileSync(file, withFigures(page, body));
  writeFileSync(join(folder, "performance.svg"), svg);
}

/** The page with `body` between the marks. */
export function withFigures(page: string, body: string): string {
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  const block = `${begin}\n\n${body.trim()}\n\n${end}`;
  if (from < 0 || to < from) return `${page.trimEnd()}\n\n${block}\n`;
  return page.slice(0, from) + block + page.slice(to + end.length);
}
