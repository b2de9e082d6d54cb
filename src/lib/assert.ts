/** Checks of our own reasoning. A failure is a bug of ours, never a client's or the world's. */

export class AssertionError extends Error {
  override name = "AssertionError";
}

/** Throws when `condition` is false. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** For the `default` of a switch over a closed set: the compiler checks that nothing gets here. */
export function unreachable(value: never): never {
  throw new AssertionError(`not reachable: ${String(value)}`);
}
