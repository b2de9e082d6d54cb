/** Closes the connections of clients that are banned while they are here. */
import type { Bans } from "../auth/bans/bans.js";
import { ReasonCode } from "../protocol/reason-codes.js";

/** A connection, as far as it can be banned. */
export interface BanTarget {
  readonly isOpen: boolean;
  /** Undefined before its CONNACK. */
  readonly clientId: string | undefined;
  readonly user: string | undefined;
  info(): { readonly address: string };
  close(reason: number): void;
}

/** DISCONNECT has no code for a ban (0x8A is for CONNACK alone): an administrative action is what it is. */
export function closeBanned(
  targets: Iterable<BanTarget>,
  bans: Pick<Bans, "has" | "counters">,
): void {
  for (const target of [...targets]) {
    const { clientId, user } = target;
    if (!target.isOpen || !bans.has({ clientId, user, host: hostOf(target.info().address) }))
      continue;
    bans.counters.closed++;
    target.close(ReasonCode.AdministrativeAction);
  }
}

/** Of `host:port` and `[host]:port`. */
function hostOf(address: string): string {
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
