/** What happened in a world: the last events in words, and a fingerprint of all of them. */
import { hashBytes, hashString, mix32 } from "../../../src/lib/hash.js";
import type { Log } from "../../../src/lib/log.js";

const linesKept = 400;

export class Trace {
  /** Changes with every event, its time and its order: equal only for equal histories. */
  fingerprint = 0;
  private readonly lines: string[] = [];

  constructor(private readonly nowMs: () => number) {}

  /** Adds a line. */
  note(text: string): void {
    const line = `${this.nowMs().toFixed(3).padStart(11)}  ${text}`;
    this.mix(hashString(line));
    this.lines.push(line);
    if (this.lines.length > 2 * linesKept) this.lines.splice(0, linesKept);
  }

  /** Takes bytes into the fingerprint that are not worth a line. */
  take(bytes: Buffer): void {
    this.mix(hashBytes(bytes, 0, bytes.length) ^ Math.floor(this.nowMs() * 1000));
  }

  /** The latest events. */
  latest(): string {
    return this.lines.slice(-linesKept).join("\n");
  }

  private mix(hash: number): void {
    this.fingerprint = mix32(Math.imul(this.fingerprint, 31) + hash);
  }
}

/** The log of a node, as lines of the trace. */
export function traceLog(trace: Trace, node: string, bound: Record<string, unknown> = {}): Log {
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      const all = JSON.stringify({ ...bound, ...fields });
      trace.note(`${node} ${level} ${message}${all === "{}" ? "" : ` ${all}`}`);
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (fields) => traceLog(trace, node, { ...bound, ...fields }),
    level: "debug",
  };
}
