/** Opens the store that the settings name. Each kind has a few lines here, and is loaded only when it is wanted. */
import { join } from "node:path";
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { LeaseBook } from "./shared.js";
import type { Store } from "./store.js";

export interface OpenStoreOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Log;
}

export interface OpenedStore {
  readonly store: Store;
  /** Null: other nodes do not reach what is stored there. */
  readonly leases: LeaseBook | null;
}

/**
 * The store, checked and ready; null with `store.kind: memory`, when nothing is kept. The caller holds the lock of the
 * data directory.
 * @throws Refusal when it cannot be had, with a sentence that says what to do
 */
export async function openStore(options: OpenStoreOptions): Promise<OpenedStore | null> {
  const { config, clock, log } = options;
  const { kind, durability, max_size: maxBytes, redis: settings } = config.store;
  switch (kind) {
    case "memory":
      return null;
    case "lmdb": {
      const { openLmdb } = await import("./open-lmdb.js");
      const directory = join(config.node.data_dir, "store");
      return { store: await openLmdb({ directory, maxBytes, durability, log }), leases: null };
    }
    case "redis": {
      const { openRedisStore } = await import("./redis/open.js");
      return openRedisStore({ settings, durability, nodeName: config.node.name, clock, log });
    }
  }
}
