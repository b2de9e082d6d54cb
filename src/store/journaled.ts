/** What takes part in group commits (commits.ts): somebody whose changes of a turn go to one partition. */
import type { Operation } from "./store.js";

export interface Journaled {
  readonly partition: string;
  /** Epoch of the owner, where the partition has one; read after `collect`. */
  readonly fence: number | undefined;
  /** It is in the list of the next commit. Set and cleared by `Commits` alone. */
  touched: boolean;
  /** Appends operations for everything that changed since the last call; right before a commit begins. */
  collect(into: Operation[]): void;
  /** What the last `collect` gave is durable: what waited for it goes on. It may touch again. */
  committed(): void;
  /** Another owner has written to the partition: it is not ours any more. */
  fenced(): void;
}
