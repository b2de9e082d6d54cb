/** Opens the lmdb store of a node. */
import { mkdir } from "node:fs/promises";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { type LmdbOptions, LmdbStore } from "./lmdb.js";

export interface OpenLmdbOptions extends LmdbOptions {
  readonly log: Log;
}

/** @throws Refusal when the store cannot be opened */
export async function openLmdb({ log: _log, ...options }: OpenLmdbOptions): Promise<LmdbStore> {
  const { directory } = options;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    return new LmdbStore(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(`cannot open the store in ${directory}: ${why}`);
  }
}
