/** The store commands on the real store. */
import { copyFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../../config/schema.js";
import type { Clock } from "../../lib/clock.js";
import { Refusal } from "../../lib/refusal.js";
import { LmdbStore } from "../../store/lmdb.js";
import { emptyDirectory, syncPath } from "../../store/lmdb-files.js";
import type { NodeStore } from "../../store/node-store.js";
import { recordIsWhole } from "../../store/record.js";
import type { Store } from "../../store/store.js";
import type { StoreControl } from "../parts.js";
import { collectMetrics } from "./metrics.js";

export interface StoreControlOptions {
  readonly kept: NodeStore | null;
  readonly config: Config;
  readonly clock: Clock;
}

/** Rows that are read at a time; between two reads the node does other things. */
const pageRows = 500;
const damagedMax = 100;

export function storeControl({ kept, config, clock }: StoreControlOptions): StoreControl {
  const node = (): NodeStore => {
    if (kept === null) throw new Refusal("this node stores nothing (store.kind: memory)");
    return kept;
  };
  const file = (): LmdbStore => {
    const { store } = node();
    if (store instanceof LmdbStore) return store;
    const { kind } = config.store;
    throw new Refusal(`the store of this node is no file of its own (store.kind: ${kind})`);
  };
  return {
    stats: () => ({
      kind: config.store.kind,
      alarm: node().alarm,
      counters: collectMetrics({ store: node().counters }),
    }),
    verify: () => verify(node().store, clock),
    compact: async () => {
      const store = file();
      const { fileBytes: before } = store.use();
      await orRefuse("the store cannot be compacted", store.compact());
      return { before, after: store.use().fileBytes };
    },
    backup: async (directory) => {
      const store = file();
      const copied = backup(store, config.node.data_dir, directory);
      return orRefuse(`cannot back up to ${directory}`, copied);
    },
  };
}

/** What the world does to files is the operator's to know, not a bug. */
async function orRefuse<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(`${what}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function backup(store: LmdbStore, from: string, to: string) {
  await emptyDirectory(to);
  await store.backup(join(to, "store"));
  const files = await copySmallFiles(from, to);
  return { records: store.use().records, files: ["store/data.mdb", ...files] };
}

async function verify(store: Store, clock: Clock): ReturnType<StoreControl["verify"]> {
  const damaged: { partition: string; key: string }[] = [];
  const sum = { partitions: 0, records: 0, bytes: 0, wrong: 0 };
  const breathe = (): Promise<void> => new Promise((resolve) => clock.defer(resolve));
  let after: string | undefined;
  for (;;) {
    const partitions = await store.partitions("", after, pageRows);
    for (const partition of partitions) {
      let rows = pageRows;
      for (let from = ""; rows === pageRows; ) {
        const page = await store.read(partition, from, pageRows);
        for (const [key, value] of page) {
          sum.records++;
          sum.bytes += value.length;
          from = `${key}\0`;
          if (recordIsWhole(value)) continue;
          sum.wrong++;
          if (damaged.length < damagedMax) damaged.push({ partition, key });
        }
        rows = page.length;
        await breathe();
      }
      sum.partitions++;
      after = partition;
    }
    if (partitions.length < pageRows) return { ...sum, damaged };
  }
}

/** The files beside the store, which are replaced as a whole when they change: members, users. */
async function copySmallFiles(from: string, to: string): Promise<string[]> {
  const copied: string[] = [];
  for (const entry of await readdir(from, { withFileTypes: true })) {
    if (!entry.isFile() || entry.name.endsWith(".new")) continue;
    await copyFile(join(from, entry.name), join(to, entry.name));
    await syncPath(join(to, entry.name));
    copied.push(entry.name);
  }
  await syncPath(to);
  return copied;
}
