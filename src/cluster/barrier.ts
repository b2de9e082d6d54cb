/**
 * Positions in streams, and the question by which one node learns how far another must have come. Who takes rows over
 * from a node asks, once everybody holds them in his own name: what did you send to that node before you held mine? What
 * has come there up to these positions is the old owner's; all that is sent later comes to both.
 */
import { type Clock, sleep } from "../lib/clock.js";
import type { PeerState } from "./failure-detector.js";
import type { Position } from "./position.js";
import type { Member } from "./wire/messages.js";

/** What a barrier uses of a peer. */
export interface BarrierPeer {
  readonly name: string;
  readonly ackedSeq: number;
  readonly rows: { readonly seq: number };
  readonly sender: { readonly newest: Omit<Position, "origin"> | null };
  readonly link: BarrierLink | null;
}

export interface BarrierLink {
  call(
    verb: "barrier",
    body: { node: string; seq: number },
    done: (reply: BarrierReply | null) => void,
  ): void;
}

export interface BarrierReply {
  /** Are all rows of the asker up to that sequence held? Else the rest means nothing. */
  readonly held: boolean;
  readonly incarnation: number;
  readonly counter: number;
}

/** What it uses of the cluster. */
export interface BarrierHost {
  readonly name: string;
  readonly context: { readonly clock: Clock };
  readonly members: { others(): readonly Pick<Member, "name">[] };
  readonly table: { digest(): { readonly seq: number } };
  state(name: string): PeerState;
  peer(name: string): BarrierPeer | undefined;
}

export type BarrierOutcome =
  | {
      readonly positions: readonly Position[];
      /** Is everybody still there who was asked, and nobody else, and is away who was? */
      readonly holds: () => boolean;
    }
  | { readonly missing: string };

const pollMs = 5;

export class Barriers {
  readonly counters = { barriers: 0, barriersFailed: 0 };

  constructor(private readonly host: BarrierHost) {}

  /** A peer asks where our stream to `node` stands, now that we hold its rows up to `seq`. */
  answer(asker: BarrierPeer, node: string, seq: number): BarrierReply {
    const newest = this.newestTo(node);
    return { held: asker.rows.seq >= seq, ...newest };
  }

  /**
   * Waits until all members hold every row that this node has set so far, in their stores too, and asks each of them for
   * its position in the stream to `node`. Fails, with the name of who is missing, when that takes until `deadlineMs`
   * on the monotonic clock, and at once when a member is down that is not among those that are known to be `away`.
   */
  async reach(
    node: string,
    deadlineMs: number,
    away: readonly string[] = [],
  ): Promise<BarrierOutcome> {
    const { host } = this;
    this.counters.barriers++;
    const seq = host.table.digest().seq;
    const others = host.members.others().map(({ name }) => name);
    const asked = others.filter((name) => !away.includes(name));
    for (;;) {
      const missing = await this.hold(asked, seq, deadlineMs);
      if (missing !== null) return this.fail(missing);
      const positions = await this.ask(asked, node, seq);
      if (typeof positions !== "string") {
        return { positions, holds: () => this.holds(asked, away, seq) };
      }
      if (this.clock.monotonicMs() >= deadlineMs) return this.fail(positions);
      await sleep(this.clock, pollMs);
    }
  }

  private get clock(): Clock {
    return this.host.context.clock;
  }

  private isUp(name: string): boolean {
    return this.host.state(name) === "up";
  }

  private fail(missing: string): BarrierOutcome {
    this.counters.barriersFailed++;
    return { missing };
  }

  /** Null when all hold the rows; else who does not. */
  private async hold(
    asked: readonly string[],
    seq: number,
    deadlineMs: number,
  ): Promise<string | null> {
    for (;;) {
      const late = asked.find((name) => !this.isHeldBy(name, seq));
      if (late === undefined) return null;
      if (!this.isUp(late) || this.clock.monotonicMs() >= deadlineMs) return late;
      await sleep(this.clock, pollMs);
    }
  }

  private isHeldBy(name: string, seq: number): boolean {
    return this.isUp(name) && (this.host.peer(name)?.ackedSeq ?? -1) >= seq;
  }

  private holds(asked: readonly string[], away: readonly string[], seq: number): boolean {
    const { host } = this;
    return host.members.others().every(({ name }) => {
      if (away.includes(name)) return this.isAway(name);
      return asked.includes(name) && this.isHeldBy(name, seq);
    });
  }

  /** Is a member down, and not linked either? It takes no rows, and sends nothing. */
  isAway(name: string): boolean {
    const { host } = this;
    return host.state(name) === "down" && (host.peer(name)?.link ?? null) === null;
  }

  /** Everybody's position; or the name of one who did not say. */
  private async ask(
    asked: readonly string[],
    node: string,
    seq: number,
  ): Promise<readonly Position[] | string> {
    const own = { origin: this.host.name, ...this.newestTo(node) };
    const positions: Position[] = [own];
    const replies = await Promise.all(asked.map((name) => this.askOne(name, node, seq)));
    for (const [index, reply] of replies.entries()) {
      const origin = asked[index] ?? "";
      if (reply === null || !reply.held) return origin;
      positions.push({ origin, incarnation: reply.incarnation, counter: reply.counter });
    }
    return positions;
  }

  private askOne(name: string, node: string, seq: number): Promise<BarrierReply | null> {
    const { host } = this;
    return new Promise((resolve) => {
      const link = host.peer(name)?.link ?? null;
      if (link === null) resolve(null);
      else link.call("barrier", { node, seq }, resolve);
    });
  }

  /** What of our own is under way to that node; nothing: it has taken all, or is this very node. */
  private newestTo(node: string): { incarnation: number; counter: number } {
    return this.host.peer(node)?.sender.newest ?? { incarnation: 0, counter: 0 };
  }
}
