/**
 * Which part of a cluster that may be cut in two this node is in. Members that are known to be dead (nobody listens
 * where they were, or they said that they stop) are on no side; those that are silent may be on the other one. So may
 * a new process of a dead one, if somebody was silent since, until its place says again that nobody listens there; and what one
 * did that was silent itself before it died, the others that are silent may know. Such dead ones count as silent, too. The side with more
 * members may act for the silent ones; of two of the same size that with the lowest name.
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

/**
 * Of a member that is dead. `here`: nothing of it can be elsewhere. `there`: a new process of it may be on another side.
 * `apart`: it was silent before, or others were when it died.
 */
type Death = "here" | "there" | "apart";

export class Sides {
  private readonly gone = new Map<string, Death>();

  constructor(private readonly host: SidesHost) {}

  /** Its process is certainly no more, and no other has been linked since. */
  isGone(name: string): boolean {
    return this.gone.has(name) && this.host.state(name) === "down";
  }

  /** What the failure detector hears, before it does. */
  note({ kind, peer, isBack }: Heard): void {
    if (peer === undefined) return;
    if (kind === "linked") this.gone.delete(peer);
    if (kind !== "gone" || isBack === true) return;
    const before = this.gone.get(peer);
    if (before === "there") this.gone.set(peer, "here");
    else if (before === undefined) this.gone.set(peer, this.silent().length > 0 ? "apart" : "here");
  }

  /** A member is down. If it is merely silent, others that are dead may have begun again beside it. */
  onDown(name: string): void {
    if (this.isGone(name)) return;
    const isFirst = this.silent().length === 1;
    for (const [other, death] of this.gone) {
      if (isFirst || death === "here") this.gone.set(other, "there");
    }
  }

  /** Nothing came back from where that member was. Its machine may have been switched off, unless others are silent as well. */
  onUnreachable(name: string): void {
    if (this.gone.get(name) === "here" && !this.isWhole()) this.gone.set(name, "there");
  }

  /** Is every member up, or certainly dead? */
  isWhole(): boolean {
    return this.host.members
      .others()
      .every(({ name }) => this.host.state(name) === "up" || this.isAccountedFor(name));
  }

  /** May this node act for members that it does not hear? In a cluster of one, and when all are up, always. */
  isLarger(): boolean {
    const isHere = (name: string): boolean => isHeard(this.host.state(name));
    const names = this.host.members.others().map(({ name }) => name);
    const isWhole = this.silent().length === 0;
    const there = names.filter((name) => {
      if (isHere(name) || this.gone.get(name) === "here") return false;
      return !(isWhole && this.isAccountedFor(name));
    });
    if (there.length === 0) return true;
    const here = [this.host.name, ...names.filter(isHere)];
    if (here.length !== there.length) return here.length > there.length;
    return lowest(here) < lowest(there);
  }

  private isAccountedFor(name: string): boolean {
    return this.isGone(name) && this.gone.get(name) !== "there";
  }

  /** Neither heard nor known to be dead. */
  private silent(): string[] {
    const isSilent = (name: string): boolean =>
      !isHeard(this.host.state(name)) && !this.isGone(name);
    return this.host.members
      .others()
      .map(({ name }) => name)
      .filter(isSilent);
  }
}

const isHeard = (state: PeerState): boolean => state === "up" || state === "suspect";

const lowest = (names: readonly string[]): string => [...names].sort()[0] ?? "";
