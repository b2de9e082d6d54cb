/**
 * The subscriptions of one session, in the order in which they were made. Most sessions have one, so that a map is
 * made for the second: a hundred thousand idle sessions feel the difference.
 */
import type { SubscriptionOptions } from "../routing/targets.js";

export class Subscriptions {
  /** The only one, while there is no map; null: there is none. */
  private filter: string | null = null;
  private options: SubscriptionOptions | null = null;
  private all: Map<string, SubscriptionOptions> | null = null;

  get size(): number {
    if (this.all !== null) return this.all.size;
    return this.filter === null ? 0 : 1;
  }

  get(filter: string): SubscriptionOptions | undefined {
    if (this.all !== null) return this.all.get(filter);
    return this.filter === filter && this.options !== null ? this.options : undefined;
  }

  has(filter: string): boolean {
    return this.get(filter) !== undefined;
  }

  /** Adds a subscription, or changes it in its place. */
  set(filter: string, given: SubscriptionOptions): void {
    const options = common(given);
    const isOnly = this.all === null && (this.filter === null || this.filter === filter);
    if (isOnly) {
      this.filter = filter;
      this.options = options;
      return;
    }
    this.all ??= new Map(this);
    this.filter = this.options = null;
    this.all.set(filter, options);
  }

  /** False: there was none. */
  delete(filter: string): boolean {
    if (this.all !== null) return this.all.delete(filter);
    if (this.filter !== filter) return false;
    this.filter = this.options = null;
    return true;
  }

  clear(): void {
    this.filter = this.options = this.all = null;
  }

  *keys(): IterableIterator<string> {
    for (const [filter] of this) yield filter;
  }

  *[Symbol.iterator](): IterableIterator<[string, SubscriptionOptions]> {
    if (this.all !== null) yield* this.all;
    else if (this.filter !== null && this.options !== null) yield [this.filter, this.options];
  }
}

/** Options without an identifier: there are twelve different ones, for all sessions. */
const known: (SubscriptionOptions | undefined)[] = [];

function common(options: SubscriptionOptions): SubscriptionOptions {
  const { qos, noLocal, retainAsPublished, subscriptionId } = options;
  if (subscriptionId !== 0) return options;
  const place = qos * 4 + (noLocal ? 2 : 0) + (retainAsPublished ? 1 : 0);
  known[place] ??= { qos, noLocal, retainAsPublished, subscriptionId };
  return known[place];
}
