/**
 * Opens the lmdb store of a node. Unless it was closed in order and nobody touched it since, all of its file is looked
 * through first, without lmdb. A damaged file is moved aside and what can be read from it goes into a new one, so
 * that the node starts; at any crash on the way the next start finds one or the other, whole.
 */
import { closeSync, openSync, statSync } from "node:fs";
import { access, copyFile, link, mkdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../lib/log.js";
import { Refusal } from "../lib/refusal.js";
import { type LmdbOptions, LmdbStore } from "./lmdb.js";
import { openDatabase } from "./lmdb-database.js";
import { bootId, databaseFile, lockFile, syncPath, takeCleanMark } from "./lmdb-files.js";
import { currentMeta, type Meta, PageFile } from "./lmdb-pages.js";
import { Walk } from "./lmdb-walk.js";
import { recordIsWhole } from "./record.js";

export interface OpenLmdbOptions extends LmdbOptions {
  readonly log: Log;
}

const damagedMax = 9;
/** A line in the log for so many records, so that a long check shows that it goes on. */
const progressRows = 1_000_000;

/** The caller holds the lock of the data directory. @throws Refusal when the store cannot be opened */
export async function openLmdb({ log, ...options }: OpenLmdbOptions): Promise<LmdbStore> {
  const { directory } = options;
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    // What a crash has left of another time's work.
    for (const name of ["salvage", "compact"]) {
      await rm(join(directory, name), { recursive: true, force: true });
    }
    await checkFile(directory, log);
    // No other process has the database open, and a damaged lock file could do harm.
    await rm(lockFile(directory), { force: true });
    return new LmdbStore(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Refusal(`cannot open the store in ${directory}: ${why}`);
  }
}

async function checkFile(directory: string, log: Log): Promise<void> {
  const path = databaseFile(directory);
  if (!(await hasContent(path))) return;
  if (await takeCleanMark(directory)) return;
  const fd = openSync(path, "r");
  try {
    const file = new PageFile(fd);
    const meta = currentMeta(file.metas(), bootId());
    const found = meta === null ? null : look(file, meta, log);
    if (found !== null && found.damages.length === 0) return;
    const why = found?.damages ?? ["the head of the file is damaged"];
    log.error({ file: path, why }, "the store's file is damaged; taking over what can be read");
    await salvage(directory, file, meta, log);
  } finally {
    closeSync(fd);
  }
}

/** Looks through everything; records with a wrong checksum are told of, and left out whenever they are read. */
function look(file: PageFile, meta: Meta, log: Log): Walk {
  let wrong = 0;
  let rows = 0;
  const walk = new Walk(file, {
    row(key, value) {
      if (!isSound(key, value)) wrong++;
      if (++rows % progressRows === 0) {
        log.info({ records: rows, of: meta.main.entries }, "checking the store");
      }
    },
  });
  walk.walk(meta);
  if (wrong > 0) {
    log.error({ records: wrong }, "records of the store have a wrong checksum and are left out");
  }
  return walk;
}

async function salvage(
  directory: string,
  file: PageFile,
  meta: Meta | null,
  log: Log,
): Promise<void> {
  const fresh = join(directory, "salvage");
  await mkdir(fresh, { mode: 0o700 });
  const kept = await copyRows(fresh, file, meta);
  await syncPath(databaseFile(fresh));
  const movedTo = await swap(databaseFile(fresh), databaseFile(directory));
  await syncPath(directory);
  await rm(fresh, { recursive: true, force: true });
  const message =
    "the store's damaged file was moved aside; the node goes on with what could be read from it";
  log.error({ movedTo, records: kept }, message);
}

/** All rows that can be read, as one transaction in the new database. Returns how many. */
async function copyRows(fresh: string, file: PageFile, meta: Meta | null): Promise<number> {
  const database = openDatabase(fresh, { mapBytes: file.pageCount * 4096 * 2 + 2 ** 30 });
  let kept = 0;
  let orphaned = false;
  const walk = new Walk(file, {
    row(key, value) {
      const name = key.toString("utf8");
      // What the tree still leads to is newer than what it does not.
      if (!isSound(key, value) || (orphaned && database.doesExist(name))) return;
      database.putSync(name, value);
      kept++;
    },
  });
  database.transactionSync(() => {
    const start = meta ?? newest(file);
    if (start !== null) walk.walk(start);
    orphaned = true;
    walk.orphans();
  });
  await database.flushed;
  await database.close();
  return kept;
}

/** The best of what is left when lmdb itself would refuse the file. */
function newest(file: PageFile): Meta | null {
  let best: Meta | null = null;
  for (const meta of file.metas()) {
    if (meta !== null && meta.transaction > (best?.transaction ?? 0)) best = meta;
  }
  return best;
}

/** Rows of our own are fences; all others hold records. */
function isSound(key: Buffer, value: Buffer): boolean {
  return key[0] === 0 ? value.length === 8 : recordIsWhole(value);
}

/** Puts `fresh` in the place of `path` and returns where that was moved to; `path` is never missing. */
async function swap(fresh: string, path: string): Promise<string> {
  for (let number = 1; ; number++) {
    const target = `${path}.damaged-${number}`;
    if (number < damagedMax && (await exists(target))) continue;
    await rm(target, { force: true });
    // Not every file system has links.
    await link(path, target).catch(() => copyFile(path, target));
    await rename(fresh, path);
    return target;
  }
}

async function hasContent(path: string): Promise<boolean> {
  return (await exists(path)) && statSync(path).size > 0;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
