/**
 * What older sessions leave to younger ones of this node: it comes in parts, is kept in memory until the last is here, and
 * is then taken a part in each turn. Up to which number is committed with their messages, so that none comes twice.
 */
import { WireError } from "../../cluster/wire/frames.js";
import type { Clock } from "../../lib/clock.js";
import type { SessionHost } from "../host.js";
import { readMessages } from "../move/snapshot.js";
import type { Session } from "../session.js";
import type { LegacyPart } from "./leaving.js";
import { type TakenLegacy, takenOf } from "./succession.js";
import type { Answer, Question } from "./wire.js";

/** Messages of an older session on their way here. */
interface Coming {
  readonly peer: string;
  readonly id: number;
  readonly parts: LegacyPart[];
  /** All parts are here, and on their way into the session. */
  isTaken: boolean;
  /** What the older session had taken of still older ones. */
  taken: readonly TakenLegacy[];
}

export interface InheritanceParts {
  /** The session is on its way to another node, or to a younger one. */
  isLeaving(clientId: string): boolean;
  /** What the older session `id` at that peer leaves is in this one up to the number `seq`: that is to be committed with it. */
  onTaken(session: Session, peer: string, id: number, seq: number): void;
  /** What still older ones had handed over to that one is in this one, too. */
  onInherited(session: Session, taken: readonly TakenLegacy[]): void;
}

export class Inheritance {
  private readonly coming = new Map<string, Coming>();

  constructor(
    private readonly host: SessionHost & { get(clientId: string): Session | undefined },
    private readonly clock: Clock,
    /** Messages that came here from older sessions. */
    private readonly counters: { takenOver: number },
    private readonly parts: InheritanceParts,
  ) {}

  /** It is on its way into the session: how far that has come changes. */
  isTaking(clientId: string): boolean {
    return this.coming.get(clientId)?.isTaken ?? false;
  }

  /** Parts are kept until the last is here: then they are taken, whatever becomes of the older session's node. */
  take(
    session: Session,
    peer: string,
    { clientId, id, first, last, upTo, part, taken = [] }: Question & { kind: "give" },
    reply: (answer: Answer) => void,
  ): void {
    let coming = this.coming.get(clientId);
    if (coming?.isTaken === true) {
      reply({ kind: "later" });
      return;
    }
    if (coming === undefined || coming.peer !== peer || coming.id !== id || first) {
      coming = { peer, id, parts: [], isTaken: false, taken: [] };
      this.coming.set(clientId, coming);
    }
    coming.parts.push({ upTo, part: Buffer.from(part) });
    if (!last) {
      reply({ kind: "taken" });
      return;
    }
    coming.isTaken = true;
    coming.taken = taken;
    void this.takeAll(session, coming).then((isDone) => {
      this.coming.delete(clientId);
      if (isDone) session.whenDurable(() => reply({ kind: "taken" }));
      else reply({ kind: "later" });
    });
  }

  /**
   * A part in each turn, and in its commit up to where they are taken by now: they are given again when this node does not get
   * to the end. False: the session is here no more, or on its way to another node, or a part makes no sense.
   */
  private async takeAll(session: Session, { peer, id, parts, taken }: Coming): Promise<boolean> {
    const { clientId } = session;
    for (const [index, { upTo, part }] of parts.entries()) {
      if (this.host.get(clientId) !== session || this.parts.isLeaving(clientId)) return false;
      if (upTo <= takenOf(session.succession, peer, id)) continue;
      try {
        this.takePart(session, part);
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        return false;
      }
      this.parts.onTaken(session, peer, id, upTo);
      session.pump();
      if (index < parts.length - 1) await new Promise<void>((resolve) => this.clock.defer(resolve));
    }
    // With the last part.
    this.parts.onInherited(session, taken);
    return true;
  }

  private takePart(session: Session, part: Buffer): void {
    const { topics } = this.host.router;
    const nowMs = this.host.turn.refresh();
    readMessages(part, topics, session, nowMs, (_packetId, message, delivery) => {
      this.counters.takenOver++;
      session.enqueue(message, delivery);
    });
  }
}
