/**
 * The store in one file by lmdb, for one process. A call of `write` is one transaction: all of it is there or none, after
 * any end of the process and after a power cut. Transactions happen one after the other, in the order of the calls.
 */
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { formatSize } from "../config/units.js";
import { checkNames, checkPartition, compareKeys } from "./keys.js";
import {
  type CommitEvents,
  type Database,
  fenceKey,
  fencePrefix,
  leaveOpenAtExit,
  openDatabase,
  ownEnd,
  partitionEnd,
  rowKey,
  closeDatabase,
  watchCommits,
} from "./lmdb-database.js";
import { commitCause, LmdbError, storeFailure } from "./lmdb-failure.js";
import {
  copyDatabase,
  databaseFile,
  diskSpace,
  emptyDirectory,
  markClean,
  syncPath,
} from "./lmdb-files.js";
import { fenced } from "./memory.js";
import type { Operation, PartitionWrite, Row, Store, StoreFailure } from "./store.js";

export interface LmdbOptions {
  /** Of the database; it exists, and what is in it has been checked (open-lmdb.ts). */
  readonly directory: string;
  /** Most bytes of all that is stored. */
  readonly maxBytes: number;
  readonly durability: "process" | "power";
}

/** What the store takes up. */
export interface StoreUse {
  readonly records: number;
  /** Of what is stored, with what is between it. */
  readonly liveBytes: number;
  readonly maxBytes: number;
  /** Of the file, with the space that was freed and will be used again. */
  readonly fileBytes: number;
}

/**
 * So many commits may be visible and not yet on the disk: each holds one of the four threads that Node has for such
 * work, and all of them may be lost in a power cut.
 */
const unflushedMax = 2;

/** So much of a disk is left free (or a sixteenth of a small one), so that what is stored can still be taken out. */
const reserveBytes = 64 * 1024 * 1024;

/** Address space past the limit, for what is under way when it is reached. */
const spareMapBytes = 1024 * 1024 * 1024;

export class LmdbStore implements Store {
  readonly atomic = true;
  private readonly done = { commits: 0, puts: 0, deletes: 0, put_bytes: 0, failures: 0 };
  private database: Database;
  /** Settled when all writes so far have their outcomes. */
  private last: Promise<unknown>;
  /** While the file is replaced; reads wait for it. */
  private replacing: Promise<void> | null = null;
  /** Settled when no backup is under way. */
  private copying: Promise<unknown> = Promise.resolve();
  private lastUse: StoreUse;
  private closed = false;
  private starting: CommitEvents | null = null;
  private unflushed = 0;
  private onFlushed: () => void = () => undefined;
  private broken: StoreFailure | null = null;

  /** @throws Error of lmdb when the file cannot be opened */
  constructor(private readonly options: LmdbOptions) {
    this.database = this.open();
    this.lastUse = this.readUse();
    this.last = this.forgetFences();
  }

  async read(partition: string, from = "", limit?: number): Promise<Row[]> {
    checkPartition(partition);
    while (this.replacing !== null) await this.replacing;
    if (this.closed) throw new Error("the store is closed");
    const start = rowKey(partition, from);
    const end = partitionEnd(partition);
    const keyAt = partition.length + 1;
    const rows: Row[] = [];
    for (const { key, value } of this.database.getRange({ start, end, ...limited(limit) })) {
      rows.push([key.slice(keyAt), value]);
    }
    return rows;
  }

  async partitions(prefix: string, after?: string, limit?: number): Promise<string[]> {
    while (this.replacing !== null) await this.replacing;
    if (this.closed) throw new Error("the store is closed");
    const most = limit ?? Number.POSITIVE_INFINITY;
    const names: string[] = [];
    let start = prefix === "" ? ownEnd : prefix;
    if (after !== undefined && compareKeys(after, prefix) >= 0) start = partitionEnd(after);
    while (names.length < most) {
      const name = this.partitionAt(start);
      if (name === null || !name.startsWith(prefix)) break;
      names.push(name);
      start = partitionEnd(name);
    }
    return names;
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    checkNames(writes);
    const done = this.last.then(() => this.commit(writes));
    this.last = done;
    return done;
  }

  async flush(): Promise<void> {
    await this.last;
    await this.database.flushed;
  }

  async close(): Promise<void> {
    await this.last;
    // lmdb waits for what it flushes; a read meanwhile would end the process.
    this.closed = true;
    await closeDatabase(this.database);
    // Without the note, on a full disk say, the next start looks through the file.
    if (this.broken === null) await markClean(this.options.directory).catch(() => undefined);
  }

