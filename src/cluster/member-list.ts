/**
 * The members of the cluster as this node knows them: one entry a name, the higher stamp wins, so that
 * all nodes end with the same list in whatever order they hear. Pure; cluster.ts stores and sends it.
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

export class MemberList {
  private readonly entries = new Map<string, Member>();

  constructor(members: readonly Member[]) {
    for (const member of members) this.entries.set(member.name, member);
  }

  get(name: string): Member | undefined {
    return this.entries.get(name);
  }

  all(): Member[] {
    return [...this.entries.values()];
  }

  /** Members that neither left nor were removed. */
  present(): Member[] {
    return this.all().filter((member) => member.status === "in");
  }

  set(member: Member): void {
    this.entries.set(member.name, member);
  }

  /** Forgets everybody but `own`. */
  reset(own: Member): void {
    this.entries.clear();
    this.entries.set(own.name, own);
  }

  /** Takes the newer entries of another list. Returns those that were taken. */
  merge(theirs: readonly Member[]): Member[] {
    const taken: Member[] = [];
    for (const member of theirs) {
      const ours = this.entries.get(member.name);
      if (ours !== undefined && ours.stamp >= member.stamp) continue;
      this.entries.set(member.name, member);
      taken.push(member);
    }
    return taken;
  }

  /** Would a merge put two data directories under one name, or let a removed one back in? */
  conflict(theirs: readonly Member[]): MergeConflict | null {
    for (const member of theirs) {
      const ours = this.entries.get(member.name);
      if (ours === undefined) continue;
      if (ours.id === member.id) {
        if (ours.status === "removed" && member.status === "in") {
          return { kind: "removed", name: member.name };
        }
        continue;
      }
      if (ours.status === "in" && member.status === "in") {
        return { kind: "name-taken", name: member.name };
      }
    }
    return null;
  }
}
