/**
 * How this program uses lmdb, the one file that calls it: keys are `partition NUL key` in UTF-8, values are bytes as they
 * are. Names of our own begin with a NUL, which no partition does.
 */
import { open, type RootDatabase } from "lmdb";
import { pageBytes } from "./lmdb-pages.js";

export type Database = RootDatabase<Buffer, string>;

/** Keys travel as strings in both directions, without a buffer for each. */
const keyEncoder = {
  writeKey(key: string, target: Uint8Array, start: number): number {
    // lmdb hands in its own buffers, which are Node's.
    return start + (target as Buffer).write(key, start, "utf8");
  },
  readKey(source: Uint8Array, start: number, end: number): string {
    return (source as Buffer).toString("utf8", start, end);
  },
};

export interface DatabaseOptions {
  /** Address space for the file, bytes; it grows past that all the same. */
  readonly mapBytes: number;
  readonly readOnly?: boolean;
}

/** Opens the database in `directory`, which exists. @throws Error of lmdb; a damaged file may end the process */
export function openDatabase(directory: string, options: DatabaseOptions): Database {
  // `keyEncoder` is in the documentation and works, but is not in the package's types.
  const settings = {
    path: directory,
    noSubdir: false,
    encoding: "binary" as const,
    keyEncoder,
    mapSize: options.mapBytes,
    pageSize: pageBytes,
    readOnly: options.readOnly === true,
    // Commits go on while the disk still works on the one before, and after a power cut the last whole one counts.
    overlappingSync: options.readOnly !== true,
    // Commits are grouped already (commits.ts).
    eventTurnBatching: false,
    cache: false,
    maxDbs: 1,
  };
  return open<Buffer, string>(settings);
}

/** The database's name of a row. */
export function rowKey(partition: string, key: string): string {
  return `${partition}\0${key}`;
}

/** The first name after all rows of `partition`. */
export function partitionEnd(partition: string): string {
  return `${partition}\u0001`;
}

/** Own name that holds the highest epoch that has written to a partition. */
export function fenceKey(partition: string): string {
  return `${fencePrefix}${partition}`;
}

export const fencePrefix = "\0fence\0";
/** The first name that is not of our own. */
export const ownEnd = "\u0001";

/** What happens with one commit, in this order; `failed` at any time. */
export interface CommitEvents {
  /** It is in the kernel's memory: any end of this process leaves it as it is. */
  visible(): void;
  /** It did not happen, or what happened may not reach the disk. The code is lmdb's or the system's. */
  failed(code: number): void;
}

/**
 * Has `next` called for each transaction that lmdb's writer begins. The package tells of a commit only when it has been
 * flushed to the disk; its writer says in between when the commit is visible, and that call is intercepted here.
 * Without it (another version of the package), `visible` never comes, and whoever waits for the commit's promise
 * as well only waits longer.
 */
export function watchCommits(database: Database, next: () => CommitEvents | null): void {
  // Not in the package's types: the native environment behind the database.
  const { env } = database as unknown as { env: NativeEnvironment };
  const begin = env.startWriting;
  const writer = { underWay: 0, onIdle: (): void => undefined };
  writers.set(database, writer);
  Object.defineProperty(env, "startWriting", {
    value(this: NativeEnvironment, address: number, callback: (status: number) => unknown) {
      const events = next();
      writer.underWay++;
      return begin.call(this, address, (status: number) => {
        if (status === visibleStatus) events?.visible();
        const result = callback(status);
        if (status !== visibleStatus && status !== callbackStatus && --writer.underWay === 0) {
          writer.onIdle();
        }
        if (status !== visibleStatus && status !== callbackStatus && status !== 0) {
          events?.failed(status);
        }
        return result;
      });
    },
  });
}

/**
 * Closes it. The package takes a transaction for done as soon as it is flushed, but its writer's thread has one thing left to
 * do then and would end the process with a signal if the database is gone (seen in 3.5.6): that is waited for.
 */
export async function closeDatabase(database: Database): Promise<void> {
  const writer = writers.get(database);
  while (writer !== undefined && writer.underWay > 0) {
    await new Promise<void>((resolve) => {
      writer.onIdle = resolve;
    });
  }
  await database.close();
}

/** The transactions that the writer's thread has not done with, of each database that is watched. */
const writers = new WeakMap<Database, { underWay: number; onIdle: () => void }>();

/**
 * After a failure: lmdb closes its files when the process ends, and waits there for ever for a writer that failed before
 * its transaction began. The process then ends without that; nothing of it would be written anyway.
 */
export function leaveOpenAtExit(): void {
  // Within the event `exit` this ends the process at once.
  process.prependListener("exit", (code) => process.exit(code));
}

interface NativeEnvironment {
  startWriting(address: number, callback: (status: number) => unknown): unknown;
}

const visibleStatus = 1;
/** The writer asks for transactions written in JavaScript to be run; we have none. */
const callbackStatus = 2;
