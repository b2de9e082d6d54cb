/**
 * The seam behind which state is durable: partitions of sorted keys, the least that serves an ordered file and
 * Redis Cluster alike. One contract suite (test/contract/store.ts) runs against every implementation.
 */

/** What a commit does in one partition, in order. Keys compare as UTF-8 bytes. */
export type Operation =
  | { readonly kind: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly kind: "delete"; readonly key: string }
  /** Deletes from `from` up to, not including, `to`. */
  | { readonly kind: "deleteRange"; readonly from: string; readonly to: string };

/** Atomic: all operations of a partition's write happen, or none. */
export interface PartitionWrite {
  readonly partition: string;
  readonly operations: readonly Operation[];
  /** Epoch of the owner; the write is refused as `fenced` when a higher one has written to the partition. */
  readonly fence?: number;
}

/**
 * Why a write did not happen, as far as is known: it may be there all the same, so it is never acknowledged and
 * always expected. `full`: no space, comes right by itself when there is some. `unavailable`: the store cannot
 * be reached, as before. `fenced`: another owner writes here. `broken`: an I/O error; nothing is safe any more.
 */
export interface StoreFailure {
  readonly kind: "full" | "unavailable" | "fenced" | "broken";
  readonly why: string;
}

export type Row = readonly [key: string, value: Buffer];

/** Most bytes of a partition's name, and of a key, in UTF-8. */
export const partitionBytesMax = 512;
export const keyBytesMax = 1024;

export interface Store {
  /** What it did, and what it takes up, by name; for metrics. */
  readonly counters?: Readonly<Record<string, number>>;
  /** All writes of one call happen, or none; only what is `fenced` is left out by itself. */
  readonly atomic: boolean;
  /**
   * Rows of a partition in key order, from `from` (included) on, `limit` at most: what was written, unseen. Whoever
   * decodes a record leaves a damaged one out (record.ts). Rejects with an Error whose message says what to do.
   */
  read(partition: string, from?: string, limit?: number): Promise<Row[]>;
  /**
   * One outcome per write, null where it is durable. Calls may overlap; they happen in order. A partition comes once in a
   * call. The values are not to be changed before the outcome. Rejects with an AssertionError for a name that breaks its
   * limits (keys.ts), before anything happens, and never else.
   */
  write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]>;
  /** Names of the partitions that begin with `prefix` and hold rows, in order, after `after`, `limit` at most. */
  partitions(prefix: string, after?: string, limit?: number): Promise<string[]>;
  /** Resolves when everything written so far would survive a power cut, as far as the store can tell. */
  flush(): Promise<void>;
  close(): Promise<void>;
  /** After much was read: gives back what memory that took. A store that takes none has no such method. */
  rest?(): Promise<void>;
  /**
   * Why nothing new should be taken though writes still succeed (space runs out), or null: what remains is for taking
   * out what is stored. A store that cannot tell has no such method. Rejects with an Error when it cannot tell now.
   */
  pressure?(): Promise<StoreFailure | null>;
}
