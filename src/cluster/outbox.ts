/**
 * The durable tail of the stream to one peer, `outbox/<peer>` in the store: one record for each forward (or run of
 * them), under its number (incarnation, counter). What is handed over counts as accepted when it is committed, and is
 * deleted when the peer has accepted it. In memory the stream itself holds the forwards, in order.
 */
import type { Clock } from "../lib/clock.js";
import { numberKey } from "../store/keys.js";
import type { Commits } from "../store/commits.js";
import type { Journaled } from "../store/journaled.js";
import { openRecord, recordHead, sealRecord } from "../store/record.js";
import type { Operation, Store } from "../store/store.js";
import type { Receipt } from "./ports.js";
import { countOf, counterOf, forwardHeaderBytes, incarnationOf } from "./wire/frames.js";

/** A forward in the stream to a peer that the peer has not accepted yet. */
export interface Sent {
  readonly incarnation: number;
  /** Of a run of forwards that of the last. */
  readonly counter: number;
  /** Forwards in the frame. */
  readonly count: number;
  /** The whole frame, with its header. */
  frame: Buffer;
  durable: boolean;
  readonly expiresMs: number;
  /** Waits for the peer to accept it; null: nobody waits for that any more. */
  receipt: Receipt | null;
  /** Waits for the peer or for the outbox, whichever is first. */
  keeper: Receipt | null;
  /** When it was sent, or left by an earlier process, in wall-clock milliseconds, a few seconds off; 0: not known. */
  sinceMs: number;
  /** The peer has accepted it, but not yet all before it. */
  isTaken: boolean;
  /** Not in the outbox, on its way there, or the store has a record of it (maybe just being written). */
  kept: "no" | "due" | "written";
}

/** Above every key. */
export const endKey = "\u{10ffff}";
const recordVersion = 2;
/** The deadline and since when it waits, then the frame. */
const timesBytes = 16;
/** Frames of up to a megabyte and more are read at a time. */
const rowsAtOnce = 256;

export class Outbox implements Journaled {
  readonly partition: string;
  readonly fence = undefined;
  touched = false;
  private due: Sent[] = [];
  private committing: Sent[] = [];
  /** Records below this key are of no use any more; empty: there are none. */
  private doneTo = "";
  private purges = false;
  private closed = false;

  constructor(
    /** Name and id of the peer's data directory. */
    peer: string,
    private readonly clock: Clock,
    private readonly commits: Pick<Commits, "touch">,
  ) {
    this.partition = `outbox/${peer}`;
  }

  /** What an earlier process left, in order: already in the store, and nobody waits for it. */
  async load(store: Pick<Store, "read">): Promise<Sent[]> {
    const all: Sent[] = [];
    for await (const page of readOutbox(store, this.partition, this.clock)) all.push(...page);
    return all;
  }

  /** Takes a forward over: who waits for it is told when it is committed (or accepted before that). */
  keep(sent: Sent): void {
    sent.keeper = sent.receipt;
    sent.receipt = null;
    if (this.closed) {
      tell(sent);
      return;
    }
    if (sent.kept !== "no") return;
    if (sent.sinceMs === 0) sent.sinceMs = this.clock.wallMs();
    sent.kept = "due";
    this.due.push(sent);
    this.commits.touch(this);
  }

  /** The peer has accepted everything up to this one, which was handed over before. */
  accepted(sent: Sent): void {
    const { incarnation, counter, kept } = sent;
    if (kept === "due") sent.kept = "no";
    tell(sent);
    if (kept !== "written") return;
    this.doneTo = keyOf(incarnation, counter + 1);
    this.commits.touch(this);
  }

  /** The peer has accepted this one, which was handed over before, and maybe not all before it. */
  taken(sent: Sent): void {
    if (sent.kept === "due") sent.kept = "no";
    tell(sent);
  }

  /** Deletes everything: the peer is no member any more. */
  purge(): void {
    for (const sent of this.due) tell(sent);
    this.due = [];
    this.doneTo = "";
    this.purges = true;
    this.commits.touch(this);
  }

  /** Nothing is taken over from now on. */
  close(): void {
    this.purge();
    this.closed = true;
  }

  collect(into: Operation[]): void {
    if (this.purges) into.push({ kind: "deleteRange", from: "", to: endKey });
    this.purges = false;
    for (const sent of this.due) {
      // Without anybody who waits for it any more: the peer was faster.
      if (sent.kept !== "due") continue;
      sent.kept = "written";
      into.push({
        kind: "put",
        key: keyOf(sent.incarnation, sent.counter),
        value: this.encode(sent),
      });
      this.committing.push(sent);
    }
    this.due = [];
    if (this.doneTo !== "") into.push({ kind: "deleteRange", from: "", to: this.doneTo });
    this.doneTo = "";
  }

  committed(): void {
    const done = this.committing;
    this.committing = [];
    for (const sent of done) tell(sent);
  }

  /** Nobody else writes here. */
  fenced(): void {
    this.committing = [];
  }

  /** The frame is copied: its rest of life is written into it when it is sent. */
  private encode({ frame, expiresMs, sinceMs }: Sent): Buffer {
    const { clock } = this;
    const record = Buffer.allocUnsafe(recordHead + timesBytes + frame.length);
    const deadlineMs = expiresMs === 0 ? 0 : clock.wallMs() + expiresMs - clock.monotonicMs();
    record.writeDoubleBE(deadlineMs, recordHead);
    record.writeDoubleBE(sinceMs, recordHead + 8);
    frame.copy(record, recordHead + timesBytes);
    return sealRecord(recordVersion, record);
  }
}

/** In the order of the numbers. */
const keyOf = (incarnation: number, counter: number): string =>
  numberKey(incarnation) + numberKey(counter);

function tell(sent: Sent): void {
  const { keeper } = sent;
  sent.keeper = null;
  keeper?.accept();
}

/** What is in an outbox, in its order, a page at a time. Rejects when the store cannot be read. */
export async function* readOutbox(
  store: Pick<Store, "read">,
  partition: string,
  clock: Clock,
): AsyncIterable<readonly Sent[]> {
  let from = "";
  for (;;) {
    const rows = await store.read(partition, from, rowsAtOnce);
    const page: Sent[] = [];
    for (const [key, value] of rows) {
      const sent = decode(value, clock);
      if (sent !== null) page.push(sent);
      from = `${key}\0`;
    }
    if (page.length > 0) yield page;
    if (rows.length < rowsAtOnce) return;
  }
}

function decode(value: Buffer, clock: Clock): Sent | null {
  const body = openRecord(recordVersion, value);
  if (body === null || body.length < timesBytes + forwardHeaderBytes) return null;
  const deadlineMs = body.readDoubleBE(0);
  const leftMs = deadlineMs - clock.wallMs();
  const frame = Buffer.from(body.subarray(timesBytes));
  const count = countOf(frame);
  return {
    incarnation: incarnationOf(frame),
    counter: counterOf(frame) + count - 1,
    count,
    frame,
    durable: true,
    expiresMs: deadlineMs === 0 ? 0 : Math.max(1, clock.monotonicMs() + leftMs),
    receipt: null,
    keeper: null,
    sinceMs: body.readDoubleBE(8),
    isTaken: false,
    kept: "written",
  };
}
