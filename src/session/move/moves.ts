/**
 * Moves of sessions between nodes: the new owner pulls a session from its old owner, while messages flow. One whose client
 * is connected is held first (hold.ts), and its connection comes after it. The new owner's commit is the switch: a session has one owner, whoever crashes at whatever step (docs/wire.md, "Moves of
 * sessions").
 */
import { sleep } from "../../lib/clock.js";
import { Refusal } from "../../lib/refusal.js";
import type { Session } from "../session.js";
import { Incoming, type PullOutcome, type SizeLimits } from "./incoming.js";
import { Confirmations } from "./confirmations.js";
import { Hold } from "./hold.js";
import type { MoveNote } from "./notes.js";
import { Leftovers } from "./leftovers.js";
import { Outgoing } from "./outgoing.js";
import { MoveCounters, type MoveParts } from "./parts.js";
import { framesWaiting } from "../waiting-frames.js";
import { Stubs } from "./stubs.js";
import {
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  type MoveRefusal,
  type MoveReply,
  type MoveRequest,
  moveService,
} from "./wire.js";

/** How long a session without connection waits for its last exchanges to end. */
const detachedMs = 5_000;
const pollMs = 10;
/** How long the answer to who asked for a move waits until the old owner has confirmed it. */
const confirmedMs = 3_000;

type Reply = (body: Uint8Array) => void;

export type MoveOutcome = MoveReply<"outcome">["outcome"];

export class Moves {
  readonly counters = new MoveCounters();
  /** Why no session may come here, in a sentence; null: they may. */
  closed: string | null = null;
  private readonly outgoing = new Map<string, Outgoing>();
  private readonly incoming = new Map<string, Incoming>();
  /** Client ids whose connections are held, while their moves have not begun. */
  private readonly holds = new Map<string, Hold>();
  /** Who waits for a session that is on its way to this node. */
  private readonly waitingIn = new Map<string, (() => void)[]>();
  private readonly confirmations: Confirmations;
  /** What moves while members were down have left to do, here as old and as new owner. */
  readonly stubs: Stubs;
  readonly leftovers: Leftovers;
  /** Sessions that are being adopted, or were given to adopters. */
  private readonly held = new Set<string>();
  /** What became of a session that this node wanted to adopt from another; null: it never did. */
  adopted: (from: string, clientId: string, id: number) => MoveOutcome | null = () => null;

  constructor(readonly parts: MoveParts) {
    this.confirmations = new Confirmations(parts);
    this.stubs = new Stubs(parts, (clientId) => this.outgoing.has(clientId));
    const isComing = (clientId: string): boolean => this.incoming.has(clientId);
    this.leftovers = new Leftovers(parts, this.counters, isComing);
    parts.cluster.services.offer(moveService, (peer, body, reply) =>
      this.onQuestion(peer, body, reply),
    );
  }

  /** Sessions on their way to this node, and from it. */
  get underWay(): { readonly in: number; readonly out: number } {
    return { in: this.incoming.size, out: this.outgoing.size };
  }

  /** Is the session on its way to this node, or from it? */
  has(clientId: string): boolean {
    const { outgoing, incoming, held } = this;
    return outgoing.has(clientId) || incoming.has(clientId) || held.has(clientId);
  }

  /** The session is being adopted by this node: it is not known yet whether it will be here. */
  hold(clientId: string): void {
    this.held.add(clientId);
    this.waitingIn.set(clientId, []);
  }

  /** That is known now. */
  release(clientId: string): void {
    if (!this.held.delete(clientId)) return;
    const waiting = this.waitingIn.get(clientId) ?? [];
    this.waitingIn.delete(clientId);
    for (const callback of waiting) callback();
  }

  /**
   * Calls back when it is known where the session of that client id is: a move from here that can still be given up is, as
   * its client is back. To be called when there is one under way (`has`).
   */
  whenSettled(clientId: string, callback: () => void): void {
    const outgoing = this.outgoing.get(clientId);
    if (outgoing !== undefined) {
      outgoing.whenSettled(callback);
      return;
    }
    const waiting = this.waitingIn.get(clientId);
    if (waiting === undefined) callback();
    else {
      this.counters.waited++;
      waiting.push(callback);
    }
  }

  /** Brings a session here from the node that has it. `limits`: it may be no larger; null: of any size. */
  async pull(clientId: string, from: string, limits: SizeLimits | null): Promise<PullOutcome> {
    const refused = this.has(clientId) ? "it is being moved already" : this.closed;
    if (refused !== null) return { refused, isLarge: false };
    const move = new Incoming(this, clientId, from, limits);
    this.incoming.set(clientId, move);
    const waiting: (() => void)[] = [];
    this.waitingIn.set(clientId, waiting);
    const outcome = await move.run();
    this.incoming.delete(clientId);
    this.waitingIn.delete(clientId);
    if ("messages" in outcome) this.confirmations.add(clientId, move);
    for (const callback of waiting) callback();
    return outcome;
  }

