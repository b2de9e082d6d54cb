/**
 * What is known of wills that nobody else may publish any more, by connection: those that were published or are void, and
 * those that a node is about to publish for one that is dead. If that node dies in the midst of it, the will is its owner's
 * again: of what it had begun to publish it finds the rest in its store, and says so. Not with QoS 0, of which nothing is
 * stored: it may have come, and is settled.
 *
 * They are stored, so that a process which has answered that it knows may die: until their owner has heard them, with all members up,
 * or is removed. Not those of an owner that is linked and hears of them at once.
 */
import { setBounded, type WillOf } from "./will-entries.js";
import type { WillHost, WillNetwork } from "./will-parts.js";
import type { NotedWill } from "./will-record.js";

/** Who is about to publish a will. */
export interface Publisher {
  readonly by: string;
  /** With QoS 0 its incarnation, else 0: nobody publishes the will when that process is dead. */
  readonly process: number;
}

interface Note extends WillOf {
  readonly owner: string;
  /** Null: it is settled. */
  readonly begun: Publisher | null;
  /** It has been stored, or will be when it is settled. */
  isKept: boolean;
}

export class WillNotes {
  private readonly notes = new Map<string, Note>();

  constructor(
    private readonly network: Pick<WillNetwork, "self" | "linkOf" | "isMember">,
    private readonly store: Pick<WillHost, "note" | "forgetNote">,
  ) {}

  /** It was published, or is void. */
  settle(owner: string, clientId: string, epoch: number): void {
    const { self } = this.network;
    const before = this.notes.get(keyOf(clientId, epoch));
    if (before?.begun === null && before.isKept) return;
    const isOther = owner !== "" && owner !== self;
    const isKept = isOther && (before?.isKept || this.network.linkOf(owner) === null);
    this.set({ owner, clientId, epoch, begun: null, isKept });
    if (isKept) this.store.note({ owner, clientId, epoch, by: "", process: 0 });
  }

  /** That node is about to publish it. */
  begin(owner: string, clientId: string, epoch: number, begun: Publisher): void {
    const { self } = this.network;
    const isKept = owner !== self;
    this.set({ owner, clientId, epoch, begun, isKept });
    // What this one begins, but for QoS 0, is found in the store when it is committed; before, nothing has come of it.
    const isFound = begun.by === self && begun.process === 0;
    if (isKept && !isFound) this.store.note({ owner, clientId, epoch, ...begun });
  }

  /** An earlier process of this node had stored that. After what it was publishing was found. */
  restore({ owner, clientId, epoch, by, process }: NotedWill): void {
    if (this.has(clientId, epoch)) return;
    const isOurs = by === this.network.self;
    const begun = by === "" || isOurs ? null : { by, process };
    this.set({ owner, clientId, epoch, begun, isKept: true });
  }

  /** Nothing came of that. */
  giveUp(clientId: string, epoch: number, by = this.network.self): void {
    if (this.begunBy(clientId, epoch)?.by !== by) return;
    const note = this.notes.get(keyOf(clientId, epoch));
    this.notes.delete(keyOf(clientId, epoch));
    if (note !== undefined) this.letGo(note);
  }

  /** Owners of which something is stored. */
  keptOwners(): ReadonlySet<string> {
    const owners = new Set<string>();
    for (const { owner, isKept, begun } of this.notes.values()) {
      if (isKept && begun === null) owners.add(owner);
    }
    return owners;
  }

  /** The owner knows these, and nobody has what it does not know: they need not be stored any more. */
  heardBy(owner: string, wills: readonly WillOf[]): void {
    for (const { clientId, epoch } of wills) {
      const note = this.notes.get(keyOf(clientId, epoch));
      if (note?.owner === owner && note.begun === null) this.letGo(note);
    }
  }

  /** Those of nodes that are no members any more need not be stored. */
  forgetStrangers(): void {
    for (const note of this.notes.values()) {
      if (note.isKept && !this.network.isMember(note.owner)) this.letGo(note);
    }
  }

  private letGo(note: Note): void {
    const { owner, clientId, epoch, begun, isKept } = note;
    if (isKept) this.store.forgetNote({ owner, clientId, epoch, by: begun?.by ?? "" });
    note.isKept = false;
  }

  private set(note: Note): void {
    setBounded(this.notes, keyOf(note.clientId, note.epoch), note, (dropped) =>
      this.letGo(dropped),
    );
  }

  /** Was it noted that it is settled, or that somebody is about to publish it? */
  has(clientId: string, epoch: number): boolean {
    return this.notes.has(keyOf(clientId, epoch));
  }

  isSettled(clientId: string, epoch: number): boolean {
    return this.notes.get(keyOf(clientId, epoch))?.begun === null;
  }

  /** Who was about to publish it; null: it is settled, or nothing is known. */
  begunBy(clientId: string, epoch: number): Publisher | null {
    return this.notes.get(keyOf(clientId, epoch))?.begun ?? null;
  }

  /** Those that a process began to publish which is dead, and that nobody publishes any more. */
  ended(network: WillNetwork): (WillOf & { readonly owner: string })[] {
    return [...this.notes.values()].filter(({ begun }) => begun && hasEnded(network, begun));
  }

  /** Is one of that node about to be published by this one, or by a process after which nobody does? */
  isOpen(owner: string): boolean {
    return [...this.notes.values()].some(
      ({ owner: of, begun }) =>
        of === owner && begun && (begun.by === this.network.self || begun.process),
    );
  }

  /** The wills of that node that are settled. */
  of(owner: string): WillOf[] {
    const wills: WillOf[] = [];
    for (const { owner: of, clientId, epoch, begun } of this.notes.values()) {
      if (of === owner && begun === null) wills.push({ clientId, epoch });
    }
    return wills;
  }
}

/** Did a process begin to publish a will of QoS 0 that is certainly dead? */
export function hasEnded(network: WillNetwork, { by, process }: Publisher): boolean {
  if (process === 0 || by === network.self) return false;
  return network.isGone(by) || network.incarnationOf(by) > process || !network.isMember(by);
}

/** Of one connection's will. */
export const keyOf = (clientId: string, epoch: number): string => `${epoch} ${clientId}`;
