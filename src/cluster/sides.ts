/**
 * Which part of a cluster that may be cut in two this node is in. Members that are known to be dead (nobody listens
 * where they were, or they said that they stop) are on no side; those that are silent may be on the other one. So may a
 * new process of a dead one: if somebody was silent since it was seen dead, it counts as silent itself until its place
 * says again that nobody listens there. The side with more members may act for the silent ones; of two of the same size that
 * with the lowest name.
 */
import type { PeerState } from "./failure-detector.js";
import type { Member } from "./wire/messages.js";

/** What it uses of the cluster. */
export interface SidesHost {
  readonly name: string;
  readonly members: { others(): readonly Pick<Member, "name">[] };
  state(name: string): PeerState;
}

interface Heard {
  readonly kind: string;
  readonly peer?: string;
  /** It is gone because a new process of it is being linked. */
  readonly isBack?: boolean;
}

export class Sides {
  private readonly gone = new Set<string>();
  /** Of those that are gone: nobody has begun again there on another side. */
  private readonly near = new Set<string>();

  constructor(private readonly host: SidesHost) {}

  /** Its process is certainly no more, and no other has been linked since. */
  isGone(name: string): boolean {
    return this.gone.has(name) && this.host.state(name) === "down";
  }

  /** What the failure detector hears. */
  note({ kind, peer, isBack }: Heard): void {
    if (peer === undefined) return;
    if (kind === "gone" && isBack !== true) {
      this.gone.add(peer);
      this.near.add(peer);
    } else if (kind === "linked") this.gone.delete(peer);
  }

  /** A member is down. If it is merely silent, what is known of the places of others is older than that. */
  onDown(name: string): void {
    if (!this.isGone(name)) this.near.clear();
  }

  /** Nothing came back from where that member was. Its machine may have been switched off, unless others are silent as well. */
  onUnreachable(name: string): void {
    if (!this.isWhole()) this.near.delete(name);
  }

  /** Is every member up, or certainly dead? */
  isWhole(): boolean {
    const isKnown = (name: string): boolean => this.host.state(name) === "up" || this.isNear(name);
    return this.host.members.others().every(({ name }) => isKnown(name));
  }

  private isNear(name: string): boolean {
    return this.isGone(name) && this.near.has(name);
  }

  /** May this node act for members that it does not hear? In a cluster of one, and when all are up, always. */
  isLarger(): boolean {
    const here = [this.host.name];
    const there: string[] = [];
    for (const { name } of this.host.members.others()) {
      const state = this.host.state(name);
      if (state === "up" || state === "suspect") here.push(name);
      else if (!this.isNear(name)) there.push(name);
    }
    if (there.length === 0) return true;
    if (here.length !== there.length) return here.length > there.length;
    return lowest(here) < lowest(there);
  }
}

const lowest = (names: readonly string[]): string => names.reduce((a, b) => (a < b ? a : b));
