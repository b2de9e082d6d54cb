/**
 * A client id with two sessions: a node was down or out of reach, its client began a younger session elsewhere, and the node is
 * back; or two clusters that both knew the client were joined. The younger one wins. The older takes from each origin
 * only what was published before the younger one's first subscription was in force, hands its queue over once, and
 * ends. After Clean Start, or when the younger one has ended meanwhile, it just ends: all members know of that.
 */
import type { Cluster } from "../../cluster/cluster.js";
import type { Clock } from "../../lib/clock.js";
import { sleep } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import { ReasonCode } from "../../protocol/reason-codes.js";
import type { ClientWills } from "../client-wills.js";
import type { SessionHost } from "../host.js";
import type { Moves } from "../move/moves.js";
import type { Opening } from "../opening.js";
import type { Session } from "../session.js";
import { Beginnings } from "./beginnings.js";
import { Endings, type Table } from "./endings.js";
import { HandingOver } from "./handing-over.js";
import { InDoubt } from "./in-doubt.js";
import { Inheritance } from "./inheritance.js";
import type { Leaving, Legacy } from "./leaving.js";
import { Remainder } from "./remainder.js";
import {
  decodeSuccession,
  encodeSuccession,
  type Succession,
  successionKey,
  takenOf,
  withInherited,
  withTaken,
} from "./succession.js";
import {
  type Answer,
  type Cut,
  decodeAnswer,
  decodeQuestion,
  encodeAnswer,
  encodeQuestion,
  type Question,
  supersededService,
} from "./wire.js";

export type SupersededCluster = Pick<
  Cluster,
  | "name"
  | "ask"
  | "positions"
  | "barriers"
  | "services"
  | "state"
  | "members"
  | "nextStamp"
  | "table"
  | "peer"
>;

/** What it uses of the sessions. */
export interface SupersededHost extends SessionHost {
  get(clientId: string): Session | undefined;
  all(): Iterable<Session>;
  /** Null: sessions never move. */
  readonly moves: Pick<Moves, "has" | "whenSettled" | "leftovers"> | null;
  /** Not null: nobody gets a new session because of a node that is away. */
  readonly adoptions: object | null;
  readonly wills: Pick<ClientWills, "forgo" | "giveAway" | "publish">;
  /** The session goes without its will. `gives`: what it has of share groups goes to other members. */
  letGo(session: Session, done: () => void, gives: boolean): void;
}

export interface SupersededParts {
  readonly cluster: SupersededCluster & { readonly common: Table };
  readonly clock: Clock;
  readonly log: Log;
}

const againMs = 1_000;
const successorsAtOnce = 1000;
const nobody: readonly string[] = [];

/** A session in the place of an older one; without cuts: all of its client id have ended up to that epoch. */
interface Successor {
  readonly clientId: string;
  readonly epoch: number;
  readonly cuts: Cut[] | null;
}

export class Superseded {
  readonly counters = {
    /** Older sessions of this node that a younger one elsewhere has taken the place of. */
    superseded: 0,
    /** Their messages that were handed over, and that came here from others. */
    handedOver: 0,
    takenOver: 0,
    /** Messages of older sessions that ended with them. */
    discarded: 0,
    /** Publishes that older sessions left to the younger ones. */
    leftToYounger: 0,
    /** Ends of sessions that are not kept any more for members that were away, for want of room. */
    endingsForgotten: 0,
  };
  /** Client ids whose older session here is being handed over. */
  private readonly leaving = new Map<string, Leaving>();
  private readonly inheritance: Inheritance;
  private readonly handingOver: HandingOver;
  /** Older sessions here, of which nobody knows what of it a younger one has taken. */
  readonly inDoubt: InDoubt;
  private readonly beginnings: Beginnings;
  private readonly endings: Endings;
  /** What is being told to nodes that start, in the order of the client ids. */
  private readonly telling = new Map<string, Successor[]>();
  /** It ends already, while all are told that whatever is as old ends. */
  private ending: Session | null = null;