  /**
   * Moves a session of this node to another one, which pulls it. Its client may be connected, and notices nothing. Resolves
   * with the number of its messages.
   * @throws Refusal with a sentence, when it stays here
   */
  async push(clientId: string, to: string): Promise<number> {
    const { clock, sessions } = this.parts;
    this.checkTarget(to);
    const session = sessions.get(clientId);
    if (session === undefined || !session.persistent) {
      throw new Refusal("there is no session of that client here that outlives its connection");
    }
    const { channel } = session;
    if (channel !== null)
      return await this.pushHeld(clientId, to, new Hold(session, channel, clock));
    const endMs = clock.monotonicMs() + detachedMs;
    while (!this.isSettled(session) && clock.monotonicMs() < endMs) await sleep(clock, pollMs);
    return await this.askToPull(clientId, to);
  }

  /** Client and session stand still before the new owner takes what comes: what was under way might wait behind that. */
  private async pushHeld(clientId: string, to: string, hold: Hold): Promise<number> {
    if (this.holds.has(clientId)) throw new Refusal("it is being moved already");
    this.holds.set(clientId, hold);
    try {
      const { clock } = this.parts;
      const endMs = clock.monotonicMs() + detachedMs;
      for (;;) {
        const missing = hold.advance();
        if (missing === null) break;
        if (clock.monotonicMs() >= endMs || hold.isLate) throw new Refusal(missing);
        await sleep(clock, pollMs);
      }
      return await this.askToPull(clientId, to);
    } finally {
      // Else the move has it.
      if (this.holds.delete(clientId)) hold.release();
    }
  }

  private async askToPull(clientId: string, to: string): Promise<number> {
    const question = encodeRequest({ verb: "pull", clientId });
    const answer = await this.parts.cluster.ask(to, moveService, question);
    const reply = answer === null ? null : decodeReply("pull", answer);
    if (reply === null) throw new Refusal(`the link to ${to} broke: see where the session is`);
    if ("refused" in reply) throw new Refusal(reply.refused);
    return reply.messages;
  }

  /** The connection of a session is closed. True: it is on its way to another node, which comes first. */
  onClosed({ clientId }: Session, willDue: boolean): boolean {
    return this.outgoing.get(clientId)?.onClosed(willDue) ?? false;
  }

  /** At start: an earlier process had given a session's state away. */
  restoreOutgoing(session: Session, note: MoveNote): void {
    this.outgoing.set(session.clientId, new Outgoing(this, session, note.node, note.id, note));
  }

  /** At start: a session had come, and its old owner may not know. It may have ended since. */
  restoreIncoming(clientId: string, note: MoveNote): void {
    this.confirmations.restore(clientId, note);
  }

  /** The members are known: what earlier processes had begun goes on. */
  resume(): void {
    for (const move of this.outgoing.values()) void move.watch();
    this.confirmations.resume();
    this.stubs.resume();
    this.leftovers.resume();
  }

  onOver({ session }: Outgoing): void {
    this.outgoing.delete(session.clientId);
  }

  /** `by`, or who has adopted it from there, has a session of this node for good. `confirm`: that is durable here. */
  onSettled(clientId: string, by: string, id: number, confirm: () => void): void {
    const move = this.outgoing.get(clientId);
    if (move === undefined || move.to !== by || move.id !== id) confirm();
    else move.done(true, confirm);
  }

  /** What became of the move of a session from a node to this one. After `not` it does not come any more. */
  outcomeOf(from: string, clientId: string, id: number): MoveOutcome {
    const adopted = this.adopted(from, clientId, id);
    if (adopted !== null) return adopted;
    if (this.confirmations.isMoved(clientId, from, id)) return "moved";
    const move = this.incoming.get(clientId);
    return move?.is(from, id) && !move.abort() ? "open" : "not";
  }

  private checkTarget(to: string): void {
    const { cluster } = this.parts;
    if (to === cluster.name) throw new Refusal(`the session is at ${to} already`);
    const members = cluster.members.others().map(({ name }) => name);
    if (!members.includes(to)) {
      const others = members.length === 0 ? "there is no other" : members.join(", ");
      throw new Refusal(`${to} is not a member of this cluster: the others are ${others}`);
    }
    if (cluster.state(to) !== "up") throw new Refusal(`${to} is not up`);
  }

  /** Nothing is under way that its move would have to wait for. */
  private isSettled(session: Session): boolean {
    if (session.journal?.isGiving) return false;
    for (const [, message] of session.openPublishes()) if (message !== null) return false;
    return true;
  }

