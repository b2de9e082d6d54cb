/**
 * Places among those who adopt what a dead node left: taken, renewed, and lost when the node comes back or the store was out
 * of reach for too long. Nothing is written through a place that is lost.
 */
import type { Clock, Timer } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import {
  type Adoption,
  type Holder,
  type LeaseBook,
  type LeaseTimes,
  patienceMs,
  type SharedStore,
} from "./shared.js";
import type { PartitionWrite, Row, Store, StoreFailure } from "./store.js";

export interface AdopterOptions {
  /** `name@host` of this node. */
  readonly self: string;
  readonly book: LeaseBook;
  readonly times: LeaseTimes;
  readonly clock: Clock;
  readonly log: Log;
}

export class Adopter implements SharedStore {
  readonly counters = { placesTaken: 0, placesRefused: 0, placesLost: 0 };

  constructor(private readonly options: AdopterOptions) {}

  async adopt(
    node: string,
    dataId: string,
    incarnation: number,
    certainlyDead: boolean,
  ): Promise<Adoption | null> {
    const { self, book, clock } = this.options;
    const of = { node, dataId, incarnation };
    const askedMs = clock.monotonicMs();
    const generation = await book.takePlace(of, self, certainlyDead);
    if (generation === 0) {
      this.counters.placesRefused++;
      return null;
    }
    this.counters.placesTaken++;
    return new Place(this.options, this.counters, of, generation, askedMs);
  }

  look(node: string): Pick<Store, "read"> {
    return this.options.book.storeOf(node, 0);
  }
}

class Place implements Adoption {
  readonly store: Store;
  isLost = false;
  private isDone = false;
  private whenLost: () => void = () => undefined;
  private timer: Timer | undefined;

  constructor(
    private readonly options: AdopterOptions,
    private readonly counters: { placesLost: number },
    private readonly of: Holder,
    generation: number,
    /** When the last renewal that succeeded was asked for. */
    private renewedMs: number,
  ) {
    this.store = new PlaceStore(options.book.storeOf(of.node, generation), () => this.look());
    this.next();
  }

  set onLost(callback: () => void) {
    this.whenLost = callback;
    if (this.isLost) callback();
  }

  get onLost(): () => void {
    return this.whenLost;
  }

  async done(): Promise<void> {
    if (this.isDone) return;
    this.isDone = true;
    this.options.clock.clearTimer(this.timer);
    // Not reached, it lapses by itself.
    await this.options.book.giveBack(this.of, this.options.self).catch(() => undefined);
  }

  /** Whether it is held at this moment: a process that was stopped finds out before its timers do. */
  private look(): boolean {
    const { clock, times } = this.options;
    const ageMs = clock.monotonicMs() - this.renewedMs;
    if (!this.isLost && ageMs >= patienceMs(times)) {
      this.lose("the store could not be reached in time");
    }
    return !this.isLost && !this.isDone;
  }

  /** Renewals may overlap: one that hangs does not keep the next from being tried. */
  private next(): void {
    const { clock, times } = this.options;
    this.timer = clock.setTimer(times.intervalMs, () => {
      if (!this.look()) return;
      void this.renew();
      this.next();
    });
  }

  private async renew(): Promise<void> {
    const { book, self, clock } = this.options;
    const askedMs = clock.monotonicMs();
    try {
      const isHeld = await book.renewPlace(this.of, self);
      if (isHeld) this.renewedMs = Math.max(this.renewedMs, askedMs);
      else if (!this.isDone) this.lose("the node lives again");
    } catch {
      // Tried again soon; too late is found by `look`.
    }
  }

  private lose(why: string): void {
    if (this.isLost || this.isDone) return;
    const { clock, log } = this.options;
    this.isLost = true;
    this.counters.placesLost++;
    clock.clearTimer(this.timer);
    log.warn({ node: this.of.node, why }, "adopting what this node left ends early");
    this.whenLost();
  }
}

const lostFailure: StoreFailure = {
  kind: "fenced",
  why: "the node whose partition it is may live again: nothing of it may be adopted any more",
};

/** A dead node's partitions, written only while the place is held. */
class PlaceStore implements Store {
  constructor(
    private readonly inner: Store,
    private readonly isHeld: () => boolean,
  ) {}

  get atomic(): boolean {
    return this.inner.atomic;
  }

  read(partition: string, from?: string, limit?: number): Promise<Row[]> {
    return this.inner.read(partition, from, limit);
  }

  async write(writes: readonly PartitionWrite[]): Promise<readonly (StoreFailure | null)[]> {
    return this.isHeld() ? await this.inner.write(writes) : writes.map(() => lostFailure);
  }

  partitions(prefix: string, after?: string, limit?: number): Promise<string[]> {
    return this.inner.partitions(prefix, after, limit);
  }

  flush(): Promise<void> {
    return this.inner.flush();
  }

  async close(): Promise<void> {
    // What it is made of is this node's own and stays open.
  }
}
