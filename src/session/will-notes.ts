/**
 * What is known of wills that nobody else may publish any more, by connection: those that were published or are void, and
 * those that a node is about to publish for one that is dead. If that node dies in the midst of it, the will is its owner's
 * again: of what it had begun to publish it finds the rest in its store, and says so.
 */
import { setBounded, type WillOf } from "./will-entries.js";

interface Note extends WillOf {
  readonly owner: string;
  /** Who is about to publish it; null: it is settled. */
  readonly by: string | null;
}

export class WillNotes {
  private readonly notes = new Map<string, Note>();

  constructor(private readonly self: string) {}

  /** It was published, or is void. */
  settle(owner: string, clientId: string, epoch: number): void {
    setBounded(this.notes, keyOf(clientId, epoch), { owner, clientId, epoch, by: null });
  }

  /** That node is about to publish it. */
  begin(owner: string, clientId: string, epoch: number, by: string): void {
    setBounded(this.notes, keyOf(clientId, epoch), { owner, clientId, epoch, by });
  }

  /** Nothing came of that. */
  giveUp(clientId: string, epoch: number): void {
    if (this.begunBy(clientId, epoch) === this.self) this.notes.delete(keyOf(clientId, epoch));
  }

  /** Was it noted that it is settled, or that somebody is about to publish it? */
  has(clientId: string, epoch: number): boolean {
    return this.notes.has(keyOf(clientId, epoch));
  }

  isSettled(clientId: string, epoch: number): boolean {
    return this.notes.get(keyOf(clientId, epoch))?.by === null;
  }

  /** The node that was about to publish it; null: it is settled, or nothing is known. */
  begunBy(clientId: string, epoch: number): string | null {
    return this.notes.get(keyOf(clientId, epoch))?.by ?? null;
  }

  /** The wills of that node that are settled. */
  of(owner: string): WillOf[] {
    const wills: WillOf[] = [];
    for (const { owner: of, clientId, epoch, by } of this.notes.values()) {
      if (of === owner && by === null) wills.push({ clientId, epoch });
    }
    return wills;
  }
}

const keyOf = (clientId: string, epoch: number): string => `${epoch} ${clientId}`;
