/**
 * What `broker ctl` and a node say to each other: one JSON document a line over a Unix socket in the run
 * directory, one answer per request, in order. Whoever can open the socket may do everything; its mode
 * and that of the directory are the protection.
 */
import { join } from "node:path";
import { z } from "zod";

/** Longest request, in bytes; room for the largest payload of a publish of the default size. */
export const requestBytesMax = 4 * 1024 * 1024;

const suffix = ".ctl.sock";

export const requestSchema = z.strictObject({
  /** A name from the table of commands. */
  command: z.string(),
  args: z.record(z.string(), z.unknown()).default({}),
  /** Go ahead without a question. */
  force: z.boolean().default(false),
});

export const responseSchema = z.union([
  z.object({ ok: z.literal(true), result: z.unknown(), text: z.string() }),
  /** `usage`: the command was called wrongly. */
  z.object({ ok: z.literal(false), error: z.string(), usage: z.boolean().optional() }),
  /** The question to ask before the request is sent again with `force`. */
  z.object({ confirm: z.string() }),
]);

export type CtlRequest = z.input<typeof requestSchema>;
export type CtlResponse = z.output<typeof responseSchema>;

/** The path of a node's control socket. */
export function ctlPath(runDir: string, name: string): string {
  return join(runDir, name + suffix);
}

/** The node whose control socket has this file name, or undefined. */
export function nodeOfSocket(fileName: string): string | undefined {
  return fileName.endsWith(suffix) ? fileName.slice(0, -suffix.length) : undefined;
}
