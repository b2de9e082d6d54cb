/**
 * What is known of wills that nobody else may publish any more, by connection: those that were published or are void, and
 * those that a node is about to publish for one that is dead. If that node dies in the midst of it, the will is its owner's
 * again: of what it had begun to publish it finds the rest in its store, and says so. Not with QoS 0, of which nothing is
 * stored: it may have come, and is settled.
 */
import { setBounded, type WillOf } from "./will-entries.js";
import type { WillNetwork } from "./will-parts.js";

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
}

export class WillNotes {
  private readonly notes = new Map<string, Note>();

  constructor(private readonly self: string) {}

  /** It was published, or is void. */
  settle(owner: string, clientId: string, epoch: number): void {
    setBounded(this.notes, keyOf(clientId, epoch), { owner, clientId, epoch, begun: null });
  }

  /** That node is about to publish it. */
  begin(owner: string, clientId: string, epoch: number, begun: Publisher): void {
    setBounded(this.notes, keyOf(clientId, epoch), { owner, clientId, epoch, begun });
  }

  /** Nothing came of that. */
  giveUp(clientId: string, epoch: number, by = this.self): void {
    if (this.begunBy(clientId, epoch)?.by === by) this.notes.delete(keyOf(clientId, epoch));
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
      ({ owner: of, begun }) => of === owner && begun && (begun.by === this.self || begun.process),
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
