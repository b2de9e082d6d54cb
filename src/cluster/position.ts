/** Numbers of forwards, in the order in which an origin gave them, and how far somebody has come in them. */

/** The number of a forward at its origin: counters begin anew with each incarnation. */
export interface ForwardNumber {
  readonly incarnation: number;
  readonly counter: number;
}

/** The forwards of one origin up to this number. */
export interface Position extends ForwardNumber {
  readonly origin: string;
}

/** Did the same origin give the one after the other? */
export function isLater(one: ForwardNumber, other: ForwardNumber): boolean {
  if (one.incarnation !== other.incarnation) return one.incarnation > other.incarnation;
  return one.counter > other.counter;
}

/** The first of the positions that `here` has not reached; undefined: it has reached all. What `self` itself sent is always here. */
export function firstLate(
  wanted: readonly Position[],
  here: readonly Position[],
  self: string,
): Position | undefined {
  const reached = new Map(here.map((one) => [one.origin, one]));
  return wanted.find((one) => {
    if (one.counter === 0 || one.origin === self) return false;
    const taken = reached.get(one.origin);
    return taken === undefined || isLater(one, taken);
  });
}
