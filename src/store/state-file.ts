/**
 * One small JSON document that outlives the process: members, identity, incarnation. After a crash at
 * any moment the file holds the last saved value or the one before it, whole. A damaged file is never
 * read as a value and never deleted: it is moved aside and the node goes on without it.
 *
 * The file is two lines: `trellis-state 1 <first 16 hex digits of the SHA-256 of the second line>`, and
 * the JSON.
 */
import { createHash } from "node:crypto";
import { access, readFile, rename } from "node:fs/promises";
import { Refusal } from "../lib/refusal.js";
import { replaceFile } from "./replace-file.js";

/** What was found at start. */
export interface Loaded<T> {
  /** Undefined when there was no file, or a damaged one. */
  readonly value: T | undefined;
  /** Where a damaged file was moved to, and what was wrong with it; else null. */
  readonly damaged: { readonly movedTo: string; readonly why: string } | null;
}

export interface StateFile<T> {
  /** Reads the value. Rejects with a Refusal when the file is there and cannot be read. */
  load(): Promise<Loaded<T>>;
  /**
   * Makes `value` (as it is now) durable; resolves when it is. Of several saves that wait, only the
   * latest is written. Rejects with the error of the file system; the file then holds an earlier value.
   */
  save(value: T): Promise<void>;
}

/** A value that waits for its turn to be written, and whoever waits for that. */
class Waiting {
  readonly done: Promise<void>;
  resolve: () => void = () => undefined;
  reject: (error: unknown) => void = () => undefined;

  constructor(public text: string) {
    this.done = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

const formatLine = "trellis-state 1";
const damagedMax = 9;

/**
 * A state file on disk. The caller must hold the lock of its directory (directory-lock.ts). `check`
 * turns parsed JSON into a value and throws when it is none: the file then counts as damaged.
 */
export class DiskStateFile<T> implements StateFile<T> {
  private waiting: Waiting | undefined;
  private writing = false;

  constructor(
    private readonly path: string,
    private readonly check: (parsed: unknown) => T,
  ) {}

  async load(): Promise<Loaded<T>> {
    let content: string;
    try {
      content = await readFile(this.path, "utf8");
    } catch (error) {
      if (codeOf(error) === "ENOENT") return { value: undefined, damaged: null };
      throw new Refusal(`cannot read ${this.path}: ${messageOf(error)}`);
    }
    try {
      return { value: this.check(JSON.parse(body(content))), damaged: null };
    } catch (error) {
      const movedTo = await this.moveAside();
      return { value: undefined, damaged: { movedTo, why: messageOf(error) } };
    }
  }

  save(value: T): Promise<void> {
    const text = JSON.stringify(value);
    this.waiting ??= new Waiting(text);
    this.waiting.text = text;
    const { done } = this.waiting;
    if (!this.writing) void this.writeAll();
    return done;
  }

  /** Writes until nobody waits. Never rejects: each error goes to those who wait for that write. */
  private async writeAll(): Promise<void> {
    this.writing = true;
    while (this.waiting !== undefined) {
      const { text, resolve, reject } = this.waiting;
      this.waiting = undefined;
      await this.write(text).then(resolve, reject);
    }
    this.writing = false;
  }

  private write(text: string): Promise<void> {
    return replaceFile(this.path, `${formatLine} ${checksum(text)}\n${text}\n`);
  }

  /** The first free of nine names; when none is, the ninth is replaced: the first damage tells most. */
  private async moveAside(): Promise<string> {
    for (let number = 1; ; number++) {
      const target = `${this.path}.damaged-${number}`;
      if (number < damagedMax && (await exists(target))) continue;
      try {
        await rename(this.path, target);
        return target;
      } catch (error) {
        throw new Refusal(`cannot move the damaged ${this.path} aside: ${messageOf(error)}`);
      }
    }
  }
}

/** The second line of a file, checked. Throws when the file is not as it was written. */
function body(content: string): string {
  const end = content.indexOf("\n");
  const head = content.slice(0, Math.max(end, 0));
  if (!head.startsWith(`${formatLine} `)) throw new Error("it does not begin as a state file");
  const text = content.slice(end + 1, -1);
  if (!content.endsWith("\n") || head !== `${formatLine} ${checksum(text)}`) {
    throw new Error("its checksum is wrong");
  }
  return text;
}

function checksum(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex").slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