  private onQuestion(peer: string, body: Buffer, reply: Reply): void {
    const request = decodeRequest(body);
    if (request === null) {
      reply(encodeReply("done", { refused: "a question about a move that cannot be read" }));
      return;
    }
    switch (request.verb) {
      case "begin":
        reply(encodeReply("begin", this.begin(peer, request)));
        return;
      case "done":
        this.onDone(peer, request, () => reply(encodeReply("done", {})));
        return;
      case "outcome":
        reply(encodeReply("outcome", this.outcome(peer, request)));
        return;
      case "leftovers":
        reply(encodeReply("leftovers", { open: this.leftovers.open(request.moves) }));
        return;
      case "waiting":
        reply(encodeReply("waiting", this.waiting(peer, request)));
        return;
      case "pull":
        void this.onPull(peer, request.clientId).then((answer) => {
          reply(encodeReply("pull", answer));
        });
        return;
      default:
        this.onWork(peer, request, reply);
    }
  }

  /** What waits here for a node, when we hold all rows that `peer` had when it asked. */
  private waiting(
    peer: string,
    { node, seq, after }: MoveRequest & { verb: "waiting" },
  ): MoveReply<"waiting"> | MoveRefusal {
    const { cluster, sessions } = this.parts;
    const rows = cluster.peer(peer)?.rows.seq ?? -1;
    if (rows < seq) return { refused: "its rows are not here yet" };
    return framesWaiting(cluster, sessions.router, node, after);
  }

  /** State and parts, of a move that has begun. */
  private onWork(
    peer: string,
    request: MoveRequest & { verb: "state" | "part" },
    reply: Reply,
  ): void {
    const { clientId, id } = request;
    const move = this.outgoing.get(clientId);
    if (move === undefined || move.to !== peer || move.id !== id) {
      reply(encodeReply(request.verb, { refused: "it was given up at its old node" }));
    } else if (request.verb === "part") {
      reply(encodeReply("part", move.part(request.kind, request.index)));
    } else {
      void move.state(request.positions).then((state) => reply(encodeReply("state", state)));
    }
  }

  private begin(
    peer: string,
    { clientId, id, away }: MoveRequest & { verb: "begin" },
  ): MoveReply<"begin"> | MoveRefusal {
    const { sessions, cluster } = this.parts;
    const session = sessions.get(clientId);
    const back = away.find((name) => !cluster.barriers.isAway(name));
    const refused =
      back === undefined ? this.refusal(clientId, session) : `${peer} does not hear ${back}`;
    if (refused !== null || session === undefined) return { refused: refused ?? "it is not here" };
    const hold = this.holds.get(clientId) ?? null;
    this.holds.delete(clientId);
    const move = new Outgoing(this, session, peer, id, null, hold, away);
    this.outgoing.set(clientId, move);
    return move.begin();
  }

  /** Why a session cannot go; null: it can. */
  private refusal(clientId: string, session: Session | undefined): string | null {
    const { name } = this.parts.cluster;
    if (session === undefined) return `there is no session of that client at ${name}`;
    if (this.has(clientId)) return "it is being moved already";
    if (this.confirmations.has(clientId)) return "its last move is not known to all yet";
    const isStill = this.holds.get(clientId)?.isStill ?? false;
    if (session.channel !== null && !isStill) return "its client is connected";
    if (session.isArriving) return "the connection of its client is about to come after it";
    if (!session.persistent) return "it ends with its connection";
    if (session.journal?.isAttaching) return "its client is about to connect";
    const origin = this.leftovers.originOf(clientId);
    if (origin !== undefined) return `it came while ${origin} was down, which may have more for it`;
    const giving = session.succession?.giving ?? null;
    if (giving !== null) return `a session at ${giving.node} may have what waits in it`;
    if (session.isStalled) return `the store of ${name} takes nothing at the moment`;
    return null;
  }

  private onDone(
    peer: string,
    { clientId, id, moved }: MoveRequest & { verb: "done" },
    confirm: () => void,
  ): void {
    const move = this.outgoing.get(clientId);
    // It is known already: this is said until it is heard.
    if (move === undefined || move.to !== peer || move.id !== id) confirm();
    else move.done(moved, confirm);
  }

  private outcome(
    peer: string,
    { clientId, id }: MoveRequest & { verb: "outcome" },
  ): MoveReply<"outcome"> {
    return { outcome: this.outcomeOf(peer, clientId, id) };
  }

  private async onPull(peer: string, clientId: string): Promise<MoveReply<"pull"> | MoveRefusal> {
    const outcome = await this.pull(clientId, peer, null);
    // Mostly it can be moved on when this is answered.
    await this.confirmations.settled(clientId, confirmedMs);
    return "refused" in outcome ? { refused: outcome.refused } : { messages: outcome.messages };
  }
}
