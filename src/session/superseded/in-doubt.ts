/**
 * Older sessions that were giving what they have to a younger one whose node went away before it could say what it took. Their
 * clients may be given them again: then all but what was being given is theirs at once, and that when it is known how far the
 * younger one had come. It is known when that one's node is back, or is no member any more; until then such a session does not
 * move. What was being given is noted durably before the last of it leaves.
 */
import type { Clock } from "../../lib/clock.js";
import { sleep } from "../../lib/clock.js";
import type { Session } from "../session.js";
import { type Giving, type Succession, takenOf } from "./succession.js";
import type { Answer, Question } from "./wire.js";

const againMs = 1_000;
/** Messages that go in one turn. */
const dropsAtOnce = 10_000;

export interface InDoubtParts {
  readonly clock: Clock;
  /** The name of this node, and those of all others. */
  readonly self: string;
  others(): string[];
  /** Some of them are not up. */
  isAnyAway(): boolean;
  get(clientId: string): Session | undefined;
  /** The session is on its way to a younger one. */
  isLeaving(session: Session): boolean;
  note(session: Session, succession: Succession): void;
  ask(node: string, question: Question): Promise<Answer | null>;
  /** So many messages were the younger session's. */
  onGone(count: number): void;
}

export class InDoubt {
  private readonly byId = new Map<string, Session>();
  private isWorking = false;

  constructor(private readonly parts: InDoubtParts) {}

  get size(): number {
    return this.byId.size;
  }

  /** The last of what is given up to that number leaves after this, when it resolves with true. */
  async giving(session: Session, giving: Giving): Promise<boolean> {
    const { epoch, journal } = session;
    // What is in memory alone goes with its node.
    if (journal === null) return true;
    const known = session.succession ?? { nodes: [], cleanEpoch: 0, cuts: [], taken: [] };
    this.parts.note(session, { ...known, giving });
    await new Promise<void>((resolve) => session.whenDurable(resolve));
    this.restore(session);
    this.resume();
    return this.parts.get(session.clientId) === session && session.epoch === epoch;
  }

  /** At start: it may be one of those. `resume` follows. */
  restore(session: Session): void {
    if (session.succession?.giving) this.byId.set(session.clientId, session);
  }

  /** The members are known, or something is given. */
  resume(): void {
    if (this.isWorking || this.byId.size === 0) return;
    this.isWorking = true;
    void this.work();
  }

  /** Is something of that session in doubt, which was given when it had another epoch? */
  has({ succession, epoch }: Session): boolean {
    return succession?.giving ? succession.giving.id !== epoch : false;
  }

  /** Its client is about to be given this session. */
  attaching({ succession, pages }: Session): void {
    if (succession?.giving) pages?.keepBack(succession.giving.upTo);
  }

  private async work(): Promise<void> {
    const { parts, byId } = this;
    while (byId.size > 0) {
      await sleep(parts.clock, againMs);
      for (const [clientId, session] of [...byId]) {
        const giving = session.succession?.giving ?? null;
        const isHere = parts.get(clientId) === session;
        if (giving === null || !isHere) byId.delete(clientId);
        // As long as it is being handed over nothing is in doubt.
        else if (!parts.isLeaving(session) || this.has(session)) await this.settle(session, giving);
      }
    }
    this.isWorking = false;
  }

  private async settle(session: Session, giving: Giving): Promise<void> {
    const { parts } = this;
    const takenSeq = await this.takenOf(session, giving);
    if (takenSeq === null) return;
    for (;;) {
      const { succession, pages, clientId } = session;
      if (succession?.giving !== giving || parts.get(clientId) !== session) return;
      const gone = pages?.dropUpTo(takenSeq, dropsAtOnce) ?? 0;
      parts.onGone(gone);
      if (gone < dropsAtOnce) {
        this.byId.delete(clientId);
        pages?.release();
        parts.note(session, { ...succession, giving: null });
        session.pump();
        return;
      }
      await new Promise<void>((resolve) => parts.clock.defer(resolve));
    }
  }

  /** Up to which number the younger session has it, or whoever has come after that. Null: nobody can tell now. */
  private async takenOf(session: Session, { node, id }: Giving): Promise<number | null> {
    const { parts } = this;
    const question: Question = { kind: "taken", clientId: session.clientId, id };
    const others = parts.others();
    if (others.includes(node)) {
      const answer = await parts.ask(node, question);
      if (answer?.kind !== "unknown") return null;
      if (answer.takenSeq !== undefined) return answer.takenSeq;
    }
    // It has ended there, or been handed over to another one, maybe to this.
    if (parts.isAnyAway()) return null;
    const rest = others.filter((name) => name !== node);
    const answers = await Promise.all(rest.map((name) => parts.ask(name, question)));
    let takenSeq = takenOf(session.succession, parts.self, id);
    for (const answer of answers) {
      if (answer?.kind !== "unknown") return null;
      takenSeq = Math.max(takenSeq, answer.takenSeq ?? 0);
    }
    return takenSeq;
  }
}
