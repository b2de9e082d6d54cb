/** What a node's process tells the one that started it, over Node's channel between processes. */
import { z } from "zod";

/** The outcome of a start. */
export const startOutcome = z.union([
  z.object({
    started: z.object({
      name: z.string(),
      listeners: z
        .array(z.object({ kind: z.string(), address: z.string(), port: z.number() }))
        .readonly(),
      linkPort: z.number(),
      members: z.array(z.string()).readonly(),
      /** Of a node with workers, whose members these are not. */
      workers: z
        .array(z.object({ name: z.string(), linkPort: z.number() }))
        .readonly()
        .optional(),
    }),
  }),
  z.object({ refused: z.string() }),
]);

export type StartOutcome = z.output<typeof startOutcome>;

/** Tells the parent, if there is one that listens. */
export function tellParent(outcome: z.input<typeof startOutcome>): void {
  // The parent may be gone by the time that it is told: nobody needs to hear of that.
  if (process.connected) process.send?.(outcome, undefined, undefined, () => undefined);
}
