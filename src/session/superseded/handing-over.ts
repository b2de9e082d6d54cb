/**
 * What an older session leaves to the younger one: read when everything is here that belongs to it, and given in parts. Messages
 * have the numbers of its journal, which last as long as it does: the younger session says up to which it has them, so none is given
 * twice, also when this node died before it heard that, and more has come since.
 */
import type { Cluster } from "../../cluster/cluster.js";
import { firstLate } from "../../cluster/position.js";
import type { Clock } from "../../lib/clock.js";
import { sleep } from "../../lib/clock.js";
import { takeSnapshot } from "../move/export.js";
import type { Moves } from "../move/moves.js";
import type { Session } from "../session.js";
import type { Legacy } from "./leaving.js";
import type { Remainder } from "./remainder.js";
import type { Answer, Question } from "./wire.js";

/** How long rows and streams may take before it is tried again. */
const barrierMs = 10_000;
const pollMs = 5;

export interface HandingOverHost {
  get(clientId: string): Session | undefined;
  readonly moves: Pick<Moves, "leftovers"> | null;
}

export class HandingOver {
  constructor(
    private readonly host: HandingOverHost,
    private readonly cluster: Pick<Cluster, "name" | "positions" | "barriers" | "nextStamp">,
    private readonly clock: Clock,
    private readonly ask: (node: string, question: Question) => Promise<Answer | null>,
  ) {}

  /**
   * All that the session leaves after the message of that number, which the younger one has. `before`: what was read
   * earlier, maybe of more. Null: not everything is there yet that belongs to it.
   */
  async legacyOf(
    session: Session,
    remainder: Remainder,
    takenSeq: number,
    before: Legacy | null,
  ): Promise<Legacy | null> {
    const { cluster, host } = this;
    if (before !== null && isOneEnd(before, takenSeq)) return before;
    if (host.moves?.leftovers.has(session.clientId) === true) return null;
    if (!(await this.isComplete())) return null;
    for (const [, message] of session.openPublishes()) if (message !== null) return null;
    const isHere = host.get(session.clientId) === session;
    const { journal, epoch } = session;
    if (journal?.isGiving === true || session.isStalled || !isHere) return null;
    const snapshot = takeSnapshot(session, cluster.name, cluster.positions(), takenSeq);
    // What comes from now on is the younger one's, from whomever.
    remainder.close();
    await new Promise<void>((resolve) => session.whenDurable(resolve));
    const read = await snapshot.read();
    if (read === null) {
      remainder.reopen();
      return null;
    }
    const { messages, ends } = read;
    const parts = messages.map((part, index) => ({ upTo: ends[index] ?? takenSeq, part }));
    if (parts.length === 0) parts.push({ upTo: takenSeq, part: Buffer.alloc(0) });
    return { id: journal === null ? cluster.nextStamp() : epoch, after: takenSeq, parts };
  }

  /**
   * Gives what the younger session at that node has not taken; `beforeLast` says whether the last part, after which that takes all,
   * may leave. False: it has not all yet.
   */
  async give(
    { clientId, epoch, succession }: Pick<Session, "clientId" | "epoch" | "succession">,
    by: string,
    { id, parts }: Legacy,
    takenSeq: number,
    beforeLast: (upTo: number) => Promise<boolean>,
  ): Promise<boolean> {
    const due = parts.filter(({ upTo }) => upTo > takenSeq);
    // It has to be there still, also when it has everything, or another one has that is on its way there.
    if (due.length === 0) due.push({ upTo: takenSeq, part: Buffer.alloc(0) });
    const taken = [...(succession?.taken ?? [])];
    for (const [index, { upTo, part }] of due.entries()) {
      const last = index === due.length - 1;
      if (last && upTo > takenSeq && !(await beforeLast(upTo))) return false;
      const place = { first: index === 0, last, upTo, part, ...(last ? { taken } : {}) };
      const answer = await this.ask(by, { kind: "give", clientId, epoch, id, ...place });
      if (answer?.kind !== "taken") return false;
    }
    return true;
  }

  /** Has everything come that others had for this node before now? Not while a member is away. */
  private async isComplete(): Promise<boolean> {
    const { cluster, clock } = this;
    const deadlineMs = clock.monotonicMs() + barrierMs;
    const outcome = await cluster.barriers.reach(cluster.name, deadlineMs);
    if ("missing" in outcome) return false;
    const { positions } = outcome;
    while (firstLate(positions, cluster.positions(), cluster.name) !== undefined) {
      if (clock.monotonicMs() >= deadlineMs) return false;
      await sleep(clock, pollMs);
    }
    return true;
  }
}

/** Is that where what was read begins, or one of its parts ends? */
const isOneEnd = ({ after, parts }: Legacy, seq: number): boolean =>
  seq === after || parts.some(({ upTo }) => upTo === seq);
