/**
 * A small table that every member holds whole, and that any of them may write: texts by key. The entry with the higher
 * stamp wins, and what was deleted or has ended stays as a tombstone for `forgetAfterMs`, so that all end
 * with the same table in whatever order they hear. Stored; a change goes to all linked peers and is passed on once, and when
 * a link comes up each side tells its digest and gets what the other has if that differs.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../lib/clock.js";
import { hashString, mix32 } from "../lib/hash.js";
import { type HybridClock, stampMs } from "../lib/hlc.js";
import type { Commits } from "../store/commits.js";
import type { Journaled } from "../store/journaled.js";
import { decodeRecord, encodeRecord } from "../store/record.js";
import { keyBytesMax, type Operation, type Store } from "../store/store.js";
import type { Link } from "./link.js";
import { type TableEntry, tableEntrySchema } from "./wire/messages.js";

/** Most entries that count, and as many tombstones. */
export const commonEntriesMax = 10_000;
/** Entries in one frame: about 64 KiB at their usual length. */
const entriesPerFrame = 500;
const recordVersion = 1;
const rowsAtOnce = 10_000;

export interface CommonTableParts {
  readonly clock: Clock;
  readonly stamps: HybridClock;
  /** How long a tombstone is kept: longer than any member is away. */
  readonly forgetAfterMs: number;
  /** Null: nothing of it outlives this process. */
  readonly commits: Pick<Commits, "touch"> | null;
  readonly peers: () => Iterable<TablePeer>;
}

/** A peer, as far as it holds the same table. */
export interface TablePeer {
  readonly name: string;
  /** Null: it hears what it lacks when there is one. */
  readonly link: Pick<Link, "send"> | null;
}

export class CommonTable implements Journaled {
  readonly partition = "common";
  readonly fence = undefined;
  touched = false;
  readonly counters = { taken: 0, outdated: 0, tombstonesDropped: 0, refusedFull: 0 };
  /** Told of entries that are new or other than before. */
  private onChanged: (entries: readonly TableEntry[]) => void = () => undefined;
  private readonly entries = new Map<string, TableEntry>();
  /** Keys whose entries are to be written, or deleted. */
  private readonly due = new Set<string>();

  constructor(private readonly parts: CommonTableParts) {}

  /** Has another one told of what changes; before anything is loaded. */
  watch(onChanged: (entries: readonly TableEntry[]) => void): void {
    const before = this.onChanged;
    this.onChanged = (entries) => {
      before(entries);
      onChanged(entries);
    };
  }

  /** What an earlier process of this node held; before there is a link. */
  async load(store: Pick<Store, "read">): Promise<void> {
    const loaded: TableEntry[] = [];
    let from = "";
    for (;;) {
      const records = await store.read(this.partition, from, rowsAtOnce);
      for (const [key, bytes] of records) {
        from = `${key}\0`;
        const entry = tableEntrySchema.safeParse(decodeRecord(recordVersion, bytes)?.value);
        if (entry.success) loaded.push(entry.data);
      }
      if (records.length < rowsAtOnce) break;
    }
    for (const entry of loaded) this.entries.set(entry.key, entry);
    this.sweep();
    this.onChanged(loaded);
  }

  /** The entry of a key that holds now. */
  get(key: string): TableEntry | undefined {
    const entry = this.entries.get(key);
    return entry === undefined || this.isDead(entry) ? undefined : entry;
  }

  /** All entries that hold now. */
  all(): TableEntry[] {
    return [...this.entries.values()].filter((entry) => !this.isDead(entry));
  }

  /** Entries that hold now. */
  get size(): number {
    let count = 0;
    for (const entry of this.entries.values()) if (!this.isDead(entry)) count++;
    return count;
  }

  /** Entries, tombstones among them. */
  get records(): number {
    return this.entries.size;
  }

  get tombstones(): number {
    return this.entries.size - this.size;
  }

  /**
   * Sets an entry for all members. `endsMs`: wall-clock time at which it is over, 0: never. False: there are so many already
   * that it is not taken.
   */
  set(key: string, value: string, endsMs: number): boolean {
    const { records } = this;
    // Counted when it may be so: that looks at all of them.
    if (
      records >= commonEntriesMax &&
      this.get(key) === undefined &&
      this.size >= commonEntriesMax
    ) {
      this.counters.refusedFull++;
      return false;
    }
    this.write({ key, value, endsMs, stamp: this.parts.stamps.next() });
    return true;
  }

  /** Deletes an entry for all members. False: there is none. */
  delete(key: string): boolean {
    if (this.get(key) === undefined) return false;
    this.write({ key, value: null, endsMs: 0, stamp: this.parts.stamps.next() });
    return true;
  }

  /** Forgets everything, here alone. */
  clear(): void {
    const gone = [...this.entries.values()].map((entry) => ({ ...entry, value: null }));
    this.entries.clear();
    for (const { key } of gone) this.note(key);
    this.onChanged(gone);
  }

