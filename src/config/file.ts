/** Reads the YAML file into one value per setting, each with the line that it stands on. */
import { readFileSync } from "node:fs";
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import { sections, settings, unknownKey } from "./settings.js";

/** The value of one setting as the file holds it. */
export interface GivenValue {
  readonly key: string;
  readonly value: unknown;
  /** `file:line`. */
  readonly origin: string;
}

export interface FileContent {
  readonly values: readonly GivenValue[];
  readonly problems: readonly string[];
}

/** Reads `path`. A file that cannot be read, or is no YAML, is a problem like any other. */
export function readConfigFile(path: string): FileContent {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const why = error instanceof Error && "code" in error ? String(error.code) : String(error);
    return { values: [], problems: [`the file ${path} cannot be read (${why})`] };
  }
  return parseConfigText(text, path);
}

/** As `readConfigFile`, of text; `path` is for the messages. */
export function parseConfigText(text: string, path: string): FileContent {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const line = (offset: number): string => `${path}:${lines.linePos(offset).line}`;
  if (document.errors.length > 0) {
    const problems = document.errors.map((error) => {
      return `${line(error.pos[0])}: ${error.message.split("\n")[0]?.replace(/ at line \d.*$/, "")}`;
    });
    return { values: [], problems };
  }
  const reader = new Reader(document, line);
  if (document.contents !== null) reader.section("", document.contents);
  return reader;
}

class Reader {
  readonly values: GivenValue[] = [];
  readonly problems: string[] = [];

  constructor(
    private readonly document: Document,
    private readonly line: (offset: number) => string,
  ) {}

  /** Reads a section; one without a value is empty. */
  section(prefix: string, content: Node): void {
    if (isScalar(content) && content.value === null) return;
    if (!isMap(content)) {
      const what = prefix === "" ? "the file" : prefix;
      const shape =
        prefix === "" ? "sections of settings" : "settings on lines of their own below it";
      this.problems.push(`${this.line(content.range?.[0] ?? 0)}: ${what} must hold ${shape}`);
      return;
    }
    for (const pair of content.items) {
      if (!isScalar(pair.key)) continue;
      const word = String(pair.key.value);
      const key = prefix === "" ? word : `${prefix}.${word}`;
      const origin = this.line(pair.key.range?.[0] ?? 0);
      // Values of a parsed document are nodes; the type also covers documents built by hand.
      const value = pair.value as Node | null;
      if (settings.has(key)) {
        this.values.push({ key, value: value?.toJS(this.document) ?? null, origin });
      } else if (sections.has(key)) {
        if (value !== null) this.section(key, value);
      } else {
        this.problems.push(`${origin}: ${unknownKey(key)}`);
      }
    }
  }
}
