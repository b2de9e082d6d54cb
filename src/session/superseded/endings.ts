/**
 * Sessions that have ended while an older one of their client id may be at a node that is away, which has to end when that is
 * back. Mostly in the table that all members hold; what that has no room for is kept in this process, and told
 * to nodes that start.
 */
import type { Cluster } from "../../cluster/cluster.js";
import type { Clock } from "../../lib/clock.js";

/** The table that all members hold alike. */
export type Table = Pick<Cluster["common"], "watch" | "set" | "get" | "all" | "records">;

/** Keys of that table: client ids whose sessions up to an epoch have ended. */
const keyStart = "ended ";
/** An older session may turn up as long as its node is awaited. */
const endedMs = 7 * 86_400_000;
/** More than that of the table's records are left to those that are sure to be of use. */
const recordsMax = 5_000;
const keptMax = 100_000;

export class Endings {
  /** Of each client id the epoch up to which its sessions have ended; the oldest first. */
  private readonly kept = new Map<string, number>();

  constructor(
    private readonly table: Table,
    private readonly clock: Clock,
    /** One was dropped for want of room. */
    private readonly onForgotten: () => void,
  ) {}

  /** All sessions of that client id up to that epoch have ended. `isSure`: there is one that could not be told. */
  tell(clientId: string, epoch: number, isSure: boolean): void {
    const { table, clock } = this;
    const hasRoom = isSure || table.records < recordsMax;
    const endsMs = clock.wallMs() + endedMs;
    if (!hasRoom || !table.set(keyStart + clientId, String(epoch), endsMs))
      this.keep(clientId, epoch);
  }

  /** The same, of one that most probably had none before it: clients that never have any come and go all the time. */
  keep(clientId: string, epoch: number): void {
    const { kept } = this;
    kept.delete(clientId);
    kept.set(clientId, epoch);
    if (kept.size <= keptMax) return;
    const [oldest = ""] = kept.keys();
    kept.delete(oldest);
    this.onForgotten();
  }

  /** Up to which epoch, as is kept here alone; -1: nothing is. */
  keptOf(clientId: string): number {
    return this.kept.get(clientId) ?? -1;
  }

  /** Up to which epoch, as any member knows; -1: nothing of it is remembered. */
  upTo(clientId: string): number {
    const value = this.table.get(keyStart + clientId)?.value ?? null;
    return Math.max(this.keptOf(clientId), value === null ? -1 : Number(value));
  }

  /** What is kept here alone. */
  all(): Iterable<[clientId: string, epoch: number]> {
    return this.kept;
  }

  /** What stands in the table, and what comes to stand there. */
  watch(onEnded: (clientId: string, epoch: number) => void): void {
    this.table.watch((entries) => {
      for (const { key, value } of entries) {
        if (value !== null && key.startsWith(keyStart)) {
          onEnded(key.slice(keyStart.length), Number(value));
        }
      }
    });
  }

  /** All that stands in the table by now. */
  *inTable(): Iterable<[clientId: string, epoch: number]> {
    for (const { key, value } of this.table.all()) {
      if (key.startsWith(keyStart)) yield [key.slice(keyStart.length), Number(value)];
    }
  }
}