  constructor(
    private readonly host: SupersededHost,
    private readonly parts: SupersededParts,
  ) {
    this.inheritance = new Inheritance(host, parts.clock, this.counters, {
      // What is taken while it is read for the younger one would not be handed over.
      isLeaving: (clientId) => this.isMoving(clientId) || this.youngerAt(clientId) !== null,
      onTaken: (session, node, id, seq) =>
        this.note(session, withTaken(this.knows(session, node), { node, id, seq })),
      onInherited: (session, taken) => {
        const note = session.succession && withInherited(session.succession, taken);
        if (note !== null) this.note(session, note);
      },
    });
    this.handingOver = new HandingOver(host, parts.cluster, parts.clock, (node, question) =>
      this.ask(node, question),
    );
    this.beginnings = new Beginnings(
      parts.cluster,
      (session, succession) => this.note(session, succession),
      (node, question) => this.ask(node, question),
    );
    this.inDoubt = new InDoubt({
      ...{ clock: parts.clock, self: parts.cluster.name },
      others: () => parts.cluster.members.others().map(({ name }) => name),
      isAnyAway: () => this.absent().length > 0,
      get: (clientId) => host.get(clientId),
      isLeaving: ({ clientId }) => this.leaving.has(clientId),
      note: (session, succession) => this.note(session, succession),
      ask: (node, question) => this.ask(node, question),
      onGone: (count) => {
        this.counters.handedOver += count;
      },
    });
    parts.cluster.services.offer(supersededService, (peer, body, reply) => {
      const question = decodeQuestion(body);
      if (question === null) reply(null);
      else this.answer(peer, question, (answer) => reply(encodeAnswer(answer)));
    });
    this.endings = new Endings(parts.cluster.common, parts.clock, () => {
      this.counters.endingsForgotten++;
    });
    this.endings.watch((clientId, epoch) => this.onEndedElsewhere(clientId, epoch));
  }

  /** Older sessions of this node that are on their way to younger ones. */
  get underWay(): number {
    return this.leaving.size;
  }

  /** Members that are not up: there may be sessions that nobody here knows of. */
  absent(): readonly string[] {
    const { cluster } = this.parts;
    let absent = nobody;
    for (const { name } of cluster.members.others()) {
      if (cluster.state(name) !== "up") absent = [...absent, name];
    }
    return absent;
  }

  /**
   * A session begins here although there is one at a node that is down, or may be one at a member that is away. After Clean
   * Start nothing of that is wanted. One that ends with its connection has nothing handed over either.
   */
  begin(session: Session, { epoch, succeeds, absent, request: { clean } }: Opening): void {
    if (this.host.adoptions !== null) return;
    const isKnown = succeeds !== undefined;
    const nodes = isKnown && !absent.includes(succeeds) ? [succeeds, ...absent] : absent;
    if (nodes.length === 0) return;
    const { clientId, expiryMs } = session;
    if (expiryMs > 0) {
      const cleanEpoch = clean ? epoch : this.endings.keptOf(clientId) + 1;
      this.note(session, { nodes, cleanEpoch, cuts: null, taken: [] });
    }
    if (clean && isKnown) this.endings.tell(clientId, epoch - 1, true);
    else if (clean && expiryMs === 0) this.endings.keep(clientId, epoch - 1);
  }

  /** Clean Start with that epoch, and there are more sessions than the one that it ends: all older ones end. */
  endOlder(clientId: string, epoch: number): void {
    this.endings.tell(clientId, epoch - 1, true);
  }

  /**
   * At start, when all sessions are loaded and the members are met, before anything comes that waited for this node: which
   * of its sessions have been taken the place of?
   */
  async resume(): Promise<void> {
    const { cluster } = this.parts;
    this.inDoubt.resume();
    for (const [clientId, epoch] of this.endings.inTable()) this.onEndedElsewhere(clientId, epoch);
    const names = cluster.members.others().map(({ name }) => name);
    const up = names.filter((name) => cluster.state(name) === "up");
    const heard = await Promise.all(up.map((name) => this.askSuccessors(name)));
    for (const name of names) {
      const index = up.indexOf(name);
      if (index === -1 || heard[index] !== true) void this.askWhenUp(name);
    }
  }

  /** A member that could not be asked at the start is asked when it can be. */
  private async askWhenUp(by: string): Promise<void> {
    const { cluster, clock } = this.parts;
    const isMember = (): boolean => cluster.members.others().some(({ name }) => name === by);
    while (isMember()) {
      if (cluster.state(by) === "up" && (await this.askSuccessors(by))) return;
      await sleep(clock, againMs);
    }
  }

  /** False: it could not be asked to the end. */
  private async askSuccessors(by: string): Promise<boolean> {
    let after = "";
    for (;;) {
      const answer = await this.ask(by, { kind: "successors", after });
      if (answer?.kind !== "successors") return false;
      for (const { clientId, epoch, cuts } of answer.sessions) {
        after = clientId;
        if (cuts === null) this.onEndedElsewhere(clientId, epoch);
        else this.follow(clientId, epoch, by, cuts);
      }
      if (!answer.more) return true;
    }
  }