  async pressure(): Promise<StoreFailure | null> {
    const { liveBytes, maxBytes } = this.use();
    if (liveBytes >= maxBytes) {
      const why = `the store holds ${formatSize(maxBytes)}, as much as store.max_size allows`;
      return { kind: "full", why };
    }
    const { freeBytes, totalBytes } = await diskSpace(this.options.directory);
    if (freeBytes >= Math.min(reserveBytes, totalBytes / 16)) return null;
    return { kind: "full", why: `the disk has only ${freeBytes} bytes left` };
  }

  get counters(): Readonly<Record<string, number>> {
    const { records, liveBytes, maxBytes, fileBytes } = this.use();
    const use = { records, live_bytes: liveBytes, max_bytes: maxBytes, file_bytes: fileBytes };
    return { ...this.done, ...use, unflushed: this.unflushed };
  }

  /** As of the last commit; while the file is replaced, and once it is closed, as of the last time this was asked. */
  use(): StoreUse {
    // A database that is being closed must not be asked: lmdb would end the process a moment later.
    if (this.replacing === null && !this.closed) this.lastUse = this.readUse();
    return this.lastUse;
  }

  private readUse(): StoreUse {
    // Not in the package's types: what lmdb says of the whole file and of its trees.
    const stats = this.database.getStats() as DatabaseStats;
    const pages = treePages(stats.root) + treePages(stats.free);
    return {
      records: stats.root.entryCount,
      liveBytes: pages * stats.pageSize,
      maxBytes: this.options.maxBytes,
      fileBytes: (stats.lastPageNumber + 1) * stats.pageSize,
    };
  }

  /**
   * Copies everything as of one moment into `directory`, which must be missing or empty: a database on which a node can
   * start. Writes go on meanwhile. Rejects with an Error when it cannot; what was copied by then is left there.
   */
  async backup(directory: string): Promise<void> {
    await this.last;
    await emptyDirectory(directory);
    if (this.replacing !== null) await this.replacing;
    const copied = copyDatabase(this.database, directory);
    this.copying = Promise.all([this.copying, copied]).catch(() => undefined);
    await copied;
  }

  /**
   * Writes the file anew without the space that was freed, and goes on with that. Writes wait meanwhile, reads for a
   * moment. Rejects with an Error when it cannot; then the store goes on with the file as it was.
   */
  compact(): Promise<void> {
    return this.inTurn(() => this.replace());
  }

  /** What was read stays mapped, and counts as this process's memory, until the file is opened anew (some ms). */
  rest(): Promise<void> {
    return this.inTurn(() => this.whileClosed(async () => undefined));
  }

  /** After all writes so far, before all that come. */
  private inTurn(step: () => Promise<void>): Promise<void> {
    const done = this.last.then(step);
    this.last = done.catch(() => undefined);
    return done;
  }

  private open(): Database {
    const { directory, maxBytes } = this.options;
    const database = openDatabase(directory, { mapBytes: maxBytes + spareMapBytes });
    watchCommits(database, () => this.starting);
    return database;
  }

  /** The partition of the first row from `start` on. */
  private partitionAt(start: string): string | null {
    for (const key of this.database.getKeys({ start, limit: 1 })) {
      return key.slice(0, key.indexOf("\0"));
    }
    return null;
  }

  /** Never rejects. */
  private async commit(
    writes: readonly PartitionWrite[],
  ): Promise<readonly (StoreFailure | null)[]> {
    while (this.unflushed >= unflushedMax) {
      await new Promise<void>((resolve) => {
        this.onFlushed = resolve;
      });
    }
    const { broken } = this;
    if (broken !== null) return writes.map(() => broken);
    const outcomes = writes.map((write) => this.checkFence(write));
    try {
      await this.transact(writes, outcomes);
      this.done.commits++;
      return outcomes;
    } catch (error) {
      const failure = this.fail(error);
      return outcomes.map((outcome) => outcome ?? failure);
    }
  }

