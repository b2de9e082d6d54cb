/** The files of a database: where they are, and copies of them that are whole. */
import { readFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, stat, statfs, writeFile } from "node:fs/promises";
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

/** Makes `directory` when it is missing; the one that it is in exists. @throws Refusal when there is something in it */
export async function emptyDirectory(directory: string): Promise<void> {
  await mkdir(directory, { mode: 0o700 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
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

/** Notes that the database in `directory` was closed in order, so that the next start need not look through it. */
export async function markClean(directory: string): Promise<void> {
  await writeFile(cleanFile(directory), await identity(directory));
}

/** Whether the database is exactly as it was when it was closed in order. Takes the note away. */
export async function takeCleanMark(directory: string): Promise<boolean> {
  const noted = await readFile(cleanFile(directory), "utf8").catch(() => null);
  await rm(cleanFile(directory), { force: true });
  return noted !== null && noted === (await identity(directory));
}

function cleanFile(directory: string): string {
  return join(directory, "closed");
}

async function identity(directory: string): Promise<string> {
  const { ino, size, mtimeNs } = await stat(databaseFile(directory), { bigint: true });
  return `${ino} ${size} ${mtimeNs}\n`;
}

/** What lmdb takes for the identity of this run of the machine; 0 where there is none. */
export function bootId(): bigint {
  try {
    const text = readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
    return BigInt(`0x${/^[0-9a-f]+/.exec(text)?.[0] ?? "0"}`);
  } catch {
    return 0n;
  }
}
