/**
 * A session on its way to this node, its new owner, which pulls it. Until its write has begun it may come to nothing at any
 * step, and the old owner goes on; when the write is committed the session is here. What comes meanwhile to the session's
 * filters is held.
 */
import { WireError } from "../../cluster/wire/frames.js";
import type { Session } from "../session.js";
import { SessionImport } from "./import.js";
import { encodeLeftovers, type Leftovers, leftoversKey } from "./leftovers.js";
import { MovingIn, type OwnPosition } from "./moving-in.js";
import { encodeHeld } from "../will-record.js";
import { encodeNote, movedKey, willKey } from "./notes.js";
import type { MoveCounters, MoveParts } from "./parts.js";
import {
  decodeHead,
  decodeSubscriptions,
  type SnapshotHead,
  type SnapshotSubscription,
} from "./snapshot.js";
import {
  decodeReply,
  encodeRequest,
  type MoveReply,
  type MoveRequest,
  moveService,
} from "./wire.js";

/** How long rows and barriers may take. */
const barrierMs = 10_000;

export interface SizeLimits {
  readonly messages: number;
  readonly bytes: number;
}

export interface IncomingHost {
  readonly parts: MoveParts;
  readonly counters: MoveCounters;
  readonly leftovers: Pick<Leftovers, "add">;
}

/** Why the session does not come, in a sentence for people. */
class NotMoved extends Error {
  constructor(
    readonly why: string,
    /** It is larger than was allowed. */
    readonly isLarge = false,
  ) {
    super(why);
  }
}

export type PullOutcome =
  | { readonly messages: number }
  | { readonly refused: string; readonly isLarge: boolean };

type Verb = "begin" | "state" | "part";

export class Incoming {
  /** Its write has begun: nobody can tell any more that it does not come. */
  isCommitting = false;
  private isAborted = false;
  readonly id: number;
  private holder: MovingIn | null = null;
  /** Members that were down when it began: what they have for the old owner comes later. */
  private away: readonly string[] = [];

  constructor(
    private readonly host: IncomingHost,
    readonly clientId: string,
    readonly from: string,
    /** Null: it may be as large as it is. */
    private readonly limits: SizeLimits | null,
  ) {
    this.id = host.parts.cluster.nextStamp();
  }

  /** Is it this try? */
  is(from: string, id: number): boolean {
    return this.from === from && this.id === id;
  }

  /** Gives up, unless it is too late: then false. */
  abort(): boolean {
    if (!this.isCommitting) this.isAborted = true;
    return !this.isCommitting;
  }

  /** Brings the session here. When it has come it is one of this node's sessions. */
  async run(): Promise<PullOutcome> {
    const { counters } = this.host;
    try {
      const messages = await this.pull();
      counters.movedIn++;
      counters.messagesIn += messages;
      return { messages };
    } catch (error) {
      if (!(error instanceof NotMoved) && !(error instanceof WireError)) throw error;
      counters.failedIn++;
      this.holder?.release();
      this.isAborted = true;
      void this.tell(false);
      const { message } = error;
      return { refused: message, isLarge: error instanceof NotMoved && error.isLarge };
    }
  }

  /** Tells the old owner how it ended. Resolves with whether that has heard it. */
  async tell(moved: boolean): Promise<boolean> {
    const { clientId, id, from } = this;
    const question = encodeRequest({ verb: "done", clientId, id, moved });
    const answer = await this.host.parts.cluster.ask(from, moveService, question);
    return answer !== null && decodeReply("done", answer) !== null;
  }

  private async pull(): Promise<number> {
    const begun = await this.begin();
    const subscriptions = await this.subscriptions(begun.subscriptionParts);
    const holds = await this.hold(subscriptions);
    const { clientId, id } = this;
    const state = await this.ask("state", {
      ...{ verb: "state", clientId, id },
      positions: [...holds.positions],
    });
    const head = decodeHead(state.head);
    if (head.clientId !== clientId || head.epoch !== begun.epoch) {
      throw new WireError("the snapshot of another session");
    }
    this.checkDurable(head);
    const { sessions, cluster } = this.host.parts;
    const own = { self: cluster.name, sessions, journals: sessions.journals };
    const coming = new SessionImport(own, head, subscriptions, begun.epoch + 1);
    for (let index = 0; index < state.messageParts; index++) {
      coming.addMessages(await this.part("messages", index));
    }
    // Whoever joins, or starts anew, from now on has our rows before it publishes anything.
    if (!holds.holds()) throw new NotMoved("members came or went while it moved");
    const session = coming.finish();
    await this.commit(session);
    this.take(coming, session, head);
    return head.messages;
  }

  private async begin(): Promise<MoveReply<"begin">> {
    const { clientId, id, limits, host } = this;
    const { sessions, cluster } = host.parts;
    if (sessions.get(clientId) !== undefined || sessions.isEnding(clientId)) {
      throw new NotMoved(`${cluster.name} has a session of that client itself`);
    }
    this.away = this.membersAway();
    const begun = await this.ask("begin", { verb: "begin", clientId, id, away: [...this.away] });
    cluster.observeStamp(begun.epoch);
    const { messages, bytes } = begun;
    if (limits !== null && (messages > limits.messages || bytes > limits.bytes)) {
      throw new NotMoved(`${messages} messages wait for it, with ${bytes} bytes`, true);
    }
    return begun;
  }

