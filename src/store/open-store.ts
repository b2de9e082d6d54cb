/** Opens the store that the settings name. Each kind has one line here. */
import { join } from "node:path";
import type { Config } from "../config/schema.js";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { openLmdb } from "./open-lmdb.js";
import type { Store } from "./store.js";

export interface OpenStoreOptions {
  readonly config: Config;
  readonly log: Log;
}

/**
 * The store, checked and ready; null with `store.kind: memory`, when nothing is kept. The caller holds the lock of the
 * data directory.
 * @throws Refusal when it cannot be had, with a sentence that says what to do
 */
export async function openStore({ config, log }: OpenStoreOptions): Promise<Store | null> {
  const { kind, durability, max_size: maxBytes } = config.store;
  switch (kind) {
    case "memory":
      return null;
    case "lmdb": {
      const directory = join(config.node.data_dir, "store");
      return openLmdb({ directory, maxBytes, durability, log });
    }
    case "redis":
      throw new Refusal("store.kind redis cannot be had yet: use lmdb");
  }
}