  /**
   * Its client is given this session, which may be an older one whose younger one is at a node that is away. What comes is its
   * own again at once. It is the younger one's, too, which may be subscribed to more than this one: that is not cut off.
   */
  attaching(session: Session): void {
    this.inDoubt.attaching(session);
    const leaving = this.leaving.get(session.clientId);
    if (leaving === undefined || leaving.epoch === session.epoch) return;
    leaving.remainder?.giveBack();
    leaving.remainder = null;
  }

  /** At start: what an earlier process had noted of a session. */
  restore(session: Session, record: Buffer): void {
    session.succession = decodeSuccession(record);
    this.inDoubt.restore(session);
  }

  /** Subscriptions of the session were made in this turn. */
  subscribing(session: Session): void {
    this.beginnings.subscribing(session);
  }

  /** The session's first subscription is in force: from now on it gets everything itself. `ready` when that is noted. */
  subscribed(session: Session, ready: () => void): void {
    this.beginnings.subscribed(session, ready);
  }

  /** A session has ended: an older one, to which it had succeeded, has too. */
  onEnded(session: Session): void {
    if (session.succession === null) return;
    this.ending = session;
    this.endings.tell(session.clientId, session.epoch, false);
    this.ending = null;
  }

  /** As its home has found out, the client id has a younger session at node `by`. */
  supersede(clientId: string, epoch: number, by: string): void {
    this.follow(clientId, epoch, by, null);
  }

  /** The session here is on its way to a younger one at that node; null: it is not, or there is none. */
  youngerAt(clientId: string): string | null {
    const leaving = this.leaving.get(clientId);
    return leaving !== undefined && this.host.get(clientId)?.epoch === leaving.epoch
      ? leaving.by
      : null;
  }

  /** `cuts`: where the older session ends, if that is known already. */
  private follow(clientId: string, epoch: number, by: string, cuts: readonly Cut[] | null): void {
    const session = this.host.get(clientId);
    if (session === undefined || session.epoch >= epoch || by === this.parts.cluster.name) return;
    const under = this.leaving.get(clientId);
    if (under !== undefined && under.epoch !== session.epoch) {
      void under.over.then(() => this.follow(clientId, epoch, by, cuts));
      return;
    }
    if (under !== undefined) {
      // The younger one has moved, or its home was quicker than its node to tell; or this is one in between, which is older itself.
      if (epoch >= under.youngerEpoch) {
        under.youngerEpoch = epoch;
        under.by = by;
      }
      if (cuts === null) return;
      under.cuts = cuts;
      this.cut(session, under);
      return;
    }
    const leaving: Leaving = {
      epoch: session.epoch,
      youngerEpoch: epoch,
      by,
      remainder: null,
      cuts: cuts ?? [],
      over: Promise.resolve(),
    };
    this.leaving.set(clientId, leaving);
    if (!this.isMoving(clientId)) this.sendOff(session);
    if (cuts !== null) this.cut(session, leaving);
    leaving.over = this.leave(session, leaving).then(() => {
      leaving.remainder?.unsubscribe();
      this.leaving.delete(clientId);
    });
  }

  /** Its client may be here, and not where the younger one is: it has to find that. */
  private sendOff(session: Session): void {
    session.channel?.close(ReasonCode.SessionTakenOver);
  }

  private isMoving(clientId: string): boolean {
    return this.host.moves?.has(clientId) ?? false;
  }

  /** A move of the older session ends first: it is given up, or the younger one is what comes of it. */
  private async moveSettled(clientId: string): Promise<void> {
    const { moves } = this.host;
    while (moves?.has(clientId)) {
      await new Promise<void>((resolve) => moves.whenSettled(clientId, resolve));
    }
  }

  /** From now on the older session takes no more than is its own. */
  private cut(session: Session, leaving: Leaving): Remainder {
    const { cuts, remainder } = leaving;
    remainder?.cutAt(cuts);
    if (remainder !== null) return remainder;
    const own = this.beginnings.ownPosition();
    const others = cuts.filter(({ origin }) => origin !== own.origin);
    leaving.remainder = new Remainder(session, [...others, own], this.parts.cluster.name);
    leaving.remainder.subscribe();
    return leaving.remainder;
  }

  /** A session here that nobody wants any more. */
  private onEndedElsewhere(clientId: string, epoch: number): void {
    const session = this.host.get(clientId);
    if (session === undefined || session === this.ending) return;
    if (session.epoch > epoch || session.channel !== null) return;
    if (!this.isMoving(clientId)) this.end(session, null, "discarded");
    else void this.moveSettled(clientId).then(() => this.onEndedElsewhere(clientId, epoch));
  }

