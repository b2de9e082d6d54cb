/** The terminal. The only file that writes to standard output and error, or asks the operator. */
import { spawnSync } from "node:child_process";
import { createInterface } from "node:readline";
import { Refusal } from "../lib/refusal.js";

export interface Terminal {
  /** Lines for the reader of standard output. */
  print(text: string): void;
  /** Lines for standard error. */
  printError(text: string): void;
  /** One line on standard error that the next call writes over; empty: it goes. Nothing where that is no terminal. */
  progress(text: string): void;
  /** Asks on standard output, or on error to keep output clean; undefined: the input has ended. */
  ask(question: string, where?: "output" | "error"): Promise<string | undefined>;
  /**
   * Asks on standard error without showing what is typed; undefined: the input has ended.
   * @throws Refusal when it cannot be hidden
   */
  askSecret(question: string): Promise<string | undefined>;
  /** Reads commands until the input ends or `onLine` resolves to false. */
  prompt(label: string, onLine: (line: string) => Promise<boolean>): Promise<void>;
}

/** The terminal of this process. */
export const realTerminal: Terminal = {
  print: (text) => write(process.stdout, `${text}\n`),
  printError: (text) => write(process.stderr, `${text}\n`),
  progress: (text) => {
    if (process.stderr.isTTY) write(process.stderr, `\r\u001b[K${text}`);
  },
  ask(question, where = "output") {
    const reader = lineReader();
    write(where === "output" ? process.stdout : process.stderr, `${question} `);
    return reader.next();
  },
  async askSecret(question) {
    const reader = lineReader();
    const restore = hideInput();
    write(process.stderr, `${question} `);
    try {
      return await reader.next();
    } finally {
      restore();
      write(process.stderr, "\n");
    }
  },
  async prompt(label, onLine) {
    const reader = lineReader();
    for (;;) {
      write(process.stdout, label);
      const line = await reader.next();
      if (line === undefined || !(await onLine(line))) return;
    }
  },
};

function write(stream: NodeJS.WriteStream, text: string): void {
  // A reader that has gone, such as `head`, is no error of ours.
  if (stream.listenerCount("error") === 0) stream.on("error", () => undefined);
  stream.write(text);
}

/**
 * Lets a terminal show nothing of what is typed, until the returned function is called. Node itself
 * restores the terminal when the process ends before that, also by a signal.
 * @throws Refusal when the terminal cannot be told
 */
function hideInput(): () => void {
  if (!process.stdin.isTTY) return () => undefined;
  // Raw input would take the keys that edit a line from the operator; the terminal goes on with them.
  const tell = (word: string): boolean =>
    spawnSync("stty", [word], { stdio: ["inherit", "ignore", "ignore"] }).status === 0;
  if (!tell("-echo")) {
    throw new Refusal("what is typed here cannot be hidden (stty fails): give it in a file");
  }
  return () => void tell("echo");
}

let shared: { next(): Promise<string | undefined> } | undefined;

/** One reader for the whole process: a second one would miss the lines that the first has taken. */
function lineReader(): { next(): Promise<string | undefined> } {
  shared ??= makeLineReader();
  return shared;
}

function makeLineReader(): { next(): Promise<string | undefined> } {
  const lines: string[] = [];
  let ended = false;
  let wake: (() => void) | undefined;
  // A file or /dev/null as standard input has neither of them.
  const input: { ref?(): unknown; unref?(): unknown } = process.stdin;
  const reader = createInterface({ input: process.stdin });
  reader.on("line", (line) => {
    lines.push(line);
    wake?.();
  });
  reader.on("close", () => {
    ended = true;
    wake?.();
  });
  return {
    async next() {
      input.ref?.();
      while (lines.length === 0 && !ended) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      // An answer has been read: standard input alone must not keep the process alive.
      input.unref?.();
      return lines.shift();
    },
  };
}
