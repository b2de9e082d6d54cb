/**
 * This node's own rows, and how its peers come to hold them: a snapshot when a link comes up, then
 * numbered deltas, one a turn. The node is their only writer; peers hold copies (peer-rows.ts).
 */
import type { Clock, Timer } from "../lib/clock.js";
import { hashString, mix32 } from "../lib/hash.js";
import { Ring } from "../lib/ring.js";
import { ShardedMap } from "../lib/sharded-map.js";
import type { Link } from "./link.js";
import { type Body, encode } from "./wire/messages.js";

/** Share of one row in the hash of a set of rows (docs/wire.md, "Rows"). */
export function rowHash(key: string, value: number): number {
  return valueHash(hashString(key), value);
}

/** The same, of a key that was hashed already. */
export function valueHash(keyHash: number, value: number): number {
  return mix32(keyHash ^ mix32(value));
}

/** What rows need of a link. */
export type RowLink = Pick<Link, "send" | "sendControl" | "controlBufferedBytes">;

/** A place where snapshots and deltas are sent, and what it has acknowledged. */
export interface RowFollower {
  readonly link: RowLink | null;
  /** Highest sequence acknowledged on this link; -1: not even the snapshot. */
  ackedSeq: number;
  /** Is it up or suspect, so that subscribers wait for it? */
  isWaitedFor(): boolean;
}

interface Waiter {
  readonly seq: number;
  readonly dueMs: number;
  readonly done: () => void;
}

/** Rows in one frame of a snapshot, and frames in one turn: some milliseconds, here and at the receiver. */
const partRows = 500;
const turnParts = 6;
/** A snapshot waits while the peer has not taken this much. */
const backlogBytes = 4 * 2 ** 20;
const backlogMs = 5;

export class RowTable {
  readonly counters = { syncTimeouts: 0, snapshotsSent: 0, deltasSent: 0 };
  private readonly rows = new ShardedMap<number>();
  private readonly changed = new Map<string, number>();
  /** Snapshots that are being sent, as far as they have come. */
  private readonly snapshots = new Map<RowLink, Iterator<[string, number]>>();
  private readonly waiters = new Ring<Waiter>();
  private hash = 0;
  private seq = 0;
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly followers: () => Iterable<RowFollower>,
    /** How long a subscriber waits for a peer, milliseconds. */
    private readonly syncTimeoutMs: number,
  ) {}

  get size(): number {
    return this.rows.size;
  }

  /** Sets a row; 0 deletes it. Peers hear of it at the end of the turn. */
  set(key: string, value: number): void {
    const keyHash = hashString(key);
    const before = this.rows.get(key, keyHash) ?? 0;
    if (before === value) return;
    if (before !== 0) this.hash = (this.hash - valueHash(keyHash, before)) >>> 0;
    if (value === 0) this.rows.delete(key, keyHash);
    else {
      this.rows.set(key, keyHash, value);
      this.hash = (this.hash + valueHash(keyHash, value)) >>> 0;
    }
    if (this.changed.size === 0) this.clock.defer(() => this.flush());
    this.changed.set(key, value);
  }

  /** What heartbeats say of these rows. */
  digest(): { seq: number; count: number; hash: number } {
    this.flush();
    return { seq: this.seq, count: this.rows.size, hash: this.hash };
  }

  entries(): Iterable<[string, number]> {
    return this.rows;
  }

  /**
   * Calls `done` when every peer that is waited for holds all rows set so far, at once if they do, and in
   * any case after the time-out (counted).
   */
  whenSynced(done: () => void): void {
    const seq = this.seq + (this.changed.size > 0 ? 1 : 0);
    if (this.waiters.length === 0 && this.heldSeq() >= seq) {
      done();
      return;
    }
    this.waiters.push({ seq, dueMs: this.clock.monotonicMs() + this.syncTimeoutMs, done });
    this.timer ??= this.clock.setTimer(this.syncTimeoutMs, () => this.onTimer());
  }

  /**
   * Sends every row to a peer whose link came up, or that asked for it: the first at once, the rest in the
   * turns that follow, as the link takes them. Rows that change meanwhile are in deltas between the parts.
   */
  sendSnapshot(link: RowLink): void {
    this.flush();
    this.counters.snapshotsSent++;
    link.send("rowsBegin", { seq: this.seq });
    this.sendParts(link, this.rows.entries());
  }

  private sendParts(link: RowLink, rows: Iterator<[string, number]>): void {
    this.snapshots.set(link, rows);
    for (let i = 0; i < turnParts; i++) {
      const part = nextPart(rows);
      if (part.length > 0) link.send("rowsPart", part);
      if (part.length === partRows * 2) continue;
      this.snapshots.delete(link);
      this.flush();
      link.send("rowsEnd", { seq: this.seq, count: this.rows.size, hash: this.hash });
      return;
    }
    const goOn = (): void => {
      // Another snapshot may have taken its place, or the link be over.
      if (this.snapshots.get(link) !== rows) return;
      if (!this.isLinked(link)) this.snapshots.delete(link);
      else if (link.controlBufferedBytes > backlogBytes) this.clock.setTimer(backlogMs, goOn);
      else this.sendParts(link, rows);
    };
    this.clock.defer(goOn);
  }

  private isLinked(link: RowLink): boolean {
    for (const follower of this.followers()) if (follower.link === link) return true;
    return false;
  }

  /** A peer acknowledged something, or is no longer waited for: some may have waited just for that. */
  release(): void {
    if (this.waiters.length === 0) return;
    const held = this.heldSeq();
    for (let first = this.waiters.peek(); first !== undefined; first = this.waiters.peek()) {
      if (first.seq > held) return;
      this.waiters.shift();
      first.done();
    }
    this.clock.clearTimer(this.timer);
    this.timer = undefined;
  }

  /** The newest sequence that all those waited for hold. */
  private heldSeq(): number {
    let held = Number.MAX_SAFE_INTEGER;
    for (const follower of this.followers()) {
      if (follower.isWaitedFor() && follower.ackedSeq < held) held = follower.ackedSeq;
    }
    return held;
  }

  private flush(): void {
    if (this.changed.size === 0) return;
    this.seq++;
    const rows: Body<"rowsDelta">["rows"] = [];
    for (const [key, value] of this.changed) rows.push(key, value);
    this.changed.clear();
    let delta: Buffer | null = null;
    for (const follower of this.followers()) {
      if (follower.link === null) continue;
      delta ??= encode("rowsDelta", { seq: this.seq, rows });
      follower.link.sendControl(delta);
      this.counters.deltasSent++;
    }
    if (delta === null) this.release();
  }

  private onTimer(): void {
    this.timer = undefined;
    const nowMs = this.clock.monotonicMs();
    for (let first = this.waiters.peek(); first !== undefined; first = this.waiters.peek()) {
      if (first.dueMs > nowMs) {
        this.timer = this.clock.setTimer(first.dueMs - nowMs, () => this.onTimer());
        return;
      }
      this.waiters.shift();
      this.counters.syncTimeouts++;
      first.done();
    }
  }
}

/** The next rows, as many as a frame takes. */
function nextPart(rows: Iterator<[string, number]>): Body<"rowsPart"> {
  const part: Body<"rowsPart"> = [];
  while (part.length < partRows * 2) {
    const next = rows.next();
    if (next.done === true) break;
    part.push(next.value[0], next.value[1]);
  }
  return part;
}