  private note(session: Session, succession: Succession): void {
    session.succession = succession;
    session.journal?.note(successionKey, encodeSuccession(succession));
  }

  private answer(peer: string, question: Question, reply: (answer: Answer) => void): void {
    if (question.kind === "position") {
      reply(this.beginnings.positionFor(peer, question.seq));
      return;
    }
    if (question.kind === "successors") {
      reply(this.successorsOf(peer, question.after));
      return;
    }
    if (question.kind === "taken") {
      this.howFar(peer, question, reply);
      return;
    }
    const { clientId, epoch } = question;
    const session = this.host.get(clientId);
    if (question.kind === "cut") {
      const leaving = this.leaving.get(clientId);
      if (leaving !== undefined) leaving.cuts = question.cuts;
      if (leaving?.remainder) leaving.remainder.cutAt(question.cuts);
      reply({ kind: "taken" });
      return;
    }
    const isLate = this.leaving.has(clientId) || this.isMoving(clientId);
    if (session === undefined || session.epoch <= epoch) reply({ kind: "unknown" });
    else if (this.youngerAt(clientId) !== null) {
      const takenSeq = takenOf(session.succession, peer, epoch);
      if (takenSeq === 0) reply({ kind: "unknown" });
      else if (session.isStalled) reply({ kind: "later" });
      else session.whenDurable(() => reply({ kind: "unknown", takenSeq }));
    } else if (session.isStalled || isLate) reply({ kind: "later" });
    else if (epoch < (session.succession?.cleanEpoch ?? 0)) reply({ kind: "discard" });
    else if (question.kind === "give") this.inheritance.take(session, peer, question, reply);
    else if (!this.allKnow() || this.inheritance.isTaking(clientId)) reply({ kind: "later" });
    else {
      const note = this.knows(session, peer);
      const connected = session.channel !== null;
      const takenSeq = takenOf(note, peer, epoch);
      // Nothing up to there is given again: it must be here whatever happens.
      session.whenDurable(() =>
        reply({ kind: "take", cuts: [...(note.cuts ?? [])], connected, takenSeq }),
      );
    }
  }

  /** Up to which number has the session here what that older one was giving? */
  private howFar(
    peer: string,
    { clientId, id }: Question & { kind: "taken" },
    reply: (answer: Answer) => void,
  ): void {
    const session = this.host.get(clientId);
    const changes = this.isMoving(clientId) || this.inheritance.isTaking(clientId);
    if (changes || session?.isStalled) reply({ kind: "later" });
    else if (session === undefined || session.epoch <= id) reply({ kind: "unknown" });
    else {
      const takenSeq = takenOf(session.succession, peer, id);
      session.whenDurable(() => reply({ kind: "unknown", takenSeq }));
    }
  }

  /** Who does not hold this node's rows yet publishes to the older session alone: that goes on until then. */
  private allKnow(): boolean {
    const { cluster } = this.parts;
    return cluster.members.others().every(({ name }) => {
      const seen = cluster.state(name);
      return seen === "up" || seen === "suspect";
    });
  }

  /** There is an older session at that node: should this one end, the other must not be what is left. */
  private knows(session: Session, node: string): Succession {
    const { succession } = session;
    if (succession?.nodes.includes(node)) return succession;
    const cuts = session.subscriptions.size > 0 ? [] : null;
    const known = succession ?? { nodes: [], cleanEpoch: 0, cuts, taken: [] };
    const note = { ...known, nodes: [...known.nodes, node] };
    this.note(session, note);
    return note;
  }

  /** Up to which epoch the client id's sessions are remembered to have ended; -1: of none. */
  endedUpTo(clientId: string): number {
    return this.endings.upTo(clientId);
  }

  /** Sessions here that have taken the place of older ones at that node, in the order of their client ids. */
  private successorsOf(node: string, after: string): Answer {
    const told = (after === "" ? undefined : this.telling.get(node)) ?? this.allSuccessorsOf(node);
    const found = told.filter(({ clientId }) => clientId > after);
    const more = found.length > successorsAtOnce;
    if (more) this.telling.set(node, found);
    else this.telling.delete(node);
    return { kind: "successors", sessions: found.slice(0, successorsAtOnce), more };
  }

