/** The terminal. The only file that writes to standard output and error, or asks the operator. */
import { createInterface } from "node:readline";

export interface Terminal {
  /** Lines for the reader of standard output. */
  print(text: string): void;
  /** Lines for standard error. */
  printError(text: string): void;
  /** Asks on standard output, or on error to keep output clean; undefined: the input has ended. */
  ask(question: string, where?: "output" | "error"): Promise<string | undefined>;
  /** Reads commands until the input ends or `onLine` resolves to false. */
  prompt(label: string, onLine: (line: string) => Promise<boolean>): Promise<void>;
}

/** The terminal of this process. */
export const realTerminal: Terminal = {
  print: (text) => write(process.stdout, `${text}\n`),
  printError: (text) => write(process.stderr, `${text}\n`),
  ask(question, where = "output") {
    const reader = lineReader();
    write(where === "output" ? process.stdout : process.stderr, `${question} `);
    return reader.next();
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
