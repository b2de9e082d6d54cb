/** The files of a database: where they are, and copies of them that are whole. */
import { mkdir, open, readdir, statfs } from "node:fs/promises";
import { join } from "node:path";
import { Refusal } from "../lib/refusal.js";
import type { Database } from "./lmdb-database.js";

/** The file that holds the data of the database in `directory`. */
export function databaseFile(directory: string): string {
  return join(directory, "data.mdb");
}

/** The file that lmdb keeps beside it, worth nothing when no process has the database open. */
export function lockFile(directory: string): string {
  return join(directory, "lock.mdb");
}

/** Makes `directory` when it is missing. @throws Refusal when there is something in it */
export async function emptyDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const [entry] = await readdir(directory);
  if (entry !== undefined) {
    throw new Refusal(`${directory} is not empty (${entry} is in it): name a directory that is`);
  }
}

/** Copies one state of the database into an empty directory, without freed space; durable when it resolves. */
export async function copyDatabase(database: Database, directory: string): Promise<void> {
  await database.backup(directory, true);
  await syncPath(databaseFile(directory));
  await syncPath(directory);
}

/** Has the system write a file, or the names in a directory, to the disk. */
export async function syncPath(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Bytes that this process may still write, and all bytes, of the file system that holds `path`. */
export async function diskSpace(path: string): Promise<{ freeBytes: number; totalBytes: number }> {
  const { bavail, blocks, bsize } = await statfs(path);
  return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
