/** When this node was last at work and whom it was linked with: one record beside the retained messages, written now and then. */
import { z } from "zod";
import { decodeRecord, encodeRecord } from "../store/record.js";

/** Its key in the first bucket: no topic's. */
export const lastAliveKey = "alive";
const version = 1;

const schema = z.object({
  /** Wall-clock times of the last note, and of the last one at which there was a link; 0: none. */
  aliveMs: z.number(),
  linkedMs: z.number(),
  /** Names of the peers that were linked then. */
  peers: z.array(z.string()),
});
export type LastAlive = Readonly<z.infer<typeof schema>>;

export const encodeLastAlive = (alive: LastAlive): Buffer => encodeRecord(version, alive);

/** Null: it cannot be read. */
export function decodeLastAlive(record: Buffer): LastAlive | null {
  const parsed = schema.safeParse(decodeRecord(version, record)?.value);
  return parsed.success ? parsed.data : null;
}
