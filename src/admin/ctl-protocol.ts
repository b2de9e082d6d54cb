/**
 * What `broker ctl` and a node say to each other: one JSON document a line over a Unix socket in the run
 * directory, one answer per request, in order; a long list is answered in several documents, of which all
 * but the last say that there is more. Whoever can open the socket may do everything; its mode
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
  z.object({
    ok: z.literal(true),
    result: z.unknown(),
    text: z.string(),
    /** The next document goes on with the items of this one. */
    more: z.boolean().optional(),
  }),
  /** `usage`: the command was called wrongly. */
  z.object({ ok: z.literal(false), error: z.string(), usage: z.boolean().optional() }),
  /** The question to ask before the request is sent again with `force`. */
  z.object({ confirm: z.string() }),
]);

export type CtlRequest = z.input<typeof requestSchema>;
export type CtlResponse = z.output<typeof responseSchema>;

const listSchema = z.looseObject({ items: z.array(z.unknown()) });

/** Puts the documents of one answer together. */
export class WholeAnswer {
  private readonly items: unknown[] = [];
  private readonly texts: string[] = [];

  /** Takes the next document. Returns the answer when it is the last one, else null. */
  add(response: CtlResponse): CtlResponse | null {
    const isPart = "ok" in response && response.ok;
    if (!isPart || (response.more !== true && this.texts.length === 0)) return response;
    const list = listSchema.parse(response.result);
    for (const item of list.items) this.items.push(item);
    this.texts.push(response.text);
    if (response.more === true) return null;
    return { ...response, result: { ...list, items: this.items }, text: this.texts.join("\n") };
  }
}

/** The path of a node's control socket. */
export function ctlPath(runDir: string, name: string): string {
  return join(runDir, name + suffix);
}

/** The node whose control socket has this file name, or undefined. */
export function nodeOfSocket(fileName: string): string | undefined {
  return fileName.endsWith(suffix) ? fileName.slice(0, -suffix.length) : undefined;
}
