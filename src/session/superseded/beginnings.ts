/**
 * From where on a younger session gets everything itself: what was published before its first subscription was in force is the
 * older one's, of each origin up to a number. It is noted before SUBACK, and told to the older one's node.
 */
import type { Cluster } from "../../cluster/cluster.js";
import { isLater } from "../../cluster/position.js";
import type { Session } from "../session.js";
import type { Succession } from "./succession.js";
import type { Answer, Cut, Question } from "./wire.js";

/** When the first subscriptions of a younger session were made. */
interface Beginning {
  /** Of this node's rows, those of the session among them. */
  readonly seq: number;
  /** What had been taken here of each origin: it got none of that. */
  readonly taken: readonly Cut[];
}

export class Beginnings {
  private readonly bySession = new WeakMap<Session, Beginning>();

  constructor(
    private readonly cluster: Pick<
      Cluster,
      "name" | "positions" | "members" | "state" | "table" | "peer"
    >,
    private readonly note: (session: Session, succession: Succession) => void,
    private readonly ask: (node: string, question: Question) => Promise<Answer | null>,
  ) {}

  /** Subscriptions of the session were made in this turn. */
  subscribing(session: Session): void {
    if (session.succession?.cuts !== null || this.bySession.has(session)) return;
    const { cluster } = this;
    this.bySession.set(session, { seq: cluster.table.digest().seq, taken: cluster.positions() });
  }

  /** The session's first subscription is in force. `ready` when that is noted. */
  subscribed(session: Session, ready: () => void): void {
    const beginning = this.bySession.get(session);
    if (session.succession?.cuts !== null || beginning === undefined) {
      ready();
      return;
    }
    void this.cutsAt(beginning).then((cuts) => {
      const { succession } = session;
      if (succession?.cuts === null) this.note(session, { ...succession, cuts });
      this.bySession.delete(session);
      void this.tellCuts(session, cuts).then(() => session.whenDurable(ready));
    });
  }

  /** Up to where this node has published itself, by now or by what was taken then. */
  ownPosition(positions: readonly Cut[] = this.cluster.positions()): Cut {
    const { name } = this.cluster;
    const own = positions.find(({ origin }) => origin === name);
    return own ?? { origin: name, incarnation: 0, counter: 0 };
  }

  /** Up to where it had when it began to hold that peer's rows up to `seq`; without it: by now. */
  positionFor(peer: string, seq: number | undefined): Answer {
    const own = this.ownPosition();
    const newest = this.cluster.peer(peer)?.newestBefore(seq ?? 0);
    const counter = seq === undefined ? own.counter : newest;
    if (counter === null || counter === undefined) return { kind: "unknown" };
    return { kind: "position", incarnation: own.incarnation, counter };
  }

  /**
   * What had come here was not for the session, and neither was what others had published before they held its rows. Who does
   * not hold them yet is left out.
   */
  private async cutsAt({ seq, taken }: Beginning): Promise<Cut[]> {
    const names = this.cluster.members.others().map(({ name }) => name);
    const answers = await Promise.all(
      names.map((name) => this.ask(name, { kind: "position", seq })),
    );
    const cuts = [this.ownPosition(taken)];
    for (const [index, answer] of answers.entries()) {
      if (answer?.kind !== "position") continue;
      const { incarnation, counter } = answer;
      const cut = { origin: names[index] ?? "", incarnation, counter };
      const before = taken.find(({ origin }) => origin === cut.origin);
      cuts.push(before !== undefined && isLater(before, cut) ? before : cut);
    }
    return cuts;
  }

  /** Older sessions on their way here may have asked before. */
  private async tellCuts({ clientId, epoch, succession }: Session, cuts: Cut[]): Promise<void> {
    const up = succession?.nodes.filter((node) => this.cluster.state(node) === "up") ?? [];
    await Promise.all(up.map((node) => this.ask(node, { kind: "cut", clientId, epoch, cuts })));
  }
}