  private allSuccessorsOf(node: string): Successor[] {
    const found: Successor[] = [];
    for (const { succession, clientId, epoch } of this.host.all()) {
      if (!succession?.nodes.includes(node)) continue;
      found.push({ clientId, epoch, cuts: [...(succession.cuts ?? [])] });
    }
    for (const [clientId, epoch] of this.endings.all()) {
      // One that has begun since says it itself.
      const isSaid = this.host.get(clientId)?.succession?.nodes.includes(node) ?? false;
      if (!isSaid) found.push({ clientId, epoch, cuts: null });
    }
    return found.sort((one, other) => (one.clientId < other.clientId ? -1 : 1));
  }

  /** Sees the older session off. */
  private async leave(session: Session, leaving: Leaving): Promise<void> {
    const { clientId, epoch } = session;
    this.parts.log.info(
      { clientId, by: leaving.by },
      "a younger session takes the place of one here",
    );
    let legacy: Legacy | null = null;
    if (this.isMoving(clientId)) {
      await this.moveSettled(clientId);
      if (this.host.get(clientId) === session) this.sendOff(session);
    }
    // A client that is given it while the younger one's node is away makes it the youngest.
    const isOlder = (): boolean => this.host.get(clientId) === session && session.epoch === epoch;
    while (isOlder()) {
      const { by } = leaving;
      // Before the younger one says what it has: it may get that from those meanwhile.
      const takenElsewhere = await this.takenElsewhere(session, by);
      const answer = await this.ask(by, { kind: "begin", clientId, epoch });
      if (!isOlder()) break;
      if (answer?.kind === "unknown" && leaving.by === by) {
        // It is the only one again, or its home will say who is.
        leaving.remainder?.giveBack();
        leaving.remainder = null;
        return;
      }
      if (answer?.kind === "discard") {
        this.end(session, leaving.remainder, "discarded");
        return;
      }
      if (answer?.kind === "take") {
        // A will that waits is void [MQTT-3.1.3-9].
        if (answer.connected) this.host.wills.forgo(session);
        if (answer.cuts.length > 0) leaving.cuts = answer.cuts;
        const remainder = this.cut(session, leaving);
        const takenSeq = Math.max(answer.takenSeq, takenElsewhere ?? 0);
        if (takenElsewhere !== null && !this.inDoubt.has(session))
          legacy = await this.handingOver.legacyOf(session, remainder, takenSeq, legacy);
        // Until that is known to be taken it is given again.
        const isGiven =
          legacy !== null &&
          takenElsewhere !== null &&
          isOlder() &&
          (await this.handingOver.give(session, by, legacy, takenSeq, (upTo) =>
            this.inDoubt.giving(session, { node: by, id: epoch, upTo }),
          ));
        if (isGiven && isOlder()) {
          this.host.wills.giveAway(session);
          this.end(session, remainder, "handedOver");
          return;
        }
      }
      await sleep(this.parts.clock, againMs);
    }
    if (this.host.get(clientId) !== session) return;
    leaving.remainder?.giveBack();
    leaving.remainder = null;
  }

  /**
   * Up to which number do sessions in between have the messages of that one? A younger one's node may have died before it could
   * answer that it took them. Null: that is not known now.
   */
  private async takenElsewhere({ clientId, epoch }: Session, by: string): Promise<number | null> {
    if (this.absent().length > 0) return null;
    const names = this.parts.cluster.members.others().map(({ name }) => name);
    const asked = names.filter((name) => name !== by);
    const answers = await Promise.all(
      asked.map((name) => this.ask(name, { kind: "begin", clientId, epoch })),
    );
    let takenSeq = 0;
    for (const answer of answers) {
      if (answer === null || answer.kind === "later") return null;
      if (answer.kind !== "take" && answer.kind !== "unknown") continue;
      takenSeq = Math.max(takenSeq, answer.takenSeq ?? 0);
    }
    return takenSeq;
  }

  private end(
    session: Session,
    remainder: Remainder | null,
    how: "handedOver" | "discarded",
  ): void {
    this.counters.superseded++;
    this.counters[how] += session.queued + session.window.inFlight;
    this.counters.leftToYounger += remainder?.left ?? 0;
    remainder?.unsubscribe();
    // With the session the delay of its will has ended [MQTT-3.1.3-9].
    if (session.will !== null) this.host.wills.publish(session);
    // What may be another session's already is nobody else's.
    const gives = how === "discarded" && !this.leaving.has(session.clientId);
    this.host.letGo(session, () => undefined, gives);
  }

  private async ask(node: string, question: Question): Promise<Answer | null> {
    const body = await this.parts.cluster.ask(node, supersededService, encodeQuestion(question));
    return body === null ? null : decodeAnswer(body);
  }
}