  /** What two tables are compared by. */
  digest(): { count: number; hash: number } {
    let hash = 0;
    for (const { key, value, endsMs, stamp } of this.entries.values()) {
      const rest = hashString(`${stamp} ${endsMs} ${value}`);
      hash = (hash + mix32(hashString(key) ^ mix32(rest))) >>> 0;
    }
    return { count: this.entries.size, hash };
  }

  /** A peer has told its digest: it gets the whole table unless it has the same. */
  answer({ link }: TablePeer, theirs: { readonly count: number; readonly hash: number }): void {
    this.sweep();
    const { count, hash } = this.digest();
    if (theirs.count === count && theirs.hash === hash) return;
    const all = [...this.entries.values()];
    for (let first = 0; first < all.length; first += entriesPerFrame) {
      link?.send("tableEntries", { entries: all.slice(first, first + entriesPerFrame) });
    }
  }

  /** What a peer has: the newer entries are taken, and passed on. */
  merge(theirs: readonly TableEntry[], from: string): void {
    const taken: TableEntry[] = [];
    for (const entry of theirs) {
      this.parts.stamps.observe(entry.stamp);
      const ours = this.entries.get(entry.key);
      if (ours !== undefined && compare(ours, entry) >= 0) this.counters.outdated++;
      else if (ours !== undefined || this.mayTake(entry)) {
        this.entries.set(entry.key, entry);
        this.note(entry.key);
        taken.push(entry);
      }
    }
    this.counters.taken += taken.length;
    if (taken.length === 0) return;
    this.sweep();
    this.onChanged(taken);
    this.tell(taken, from);
  }

  collect(into: Operation[]): void {
    for (const key of this.due) {
      const entry = this.entries.get(key);
      const place = placeOf(key);
      if (entry === undefined) into.push({ kind: "delete", key: place });
      else into.push({ kind: "put", key: place, value: encodeRecord(recordVersion, entry) });
    }
    this.due.clear();
  }

  committed(): void {
    // Whoever waits asks the group commit.
  }

  fenced(): void {
    // Nobody else writes here.
  }

  private write(entry: TableEntry): void {
    this.entries.set(entry.key, entry);
    this.note(entry.key);
    this.sweep();
    this.onChanged([entry]);
    this.tell([entry], null);
  }

  private tell(entries: TableEntry[], except: string | null): void {
    for (const { name, link } of this.parts.peers()) {
      if (name !== except) link?.send("tableEntries", { entries });
    }
  }

  private note(key: string): void {
    this.due.add(key);
    this.parts.commits?.touch(this);
  }

  /** An entry of a key that is not known here. */
  private mayTake(entry: TableEntry): boolean {
    if (this.isForgotten(entry)) return false;
    if (this.entries.size < commonEntriesMax) return true;
    if (this.isDead(entry) || this.size < commonEntriesMax) return true;
    this.counters.refusedFull++;
    return false;
  }

  /** It was deleted, or its time is over. */
  private isDead({ value, endsMs }: TableEntry): boolean {
    return value === null || (endsMs !== 0 && endsMs <= this.parts.clock.wallMs());
  }

  private isForgotten(entry: TableEntry): boolean {
    if (!this.isDead(entry)) return false;
    const { clock, forgetAfterMs } = this.parts;
    return deadSinceMs(entry) + forgetAfterMs <= clock.wallMs();
  }

  /** Tombstones go when their time is over, and the oldest when there are too many. */
  private sweep(): void {
    const dead = [...this.entries.values()].filter((entry) => this.isDead(entry));
    dead.sort((a, b) => deadSinceMs(a) - deadSinceMs(b));
    const tooMany = dead.length - commonEntriesMax;
    for (const [index, entry] of dead.entries()) {
      if (index >= tooMany && !this.isForgotten(entry)) break;
      this.counters.tombstonesDropped++;
      this.entries.delete(entry.key);
      this.note(entry.key);
    }
  }
}

const deadSinceMs = ({ value, endsMs, stamp }: TableEntry): number =>
  value === null ? stampMs(stamp) : endsMs;

/** Which of two entries of a key is newer: a total order, the same on all nodes. */
function compare(a: TableEntry, b: TableEntry): number {
  if (a.stamp !== b.stamp) return a.stamp - b.stamp;
  const [textA, textB] = [`${a.endsMs} ${a.value}`, `${b.endsMs} ${b.value}`];
  return textA === textB ? 0 : textA < textB ? -1 : 1;
}

/** The key of an entry in the store: its own, or its hash where that is too long. */
function placeOf(key: string): string {
  if (Buffer.byteLength(key) < keyBytesMax) return `=${key}`;
  return `#${createHash("sha256").update(key, "utf8").digest("hex")}`;
}
