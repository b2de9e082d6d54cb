/**
 * The store of a node while it runs, and its group commits. Says aloud when nothing can be stored for now, and ends the
 * node's service when nothing is safe any more: what is not committed is never acknowledged.
 */
import type { Config } from "../config/schema.js";
import { Backoff } from "../lib/backoff.js";
import { type Clock, sleep } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import { Commits } from "./commits.js";
import { openStore } from "./open-store.js";
import { recordCounters } from "./record.js";
import type { LeaseBook } from "./shared.js";
import type { Store, StoreFailure } from "./store.js";

export interface NodeStoreOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Nothing will ever be stored again: the node has to leave service. Called once. */
  readonly onBroken: (failure: StoreFailure) => void;
}

const firstRetryMs = 100;
const mostRetryMs = 5000;
/** How long an orderly stop waits for the last commits. */
const stopMs = 5000;

export class NodeStore {
  readonly commits: Commits;
  /** Told whenever the store takes nothing any more (true), or takes everything again. */
  onStall: (stalled: boolean) => void = () => undefined;

  constructor(
    readonly store: Store,
    private readonly options: NodeStoreOptions,
    /** Null: no other node reaches what is stored. */
    readonly leases: LeaseBook | null = null,
  ) {
    const { config, clock, random } = options;
    this.commits = new Commits({
      ...{ store, clock, backoff: new Backoff(random, firstRetryMs, mostRetryMs) },
      intervalMs: config.store.commit_interval,
      slowMs: config.store.stall_timeout,
      onStalled: (failure) => this.onStalled(failure),
      onBroken: (failure) => this.onBroken(failure),
    });
  }

  /** Opens it; null with `store.kind: memory`. @throws Refusal when it cannot be had */
  static async open(options: NodeStoreOptions): Promise<NodeStore | null> {
    const opened = await openStore(options);
    return opened === null ? null : new NodeStore(opened.store, options, opened.leases);
  }

  /** What is wrong, in a sentence; null: nothing. */
  get alarm(): string | null {
    const { stalled, stalledSinceMs } = this.commits;
    if (stalled === null) return null;
    const since = stalledSinceMs === null ? "" : ` since ${new Date(stalledSinceMs).toISOString()}`;
    return `the store takes nothing${since} (${stalled.kind}): ${stalled.why}`;
  }

  /** For metrics. */
  get counters(): Record<string, unknown> {
    const { counters, stalled } = this.commits;
    const { kind } = this.options.config.store;
    return {
      ...{ ...counters, ...recordCounters, stalled: stalled === null ? 0 : 1 },
      ...{ [kind]: this.store.counters ?? {} },
    };
  }

  /**
   * Makes durable what was done so far, as far as the store takes it; nothing may be touched afterwards. `whenDone` is called
   * when nothing more is written.
   */
  async close(whenDone: () => Promise<void> = async () => undefined): Promise<void> {
    const { clock, log } = this.options;
    const idle = this.commits.idle().then(() => true);
    const inTime = await Promise.race([idle, sleep(clock, stopMs).then(() => false)]);
    if (!inTime) log.error({}, "not everything could be stored; none of that was acknowledged");
    this.commits.close();
    if (inTime) await this.store.flush();
    if (inTime) await whenDone();
    await this.store.close();
  }

  private onStalled(failure: StoreFailure | null): void {
    const { log } = this.options;
    if (failure === null) log.info({}, "the store takes everything again");
    else {
      log.error(
        { ...failure },
        "the store takes nothing: what is due to persistent sessions is refused until it does",
      );
    }
    this.onStall(failure !== null);
  }

  private onBroken(failure: StoreFailure): void {
    this.options.log.error({ ...failure }, "the store is broken: this node leaves service");
    this.options.onBroken(failure);
  }
}
