/**
 * Which part of a cluster that may be cut in two this node is in. Members that are known to be dead (nobody listens
 * where they were, they said that they stop, or came back as a new process) cannot be on the other side; those that are
 * silent can. The side with more members may act for the silent ones; of two of the same size that with the lowest name.
 */
import type { PeerState } from "./failure-detector.js";
import type { Member } from "./wire/messages.js";

/** What it uses of the cluster. */
export interface SidesHost {
  readonly name: string;
  readonly members: { others(): readonly Pick<Member, "name">[] };
  state(name: string): PeerState;
}

export class Sides {
  private readonly gone = new Set<string>();

  constructor(private readonly host: SidesHost) {}

  /** Its process is certainly no more, and no other has been linked since. */
  isGone(name: string): boolean {
    return this.gone.has(name) && this.host.state(name) === "down";
  }

  /** What the failure detector hears. */
  note({ kind, peer }: { readonly kind: string; readonly peer?: string }): void {
    if (kind === "gone" && peer !== undefined) this.gone.add(peer);
    else if (kind === "linked" && peer !== undefined) this.gone.delete(peer);
  }

  /** May this node act for members that it does not hear? In a cluster of one, and when all are up, always. */
  isLarger(): boolean {
    const here = [this.host.name];
    const there: string[] = [];
    for (const { name } of this.host.members.others()) {
      if (this.isGone(name)) continue;
      const state = this.host.state(name);
      (state === "up" || state === "suspect" ? here : there).push(name);
    }
    if (here.length !== there.length) return here.length > there.length;
    return lowest(here) < lowest(there);
  }
}

const lowest = (names: readonly string[]): string => names.reduce((a, b) => (a < b ? a : b));
