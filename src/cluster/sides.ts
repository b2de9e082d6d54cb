/**
 * Which part of a cluster that may be cut in two this node is in. Members that are known to be dead (nobody listens
 * where they were, they said that they stop, or came back as a new process) are on no side; those that are silent may be on
 * the other one. So may a new process of a dead one, if its place is cut off as well: while somebody is silent, only those
 * dead ones are left out whose places have said since then that nobody listens there. The side with more members may act for the
 * silent ones; of two of the same size that with the lowest name.
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
  /** Of those that are gone: their places are on this side, as far as they have been tried since somebody fell silent. */
  private readonly near = new Set<string>();

  constructor(private readonly host: SidesHost) {}

  /** Its process is certainly no more, and no other has been linked since. */
  isGone(name: string): boolean {
    return this.gone.has(name) && this.host.state(name) === "down";
  }

  /** What the failure detector hears. */
  note({ kind, peer }: { readonly kind: string; readonly peer?: string }): void {
    if (peer === undefined) return;
    if (kind === "gone") {
      this.gone.add(peer);
      this.near.add(peer);
    } else if (kind === "linked") this.gone.delete(peer);
  }

  /** A member is down. If it is merely silent, what is known of the places of others is older than that. */
  onDown(name: string): void {
    if (!this.isGone(name)) this.near.clear();
  }

  /** Nothing came back from where that member was. */
  onUnreachable(name: string): void {
    this.near.delete(name);
  }

  /** May this node act for members that it does not hear? In a cluster of one, and when all are up, always. */
  isLarger(): boolean {
    const here = [this.host.name];
    const silent: string[] = [];
    const far: string[] = [];
    for (const { name } of this.host.members.others()) {
      const state = this.host.state(name);
      if (state === "up" || state === "suspect") here.push(name);
      else if (!this.isGone(name)) silent.push(name);
      else if (!this.near.has(name)) far.push(name);
    }
    // A process that has begun while all others were dead holds nothing that could be published here.
    if (silent.length === 0) return true;
    const there = [...silent, ...far];
    if (here.length !== there.length) return here.length > there.length;
    return lowest(here) < lowest(there);
  }
}

const lowest = (names: readonly string[]): string => names.reduce((a, b) => (a < b ? a : b));