  /** Members that are down for good or for a while, and not just out of reach for a moment. */
  private membersAway(): string[] {
    const { cluster, sessions } = this.host.parts;
    const notUp = cluster.members.others().filter(({ name }) => cluster.state(name) !== "up");
    for (const { name } of notUp) {
      // Others may be about to adopt what it has.
      const isAway = cluster.barriers.isAway(name) && sessions.adoptions === null;
      if (!isAway || name === this.from) throw new NotMoved(waitsFor(name));
    }
    return notUp.map(({ name }) => name);
  }

  private async subscriptions(parts: number): Promise<SnapshotSubscription[]> {
    const all: SnapshotSubscription[] = [];
    for (let index = 0; index < parts; index++) {
      for (const one of decodeSubscriptions(await this.part("subscriptions", index))) all.push(one);
    }
    return all;
  }

  /** Subscribes, and finds out what was sent to the old owner alone. */
  private async hold(subscriptions: readonly SnapshotSubscription[]) {
    const { sessions, cluster, clock } = this.host.parts;
    this.holder = new MovingIn(this.clientId, sessions, subscriptions);
    this.holder.subscribe();
    const deadlineMs = clock.monotonicMs() + barrierMs;
    const outcome = await cluster.barriers.reach(this.from, deadlineMs, this.away);
    if ("missing" in outcome) throw new NotMoved(waitsFor(outcome.missing));
    this.check();
    return outcome;
  }

  private checkDurable({ durable }: SnapshotHead): void {
    const { journals } = this.host.parts.sessions;
    if (durable && journals === null) {
      throw new NotMoved("it is stored, and this node keeps sessions in memory alone");
    }
    if (journals !== null && journals.stalled !== null) {
      throw new NotMoved("the store of the new node takes nothing at the moment");
    }
  }

  /** The write is the switch: nobody may tell that the move has failed until it is known. */
  private async commit(session: Session): Promise<void> {
    this.isCommitting = true;
    const { from: node, id } = this;
    if (session.will !== null) {
      const { clientId, user, rules, will, epoch, expiryMs } = session;
      const dueAt = this.dueAt(session.willDueMs);
      const held = { clientId, user, rules, will, dueAt, epoch, expiryMs };
      session.journal?.note(willKey, encodeHeld(held));
    }
    session.journal?.noteForGood(movedKey, encodeNote({ node, id, nextSeq: 0 }));
    if (this.away.length > 0) {
      const note = { from: node, id, origins: [...this.away] };
      session.journal?.note(leftoversKey, encodeLeftovers(note));
      this.host.leftovers.add(session, note);
    }
    await new Promise<void>((resolve) => session.whenDurable(resolve));
    // Somebody who wanted to adopt it here, while it was elsewhere already, has raised the fence.
    if (session.journal?.isOver) throw new NotMoved("it is too old for the store of the new node");
  }

  /** On the wall clock; 0: with the end of the session. */
  private dueAt(dueMs: number): number {
    const { clock } = this.host.parts;
    return dueMs === Number.POSITIVE_INFINITY ? 0 : dueMs + clock.wallMs() - clock.monotonicMs();
  }

  private take(coming: SessionImport, session: Session, head: SnapshotHead): void {
    const { sessions, cluster } = this.host.parts;
    sessions.takeIn(session);
    coming.subscribe();
    this.host.counters.held += this.holder?.length ?? 0;
    this.holder?.handOver(session, ownPosition(head, cluster));
    this.holder = null;
  }

  private async part(kind: "subscriptions" | "messages", index: number): Promise<Buffer> {
    const { clientId, id } = this;
    const { part } = await this.ask("part", { verb: "part", clientId, id, kind, index });
    return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
  }

  private async ask<V extends Verb>(
    verb: V,
    request: MoveRequest & { verb: V },
  ): Promise<MoveReply<V>> {
    this.check();
    const { cluster } = this.host.parts;
    const answer = await cluster.ask(this.from, moveService, encodeRequest(request));
    this.check();
    if (answer === null) throw new NotMoved(`the link to ${this.from} is gone`);
    const reply = decodeReply(verb, answer);
    if (reply === null) throw new WireError("an answer about a move that cannot be read");
    if ("refused" in reply) throw new NotMoved(reply.refused);
    return reply;
  }

  private check(): void {
    if (this.isAborted) throw new NotMoved("it was given up");
    if (this.holder?.isOverfull) {
      throw new NotMoved("more messages came for it meanwhile than a session may hold");
    }
  }
}

/** What the old owner was offered of our own publishes. */
function ownPosition({ marks }: SnapshotHead, cluster: MoveParts["cluster"]): OwnPosition {
  const own = cluster.positions().find(({ origin }) => origin === cluster.name);
  const mark = marks.find(({ name }) => name === cluster.name);
  const isThisLife = mark !== undefined && mark.incarnation === own?.incarnation;
  return { incarnation: own?.incarnation ?? 0, counter: isThisLife ? mark.identity : 0 };
}

const waitsFor = (node: string): string =>
  `${node} is not up, or does not answer: messages for the session may wait there`;
