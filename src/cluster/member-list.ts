/**
 * The members of the cluster as this node knows them: one entry for each data directory that ever had a
 * name. `removed` is final for an entry, else the higher stamp wins, so that all nodes end with the same
 * list in whatever order they hear. Pure; cluster.ts stores and sends it.
 */
import type { Member } from "./wire/messages.js";

/** What is kept on disk. */
export interface ClusterState {
  /** Id of this data directory, 32 hexadecimal digits. */
  readonly id: string;
  /** Of the present or the last run. */
  readonly incarnation: number;
  readonly members: readonly Member[];
  /** Stamp at which this node last left a cluster; 0: never. Tells peers that were away. */
  readonly leftStamp: number;
}

/** Why two lists cannot be merged. */
export interface MergeConflict {
  readonly kind: "name-taken" | "removed";
  readonly name: string;
}

/** Entries kept; a list on the wire has room for as many. */
export const membersMax = 4096;

export class MemberList {
  /** By name and id. */
  private readonly entries = new Map<string, Member>();
  /** The entry of each name that counts. */
  private readonly current = new Map<string, Member>();

  constructor(members: readonly Member[]) {
    for (const member of members) this.set(member);
  }

  /** The entry of that name that counts: the one that is in, or else the latest. */
  get(name: string): Member | undefined {
    return this.current.get(name);
  }

  /** The entry of one data directory under that name. */
  entry(name: string, id: string): Member | undefined {
    return this.entries.get(keyOf({ name, id }));
  }

  /** One entry a name. */
  all(): Member[] {
    return [...this.current.values()];
  }

  /** Every entry, those of earlier data directories too: what others must hear of. */
  everything(): Member[] {
    return [...this.entries.values()];
  }

  /** Members that neither left nor were removed. */
  present(): Member[] {
    return this.all().filter((member) => member.status === "in");
  }

  /** Puts an entry in place of the one there was. */
  set(member: Member): void {
    this.entries.set(keyOf(member), member);
    this.choose(member.name);
  }

  /** Forgets everybody but `own`. */
  reset(own: Member): void {
    this.entries.clear();
    this.current.clear();
    this.set(own);
  }

  /** Takes the newer entries of another list. Returns those that were taken. */
  merge(theirs: readonly Member[]): Member[] {
    const taken: Member[] = [];
    for (const member of theirs) {
      const ours = this.entries.get(keyOf(member));
      if (ours !== undefined && compare(ours, member) >= 0) continue;
      this.set(member);
      taken.push(member);
    }
    this.trim();
    return taken.filter((member) => this.entries.get(keyOf(member)) === member);
  }

  /** Would a merge put two data directories under one name, or make a member of a removed one? */
  conflict(theirs: readonly Member[]): MergeConflict | null {
    const other = new MemberList(theirs);
    for (const member of theirs) {
      const ours = this.entries.get(keyOf(member));
      if (ours === undefined) continue;
      const statuses = [ours.status, member.status];
      if (statuses.includes("removed") && statuses.includes("in")) {
        return { kind: "removed", name: member.name };
      }
    }
    for (const member of other.present()) {
      const ours = this.get(member.name);
      if (ours?.status === "in" && ours.id !== member.id) {
        return { kind: "name-taken", name: member.name };
      }
    }
    return null;
  }

  private choose(name: string): void {
    let best: Member | undefined;
    for (const member of this.entries.values()) {
      if (member.name === name && (best === undefined || countsMore(member, best))) best = member;
    }
    if (best === undefined) this.current.delete(name);
    else this.current.set(name, best);
  }

  /** Of too many entries those go that have been out the longest. */
  private trim(): void {
    if (this.entries.size <= membersMax) return;
    const out = this.everything().filter((member) => member.status !== "in");
    out.sort((a, b) => a.stamp - b.stamp || (keyOf(a) < keyOf(b) ? -1 : 1));
    for (const member of out.slice(0, this.entries.size - membersMax)) {
      this.entries.delete(keyOf(member));
      this.choose(member.name);
    }
  }
}

const keyOf = ({ name, id }: { readonly name: string; readonly id: string }): string =>
  `${name} ${id}`;

/** Which of two entries of one data directory is newer: a total order, the same on all nodes. */
function compare(a: Member, b: Member): number {
  const removed = Number(a.status === "removed") - Number(b.status === "removed");
  if (removed !== 0 || a.stamp !== b.stamp) return removed || a.stamp - b.stamp;
  const [textA, textB] = [textOf(a), textOf(b)];
  return textA === textB ? 0 : textA < textB ? -1 : 1;
}

/** Equal stamps of two nodes are rare; any order will do that all agree on. */
const textOf = ({ status, incarnation, host, port }: Member): string =>
  `${status} ${incarnation} ${host} ${port}`;

/** Of two data directories under one name. */
function countsMore(a: Member, b: Member): boolean {
  if ((a.status === "in") !== (b.status === "in")) return a.status === "in";
  return a.stamp > b.stamp || (a.stamp === b.stamp && a.id > b.id);
}
