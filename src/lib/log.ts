/** The log: pino behind the few methods that we use, so that a part can be tested with a list. */
import { pino } from "pino";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error";

export interface Log {
  /** Fields first, then a sentence. */
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A log whose lines all carry `fields`. */
  child(fields: Record<string, unknown>): Log;
  level: string;
}

/** A log to `stream` (default: standard output), one JSON document a line. */
export function createLog(level: LogLevel, stream?: { write(line: string): void }): Log {
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return stream === undefined ? pino(options) : pino(options, stream);
}

/** A log that goes nowhere. */
export const silentLog: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLog,
  level: "silent",
};
