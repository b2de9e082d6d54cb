/** The question to the others when a peer has gone silent: does anybody hear it? */
import type { Link } from "./link.js";

/** A peer that may be asked. */
export interface Witness {
  readonly name: string;
  readonly link: Pick<Link, "call"> | null;
}

/**
 * Asks all that are linked. `done` is told true for each that heard the suspect within the last `withinMs`, and false once,
 * at the end, when the last answer, or the last link that broke, brought nothing; at once when nobody is there to be asked.
 */
export function askOthers(
  peers: readonly Witness[],
  suspect: string,
  withinMs: number,
  done: (heard: boolean) => void,
): void {
  const others = peers.filter(({ name, link }) => link !== null && name !== suspect);
  let open = others.length;
  if (open === 0) done(false);
  for (const { link } of others) {
    link?.call("heard", { name: suspect }, (reply) => {
      if (reply !== null && reply.ms >= 0 && reply.ms < withinMs) done(true);
      else if (--open === 0) done(false);
    });
  }
}
