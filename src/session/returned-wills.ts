/**
 * Wills of which this node has told their owners that nobody else publishes them: what others still hold of them, or find out on
 * another side of a cut, is void, whatever became of the owner since. What an owner asked for at its start is void as far as earlier
 * processes of it had it held; else all, until it has that held again.
 *
 * Those that are told while members are silent are stored, as in will-notes.ts.
 */
import { setBounded } from "./will-entries.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import type { NotedWill } from "./will-record.js";

interface Mark {
  readonly owner: string;
  readonly clientId: string;
  readonly epoch: number;
  /** Of what incarnations of its owner it is void: all below; 0: of all. */
  readonly before: number;
  readonly isKept: boolean;
}

export class ReturnedWills {
  /** By client id. */
  private readonly marks = new Map<string, Mark>();

  constructor(
    private readonly network: Pick<WillNetwork, "isMember">,
    private readonly store: Pick<WillHost, "note" | "forgetNote">,
  ) {}

  /** It is that owner's. `isKept`: also when this process is no more. */
  mark(owner: string, clientId: string, epoch: number, before: number, isKept: boolean): void {
    const known = this.marks.get(clientId);
    const isSame = known?.owner === owner && known.epoch === epoch;
    if (isSame && known.before === before && known.isKept >= isKept) return;
    if (known?.isKept && !isSame) this.store.forgetNote(toNoted(known));
    this.set({ owner, clientId, epoch, before, isKept: isKept || (isSame && known.isKept) });
  }

  /** Its owner has it held again. */
  heldAgain(clientId: string, epoch: number, incarnation: number): void {
    const known = this.marks.get(clientId);
    if (known?.epoch === epoch && known.before !== incarnation) {
      this.set({ ...known, before: incarnation });
    }
  }

  /** Was its owner told that nobody else would publish what that process of it, or an earlier one, had held? */
  has(clientId: string, epoch: number, incarnation: number): boolean {
    const known = this.marks.get(clientId);
    if (known === undefined || known.epoch < epoch) return false;
    return known.before === 0 || incarnation < known.before;
  }

  /** An earlier process of this node had stored that. */
  restore({ owner, clientId, epoch, process }: NotedWill): void {
    const isYounger = (this.marks.get(clientId)?.epoch ?? 0) > epoch;
    if (!isYounger)
      this.marks.set(clientId, { owner, clientId, epoch, before: process, isKept: true });
  }

  /** Owners of which something is stored. */
  keptOwners(): ReadonlySet<string> {
    const owners = new Set<string>();
    for (const { owner, isKept } of this.marks.values()) if (isKept) owners.add(owner);
    return owners;
  }

  /** Nobody has wills of that owner that it does not know of: they need not be stored any more. */
  letGo(owner: string): void {
    for (const mark of this.marks.values()) if (mark.owner === owner) this.forget(mark);
  }

  /** Those of nodes that are no members any more need not be stored. */
  forgetStrangers(): void {
    for (const mark of this.marks.values())
      if (!this.network.isMember(mark.owner)) this.forget(mark);
  }

  private forget(mark: Mark): void {
    if (!mark.isKept) return;
    this.store.forgetNote(toNoted(mark));
    this.marks.set(mark.clientId, { ...mark, isKept: false });
  }

  private set(mark: Mark): void {
    setBounded(this.marks, mark.clientId, mark, (dropped) => {
      if (dropped.isKept) this.store.forgetNote(toNoted(dropped));
    });
    if (mark.isKept) this.store.note(toNoted(mark));
  }
}

/** As a will that its owner is about to publish. */
const toNoted = ({ owner, clientId, epoch, before }: Mark): NotedWill => {
  return { owner, clientId, epoch, by: owner, process: before };
};