  /** Resolves when the transaction is as durable as the settings want it. */
  private transact(
    writes: readonly PartitionWrite[],
    outcomes: readonly (StoreFailure | null)[],
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      let visible = false;
      this.starting = {
        visible: () => {
          if (this.options.durability === "power") return;
          visible = true;
          this.database.resetReadTxn();
          resolve();
        },
        // The flush of a commit that has been acknowledged: nothing of it is known any more.
        failed: (code) => {
          if (visible) this.fail(new LmdbError(code), "broken");
          else reject(new LmdbError(code));
        },
      };
      const flushed = this.database.batch(() => this.apply(writes, outcomes));
      this.unflushed++;
      flushed
        .then(() => (this.options.durability === "power" ? this.database.flushed : true))
        .then(
          () => resolve(),
          (error: unknown) => void commitCause(error).then(reject),
        )
        .finally(() => {
          this.unflushed--;
          this.onFlushed();
        });
      // A failed commit rejects a second time here.
      flushed.catch(ignoreReason);
    });
  }

  private apply(
    writes: readonly PartitionWrite[],
    outcomes: readonly (StoreFailure | null)[],
  ): void {
    let index = 0;
    for (const { partition, operations, fence } of writes) {
      if (outcomes[index++] !== null) continue;
      if (fence !== undefined) this.putFence(partition, fence);
      let at = -1;
      for (const operation of operations) {
        at++;
        if (operation.kind === "put") {
          const { key, value } = operation;
          this.done.puts++;
          this.done.put_bytes += value.length;
          void this.database.put(rowKey(partition, key), asBuffer(value));
        } else if (operation.kind === "delete") {
          this.remove(rowKey(partition, operation.key));
        } else {
          this.removeRange(partition, operation.from, operation.to, operations.slice(0, at));
        }
      }
    }
  }

  private remove(name: string): void {
    this.done.deletes++;
    void this.database.remove(name);
  }

  /** What is in the file, and what the same write has put `before`. */
  private removeRange(
    partition: string,
    from: string,
    to: string,
    before: readonly Operation[],
  ): void {
    const range = { start: rowKey(partition, from), end: rowKey(partition, to) };
    if (compareKeys(from, to) >= 0) return;
    for (const name of this.database.getKeys(range)) this.remove(name);
    for (const operation of before) {
      if (operation.kind !== "put") continue;
      const { key } = operation;
      if (compareKeys(key, from) >= 0 && compareKeys(key, to) < 0) {
        this.remove(rowKey(partition, key));
      }
    }
  }

  private checkFence({ partition, fence }: PartitionWrite): StoreFailure | null {
    if (fence === undefined) return null;
    return fence < this.fenceOf(partition) ? fenced(partition) : null;
  }

  private putFence(partition: string, fence: number): void {
    if (fence <= this.fenceOf(partition)) return;
    const value = Buffer.allocUnsafe(8);
    value.writeDoubleBE(fence);
    void this.database.put(fenceKey(partition), value);
  }

  private fenceOf(partition: string): number {
    const value = this.database.get(fenceKey(partition));
    return value === undefined ? 0 : value.readDoubleBE();
  }

  /** When a process begins there is no older owner left who could write to a partition that has no rows. */
  private async forgetFences(): Promise<void> {
    const idle: string[] = [];
    for (const name of this.database.getKeys({ start: fencePrefix, end: ownEnd })) {
      const partition = name.slice(fencePrefix.length);
      if (this.partitionAt(rowKey(partition, "")) !== partition) idle.push(name);
    }
    if (idle.length === 0) return;
    // Another try comes with the next start.
    await this.database
      .batch(() => {
        for (const name of idle) void this.database.remove(name);
      })
      .then(() => undefined, ignoreReason);
  }

  private fail(error: unknown, kind?: "broken"): StoreFailure {
    this.done.failures++;
    let failure = this.broken ?? storeFailure(error);
    if (kind !== undefined) failure = { kind, why: failure.why };
    if (failure.kind === "broken" && this.broken === null) {
      this.broken = failure;
      leaveOpenAtExit();
    }
    return failure;
  }

  private async replace(): Promise<void> {
    if (this.broken !== null) throw new Error(this.broken.why);
    const { directory } = this.options;
    const fresh = join(directory, "compact");
    await rm(fresh, { recursive: true, force: true });
    await emptyDirectory(fresh);
    try {
      await copyDatabase(this.database, fresh);
      await this.whileClosed(async () => {
        await rename(databaseFile(fresh), databaseFile(directory));
        await syncPath(directory);
      });
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
  }

  private async whileClosed(step: () => Promise<void>): Promise<void> {
    let resume: () => void = () => undefined;
    this.replacing = new Promise((resolve) => {
      resume = resolve;
    });
    try {
      await this.copying;
      await closeDatabase(this.database);
      try {
        await step();
      } finally {
        this.reopen();
      }
    } finally {
      this.replacing = null;
      resume();
    }
  }

  private reopen(): void {
    try {
      this.database = this.open();
    } catch (error) {
      this.fail(error, "broken");
      throw error;
    }
  }
}

interface TreeStats {
  readonly entryCount: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

interface DatabaseStats {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly root: TreeStats;
  readonly free: TreeStats;
}

function treePages(tree: TreeStats): number {
  return tree.treeBranchPageCount + tree.treeLeafPageCount + tree.overflowPages;
}

function limited(limit: number | undefined): { limit?: number } {
  return limit === undefined || limit === Number.POSITIVE_INFINITY ? {} : { limit };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** lmdb puts a promise into the error of a failed commit that rejects with the reason; we have that as a code. */
function ignoreReason(error: unknown): void {
  if (!(error instanceof Error) || !("commitError" in error)) return;
  Promise.resolve(error.commitError).catch(() => undefined);
}
