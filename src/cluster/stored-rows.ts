/**
 * The durable rows of one peer on disk, `rows/<peer>` in the store, so that a node that starts while the peer is
 * down still knows what is due to it. A change is acknowledged to the peer only when it is committed.
 */
import { createHash } from "node:crypto";
import type { Commits } from "../store/commits.js";
import type { Journaled } from "../store/journaled.js";
import { decodeRecord, encodeRecord } from "../store/record.js";
import { keyBytesMax, type Operation, type Store } from "../store/store.js";
import { endKey } from "./outbox.js";

const recordVersion = 1;
const rowsAtOnce = 10_000;

export class StoredRows implements Journaled {
  readonly partition: string;
  readonly fence = undefined;
  touched = false;
  private readonly changed = new Map<string, number>();
  private purges = false;
  private committing = false;
  /** Called when everything set so far is committed, and when what is being committed is. */
  private waiting: (() => void)[] = [];
  private answering: (() => void)[] = [];

  constructor(
    /** Name and id of the peer's data directory. */
    peer: string,
    private readonly commits: Pick<Commits, "touch">,
  ) {
    this.partition = `rows/${peer}`;
  }

  /** What an earlier process had stored. */
  async load(
    store: Pick<Store, "read">,
    visit: (key: string, value: number) => void,
  ): Promise<void> {
    let from = "";
    for (;;) {
      const records = await store.read(this.partition, from, rowsAtOnce);
      for (const [key, bytes] of records) {
        from = `${key}\0`;
        const row = decodeRecord(recordVersion, bytes)?.value;
        if (isRow(row)) visit(row[0], row[1]);
      }
      if (records.length < rowsAtOnce) return;
    }
  }

  /** A durable row of the peer is new, has another value, or (0) is none any more. */
  set(key: string, value: number): void {
    this.changed.set(key, value);
    this.commits.touch(this);
  }

  /** Calls `done` when everything set so far is committed; at once when it is. */
  whenStored(done: () => void): void {
    if (this.touched) this.waiting.push(done);
    else if (this.committing) this.answering.push(done);
    else done();
  }

  /** Deletes everything: the peer is no member any more. */
  purge(): void {
    this.changed.clear();
    this.purges = true;
    this.commits.touch(this);
  }

  collect(into: Operation[]): void {
    if (this.purges) into.push({ kind: "deleteRange", from: "", to: endKey });
    this.purges = false;
    for (const [row, value] of this.changed) {
      const key = keyOf(row);
      if (value === 0) into.push({ kind: "delete", key });
      else into.push({ kind: "put", key, value: encodeRecord(recordVersion, [row, value]) });
    }
    this.changed.clear();
    this.committing = true;
    this.answering = this.waiting;
    this.waiting = [];
  }

  committed(): void {
    this.committing = false;
    const answering = this.answering;
    this.answering = [];
    for (const done of answering) done();
  }

  /** Nobody else writes here. */
  fenced(): void {
    this.committing = false;
    this.answering = [];
  }
}

/** The key of a row in the store: the row's own, or its hash where that is too long. */
function keyOf(row: string): string {
  if (Buffer.byteLength(row) < keyBytesMax) return `=${row}`;
  return `#${createHash("sha256").update(row, "utf8").digest("hex")}`;
}

function isRow(value: unknown): value is [key: string, value: number] {
  if (!Array.isArray(value)) return false;
  return typeof value[0] === "string" && Number.isInteger(value[1]);
}
