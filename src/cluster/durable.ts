/** What the cluster uses of the store, and what it clears up there at start. */
import type { Clock } from "../lib/clock.js";
import type { Commits } from "../store/commits.js";
import type { Store } from "../store/store.js";
import { Outbox } from "./outbox.js";
import { StoredRows } from "./stored-rows.js";

export interface DurableParts {
  readonly store: Pick<Store, "read" | "partitions">;
  readonly commits: Pick<Commits, "touch">;
}

/** What is stored of peers (by name and id of their data directories) that are not among the `known` goes. */
export async function forgetOthers(
  { store, commits }: DurableParts,
  known: ReadonlySet<string>,
  clock: Clock,
): Promise<void> {
  for (const partition of await store.partitions("outbox/")) {
    const peer = partition.slice("outbox/".length);
    if (!known.has(peer)) new Outbox(peer, clock, commits).purge();
  }
  for (const partition of await store.partitions("rows/")) {
    const peer = partition.slice("rows/".length);
    if (!known.has(peer)) new StoredRows(peer, commits).purge();
  }
}
