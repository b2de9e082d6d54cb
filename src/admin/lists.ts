/**
 * Lists that may have a million items: made in parts, a page at a time, and looked through in turns, so that the node
 * goes on with its work and never holds more than a page of them.
 */
import type { Clock } from "../lib/clock.js";

/** Items in one part of an answer. */
export const partItems = 500;
/** A list leaves off for a turn after this long; the clock is read after so many items. */
const turnMs = 4;
const itemsPerLook = 64;

/** The items of a list as they are found; `undefined` for something that was looked at in vain. */
export type Listing<T> = Iterable<T | undefined>;

/** Some items of a list, in its order; all but the last one of a list have `partItems`. */
export interface ListPart<T> {
  readonly items: readonly T[];
  /** How many items the list has, shown or not: known with the last part. */
  readonly total: number | null;
}

/** The first `limit` items in parts, the last of them with the number of all. */
export async function* inParts<T>(
  listing: Listing<T>,
  limit: number,
  clock: Clock,
): AsyncGenerator<ListPart<T>, void, void> {
  let items: T[] = [];
  let total = 0;
  let looked = 0;
  let endMs = clock.monotonicMs() + turnMs;
  for (const item of listing) {
    if (++looked % itemsPerLook === 0 && clock.monotonicMs() > endMs) {
      await nextTurn(clock);
      endMs = clock.monotonicMs() + turnMs;
    }
    if (item === undefined || ++total > limit) continue;
    if (items.length === partItems) {
      yield { items, total: null };
      items = [];
      // Whoever takes it fast would otherwise have it all in one turn.
      await nextTurn(clock);
      endMs = clock.monotonicMs() + turnMs;
    }
    items.push(item);
  }
  yield { items, total };
}

function nextTurn(clock: Clock): Promise<void> {
  return new Promise((resolve) => clock.defer(resolve));
}
