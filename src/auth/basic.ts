/**
 * What a method for the user name and password of a CONNECT is. Methods form a chain: one that does not
 * know the name leaves it to the next.
 */
export type BasicAnswer =
  | "right"
  | "wrong"
  /** The next method may know the name. */
  | "unknown"
  /** Too many checks wait. */
  | "busy"
  /** Nobody wanted the answer any more. */
  | "abandoned";

export interface BasicCheck {
  readonly name: string;
  /** Null: the CONNECT had none. */
  readonly password: Buffer | null;
  /** Whether the connection is still there. */
  isWanted(): boolean;
  /** Called once, possibly before `check` returns. */
  done(answer: BasicAnswer): void;
}

export interface BasicMethod {
  check(check: BasicCheck): void;
  readonly waiting: number;
}
