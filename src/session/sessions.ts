/**
 * All sessions in this node. One client id has one session and at most one connection here: a connection
 * is attached only with the directory's grant, after older ones are closed.
 */
import type { Directory, DirectoryEntry, SessionPlace } from "../cluster/directory-types.js";
import { Refusal } from "../lib/refusal.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Message } from "../routing/message.js";
import { Adoptions } from "./adoption/adoptions.js";
import type { AdoptingParts } from "./adoption/parts.js";
import type { Channel } from "./channel.js";
import { SessionCounters } from "./counters.js";
import type { SessionHost, SessionRouter } from "./host.js";
import { attachStored } from "./attach-stored.js";
import type { SessionJournal } from "./journal/journal.js";
import { Journals } from "./journal/journals.js";
import type { Loaded } from "./journal/recovery.js";
import { Arrivals } from "./move/arrivals.js";
import { Moves } from "./move/moves.js";
import { willKey } from "./move/notes.js";
import { type MoveSessions, moveAgainMs } from "./move/parts.js";
import {
  type ConnectOutcome,
  type ConnectRequest,
  noSession,
  type Opening,
  refusalReason,
} from "./opening.js";
import type { SessionsParts } from "./parts.js";
import { Places } from "./places.js";
import { type EndsHost, RemoteEnds } from "./remote/ends.js";
import type { AttachedSession } from "./remote/near.js";
import { ReplayTurns } from "./replay-turns.js";
import { Session } from "./session.js";
import { Superseded } from "./superseded/superseded.js";
import { giveAwayStored } from "./shared.js";
import { ClientWills } from "./client-wills.js";
import { SessionsStart, type StartHost } from "./start.js";

/** How often a CONNECT is claimed anew because its session is not where it was said to be. */
const claimsMax = 20;

/** A session whose end is not durable yet. */
interface Ending {
  readonly waiting: (() => void)[];
  /** What the directory has of it until then; undefined: the session has another place. */
  readonly entry: DirectoryEntry | undefined;
}

export class Sessions implements StartHost, MoveSessions, EndsHost {
  readonly counters = new SessionCounters();
  readonly router: SessionRouter;
  readonly limits: SessionHost["limits"];
  readonly authorizer: SessionHost["authorizer"];
  readonly wheel: SessionHost["wheel"];
  readonly turn: SessionHost["turn"];
  readonly replayTurns: ReplayTurns;
  private readonly directory: Directory;
  readonly journals: Journals | null;
  readonly wills: ClientWills;
  readonly moves: Moves | null;
  /** Client ids with two sessions. Null: there are no other nodes. */
  readonly superseded: Superseded | null;
  /** Sessions of dead nodes. Null: no node reaches another one's store. */
  readonly adoptions: Adoptions | null;
  /** Connections and sessions of which the other one is at another node. Null: there are no other nodes. */
  readonly remote: RemoteEnds | null;
  private readonly arrivals: Arrivals;
  /** What is here of each client id, as the directory asks for it. */
  readonly places = new Places(this);
  private readonly byId = new Map<string, Session>();
  /** Sessions whose end is not durable yet: another one of their client id begins after that. */
  private readonly ending = new Map<string, Ending>();
  private readonly start = new SessionsStart(this);
  private willGraceMs = 0;
  /** The will that the connection or session which is being closed or ended right now left behind. */
  private lastWill: Message | null = null;

  constructor(private readonly parts: SessionsParts) {
    this.router = parts.router;
    this.limits = parts.limits;
    this.authorizer = parts.authorizer;
    this.wheel = parts.wheel;
    this.turn = parts.turn;
    this.replayTurns = new ReplayTurns((callback) => this.turn.defer(callback));
    this.directory = parts.directory;
    this.journals = parts.journals === null ? null : new Journals(parts.journals, this);
    this.wills = new ClientWills({ journals: parts.journals, network: parts.willNetwork }, this);
    const { moving = null } = parts;
    this.moves = moving && new Moves({ ...moving, sessions: this });
    this.superseded = moving && new Superseded(this, moving);
    this.adoptions = this.adoptionsOf(parts.adopting ?? null);
    const { channels: channelsMax, channel_bytes: window } = parts.limits;
    const { remote, directory } = parts;
    this.remote = remote && new RemoteEnds(this, { ...remote, directory, channelsMax, window });
    this.arrivals = new Arrivals(this, directory, moving?.cluster.name ?? "");
  }

  private adoptionsOf(adopting: AdoptingParts | null): Adoptions | null {
    const { moves, journals } = this;
    if (adopting === null || moves === null || journals === null) return null;
    return new Adoptions({ ...adopting, moves, journals, sessions: this });
  }

  get size(): number {
    return this.byId.size;
  }
  get(clientId: string): Session | undefined {
    return this.byId.get(clientId);
  }
  connectedEpochHere(clientId: string): number | undefined {
    const here = this.remote?.near(clientId)?.epoch ?? this.byId.get(clientId)?.connectedEpoch;
    return here ?? this.superseded?.endedUpTo(clientId);
  }
  all(): Iterable<Session> {
    return this.byId.values();
  }

  /**
   * Takes up the sessions that the store holds, subscribed and without connection. To be called once, before anybody
   * connects; `onProgress` is told every now and then how many there are so far. Rejects when the store
   * cannot be read; a session that is damaged is left out or loses what is damaged, counted.
   */
  load(onProgress: (loaded: Loaded) => void): Promise<Loaded> {
    return this.start.load(onProgress);
  }

  /**
   * Publishes again what clients had sent with QoS 2 and was not known to be accepted by all, after everybody to
   * whom it may be due was loaded and before anybody connects; then takes care of wills, of which other nodes are asked.
   */
  publishRecovered(): Promise<void> {
    return this.start.publishRecovered();
  }

  put(session: Session): void {
    this.byId.set(session.clientId, session);
    this.rearm(session);
  }

  /** While this node could not be heard, others have published the will. */
  onWillSettled(session: Session): void {
    session.will = null;
    session.willDueMs = Number.POSITIVE_INFINITY;
    session.channel?.close(ReasonCode.ImplementationSpecificError);
  }

  wallOffsetMs(): number {
    return this.journals?.wallOffsetMs() ?? 0;
  }

  publish(message: Message): void {
    this.router.publish(message);
  }

  get topics(): SessionRouter["topics"] {
    return this.router.topics;
  }

  onFenced(session: Session): void {
    // One that was about to come here is not: where it was it stays.
    if (this.byId.get(session.clientId) === session) this.counters.fenced++;
    session.channel?.close(ReasonCode.SessionTakenOver);
    this.takeOut(session);
    session.clear();
  }

  /**
   * Gets a connection its session. `done` is called once, possibly before this returns, unless the
   * connection closes first; after it (CONNACK leaves there) the session is attached.
   */
  connect(
    request: ConnectRequest,
    channel: Channel,
    done: (outcome: ConnectOutcome) => void,
    moves = 0,
  ): void {
    const { clientId, user } = request;
    this.directory.claim({ clientId, user, by: channel }, (result) => {
      if (result.granted) {
        const { epoch } = result;
        if (request.clean && result.older === true && channel.isOpen) {
          this.superseded?.endOlder(clientId, epoch);
        }
        const absent = this.superseded?.absent() ?? [];
        this.granted({ request, channel, epoch, done, absent, moves }, result.sessionAt);
      } else if (channel.isOpen) {
        this.counters.claimsRefused++;
        done({ session: null, reason: refusalReason(result.why) });
      }
    });
  }

  /**
   * The connection is closed. `willDue`: not by a DISCONNECT that discards the will. The session ends
   * now or when its expiry is over.
   */
  detach(session: AttachedSession, channel: Channel, willDue: boolean, forServer = false): void {
    if (session.channel !== channel) return;
    if (session.isRemote) {
      session.detach(willDue, this.willGraceMs > 0);
      return;
    }
    if (this.moves?.onClosed(session, willDue)) return;
    this.forServer(forServer, () => this.loseConnection(session, willDue));
    const { clientId, epoch, persistent } = session;
    // Whoever claims the client id meanwhile waits for its will, too.
    this.wills.whenAccepted(this.lastWill, () => {
      if (channel.node === null) this.directory.released(clientId, epoch, persistent);
      else this.directory.changed(clientId, epoch);
    });
  }

  /** The session goes on without its connection, or ends. */
  loseConnection(session: Session, willDue: boolean): void {
    session.detach();
    const now = this.turn.refresh();
    this.lastWill = null;
    if (!willDue) {
      session.will = null;
      this.wills.drop(session.clientId, session.epoch);
    }
    const delayMs = Math.max((session.will?.delaySeconds ?? 0) * 1000, this.willGraceMs);
    if (this.willGraceMs > 0 && !session.persistent) this.wills.keepFor(session, this.willGraceMs);
    if (session.will !== null && (delayMs === 0 || !session.persistent)) {
      this.lastWill = this.wills.publish(session);
    } else if (session.will !== null) {
      session.willDueMs = now + delayMs;
      this.wills.hold(session);
    }
    if (session.persistent) this.keepWaiting(session);
    else this.end(session);
  }

  lose(session: Session, willDue: boolean): void {
    this.loseConnection(session, willDue);
    this.directory.changed(session.clientId, session.epoch);
  }

  /** The session of a connection here has moved: what it has from now on; null: it has to close. */
  follow(...moved: Parameters<Arrivals["follow"]>): AttachedSession | null {
    return this.arrivals.follow(...moved);
  }

  arrived(clientId: string, epoch: number): Session | null {
    return this.arrivals.arrived(clientId, epoch);
  }

  continue(session: Session, opening: Opening): void {
    this.arrivals.continue(session, opening);
  }

  /** For the sake of this node: the will, where it is due, waits a while for the client to come back. */
  closeForServer({ channel }: AttachedSession, reason: number): void {
    this.forServer(true, () => channel?.close(reason));
  }

  private forServer(isSo: boolean, lose: () => void): void {
    const before = this.willGraceMs;
    if (isSo) this.willGraceMs = this.parts.willGraceMs ?? 0;
    lose();
    this.willGraceMs = before;
  }

  /** This node stops: whatever is closed from now on is closed for its sake. */
  stopping(): void {
    if (this.wills.canWait) this.willGraceMs = this.parts.willGraceMs ?? 0;
  }

  /** Ends a session that has no connection, at an operator's wish. False: there is none. */
  delete(clientId: string): boolean {
    const session = this.byId.get(clientId);
    if (session === undefined) return false;
    if (this.moves?.has(clientId)) throw new Refusal("the session is being moved: try again");
    session.channel?.close(ReasonCode.AdministrativeAction);
    if (this.byId.get(clientId) !== session) return true;
    this.end(session);
    this.directory.changed(clientId, session.epoch);
    return true;
  }

  /** Ends the session for a claim, if there is one; calls back when that is durable. `whenWillAccepted` tells the rest. */
  discard(clientId: string, done: () => void): void {
    this.lastWill = null;
    this.delete(clientId);
    // It may have ended before, when all heard that what is older than the claim ends.
    this.lastWill ??= this.wills.openOf(clientId);
    const ending = this.ending.get(clientId);
    if (ending === undefined) done();
    else ending.waiting.push(done);
  }

  /** Closes the connection here that has the session; its will, if it is due, is the one of `whenWillAccepted`. */
  takeOver(channel: Channel): void {
    this.counters.takenOver++;
    this.lastWill = null;
    channel.close(ReasonCode.SessionTakenOver);
  }

  /** Calls back when the will is accepted, where there was one, of what was closed or ended in this turn. */
  whenWillAccepted(done: () => void): void {
    const will = this.lastWill;
    this.lastWill = null;
    this.wills.whenAccepted(will, done);
  }

  /** A connection at another node takes up the session that is here, if there is one. */
  openFor(opening: Opening): void {
    const { clientId } = opening.request;
    this.clear(opening);
    this.whenWillAccepted(() => {
      const ending = this.ending.get(clientId);
      if (this.byId.has(clientId)) this.storeWill(opening);
      // It may still come back, if this node dies now.
      else if (ending !== undefined) ending.waiting.push(() => this.openFor(opening));
      else opening.done({ session: null, reason: noSession });
    });
  }

  /** Calls back when it is known whether the session stays here. `hasGone`: it is at another node now. */
  settle(clientId: string, done: (hasGone: boolean) => void): void {
    if (this.start.isWaitedFor(clientId, () => this.settle(clientId, done))) return;
    if (!this.moves?.has(clientId)) {
      done(false);
      return;
    }
    const wasHere = this.byId.has(clientId);
    this.moves.whenSettled(clientId, () => {
      if (wasHere && !this.byId.has(clientId)) done(true);
      else this.settle(clientId, done);
    });
  }

  onSessionDeadline(session: Session): void {
    // It is due here if it stays here, and at its new node if not.
    if (this.moves?.has(session.clientId)) {
      this.wheel.set(session, moveAgainMs);
      return;
    }
    if (session.isArriving) {
      this.arrivals.lost(session);
      return;
    }
    const now = this.turn.refresh();
    if (session.willDueMs <= now) this.wills.publish(session);
    if (session.endDueMs > now) {
      this.arm(session, now);
      return;
    }
    this.counters.sessionsExpired++;
    this.end(session);
    this.directory.changed(session.clientId, session.epoch);
  }

  private granted(opening: Opening, sessionAt: SessionPlace | null): void {
    const { remote } = this;
    if (!opening.channel.isOpen) this.released(opening);
    else if (sessionAt === null || remote === null) this.openHere(opening);
    else remote.fetch(opening, sessionAt);
  }

  openHere(opening: Opening): void {
    this.settle(opening.request.clientId, (hasGone) => {
      if (!opening.channel.isOpen) this.released(opening);
      // Another claim says where it is now, or comes after what this node has adopted since.
      else if (hasGone || this.isYoungerThan(opening)) this.claimAgain(opening);
      else {
        this.clear(opening);
        this.whenWillAccepted(() => this.storeWill(opening));
      }
    });
  }

  /** Has the session here got a higher epoch than the connection, though no newer connection has come? */
  private isYoungerThan({ request, epoch }: Opening): boolean {
    const { clientId } = request;
    const there = this.byId.get(clientId)?.epoch ?? -1;
    return there > epoch && !this.directory.isOutdated(clientId, epoch);
  }

  claimAgain({ request, channel, epoch, done, moves }: Opening): void {
    const { clientId } = request;
    // Who was granted less may not claim more than a newer connection, which waits for the end of this one.
    const isOver = channel.hasLeft === true || this.directory.isOutdated(clientId, epoch);
    this.directory.released(clientId, epoch, false);
    if (!channel.isOpen) return;
    if (isOver) done({ session: null, reason: 0 });
    else if (moves < claimsMax) this.connect(request, channel, done, moves + 1);
    else done({ session: null, reason: ReasonCode.UseAnotherServer });
  }

  /** What is in the way of the connection goes. */
  private clear({ request }: Opening): void {
    const { clientId, clean } = request;
    this.lastWill = null;
    // Still connected when the directory gave up waiting for its close.
    const there = this.byId.get(clientId);
    there?.channel?.close(ReasonCode.SessionTakenOver);
    if (there?.isArriving) this.arrivals.lost(there);
    const before = this.byId.get(clientId);
    const isOver = before !== undefined && before.endDueMs <= this.turn.refresh();
    if (before !== undefined && (clean || isOver)) this.end(before); // [MQTT-3.1.2-4]
  }

  /** The connection is not attached: the directory hears what is here. */
  released({ request, channel, epoch }: Opening): void {
    const { clientId } = request;
    if (channel.node !== null) this.directory.changed(clientId, epoch);
    else this.directory.released(clientId, epoch, this.byId.get(clientId)?.persistent ?? false);
  }

  /** A client that has a will is told that it is connected when the will is durable and held elsewhere, not before. */
  private storeWill(opening: Opening): void {
    const { request, epoch, done } = opening;
    const { will } = request;
    if (will !== null && this.journals !== null && this.journals.stalled !== null) {
      done({ session: null, reason: ReasonCode.ServerUnavailable });
      this.released(opening);
      return;
    }
    this.wills.open(request, epoch, () => this.open(opening));
  }

  /** The will of a connection that came to nothing gives way to the one that was there before it, if any. */
  private forgetWill(clientId: string, epoch: number): void {
    this.wills.drop(clientId, epoch);
    const session = this.byId.get(clientId);
    if (session !== undefined) this.wills.hold(session);
  }

  /** The session for this connection: the one there is, or a new one. */
  open(opening: Opening): void {
    const { request, channel, epoch } = opening;
    const { clientId, expiryMs } = request;
    const ending = this.ending.get(clientId);
    if (ending !== undefined) {
      ending.waiting.push(() => this.open(opening));
      return;
    }
    if (!channel.isOpen || this.directory.isOutdated(clientId, epoch)) {
      if (channel.isOpen) opening.done({ session: null, reason: 0 });
      this.forgetWill(clientId, epoch);
      this.released(opening);
      return;
    }
    if (this.moves?.has(clientId)) {
      this.openHere(opening);
      return;
    }
    const before = this.byId.get(clientId);
    if (before === undefined && channel.node !== null) {
      this.forgetWill(clientId, epoch);
      opening.done({ session: null, reason: noSession });
      return;
    }
    const session = before ?? new Session(clientId, request.user, this);
    const isNew = before === undefined;
    if (isNew && expiryMs > 0 && this.journals !== null) {
      session.journal = this.journals.open(session);
      session.expiryMs = expiryMs;
    }
    if (isNew) this.superseded?.begin(session, opening);
    const { journal } = session;
    session.rules = request.rules;
    if (journal === null) {
      this.attach(opening, session, isNew);
      return;
    }
    this.byId.set(clientId, session);
    attachStored(this, opening, session, journal, isNew);
  }

  /** Nobody attaches to it: it stays as it is, unless it was made for that. */
  leave(opening: Opening, session: Session, isNew: boolean): void {
    if (isNew && this.byId.get(session.clientId) === session) this.end(session);
    this.forgetWill(session.clientId, opening.epoch);
    this.released(opening);
  }

  attach(opening: Opening, session: Session, isNew: boolean): void {
    const { request, channel, epoch, done } = opening;
    const { clientId, expiryMs, receiveMaximum, will } = request;
    if (isNew) this.counters.sessionsCreated++;
    else this.counters.sessionsResumed++;
    session.access = request.access;
    this.byId.set(clientId, session);
    if (!isNew) this.superseded?.attaching(session);
    done({ session, present: !isNew });
    session.attach({ channel, epoch, expiryMs, receiveMaximum, will, resumed: !isNew });
    if (will === null) this.wills.drop(clientId, epoch);
    if (channel.node === null) this.directory.attached(clientId, epoch);
    else this.directory.changed(clientId, epoch);
  }

  /** A session without connection: its time runs. */
  private keepWaiting(session: Session): void {
    const now = this.turn.refresh();
    session.endDueMs = now + session.expiryMs;
    session.journal?.noteMeta();
    this.arm(session, now);
  }

  /** Takes the session out of the node with all that it holds; a will that waits is due now. */
  private end(session: Session): void {
    this.superseded?.onEnded(session);
    this.takeOut(session);
    if (session.journal === null) this.counters.droppedSessionEnd += session.clear();
    else this.endStored(session, session.journal);
    if (session.will !== null) this.lastWill = this.wills.publish(session);
  }

  private endStored(
    session: Session,
    journal: SessionJournal,
    done: (() => void) | null = null,
  ): void {
    const { clientId, user, epoch } = session;
    const waiting: (() => void)[] = [];
    // One that is elsewhere now is not here any more.
    const entry = done === null ? { clientId, user, connection: null, session: epoch } : undefined;
    this.ending.set(clientId, { waiting, entry });
    const end = (): void => {
      journal.end(() => {
        this.ending.delete(clientId);
        if (entry !== undefined) this.directory.changed(clientId, epoch);
        for (const next of waiting) next();
        done?.();
      });
      const lost = session.clear();
      if (done === null) this.counters.droppedSessionEnd += lost;
    };
    // Until others have what they get instead of it, it is in the journal.
    if (session.hadShared) giveAwayStored(session, true, end);
    else end();
  }

  pull(...move: Parameters<Moves["pull"]>): ReturnType<Moves["pull"]> | null {
    return this.moves?.pull(...move) ?? null;
  }

  isEnding(clientId: string): boolean {
    return this.ending.has(clientId);
  }

  endingAt(clientId: string): DirectoryEntry | undefined {
    return this.ending.get(clientId)?.entry;
  }

  *allEnding(): Iterable<DirectoryEntry> {
    for (const { entry } of this.ending.values()) if (entry !== undefined) yield entry;
  }

  takeIn(session: Session): void {
    const { clientId, journal } = session;
    this.byId.set(clientId, session);
    this.wills.takeIn(session);
    if (session.isArriving) this.arrivals.expect(session);
    else this.rearm(session);
    this.directory.changed(clientId, session.epoch);
    if (session.will !== null) session.whenDurable(() => journal?.note(willKey, null));
  }

  letGo(session: Session, done: () => void, gives = false): void {
    const { clientId, journal } = session;
    this.takeOut(session);
    // What a session had with it when it moved has gone along; who adopted it did not have its will.
    if (this.adoptions?.isDoubted(session)) this.wills.keepBack(session);
    else if (session.will !== null) this.wills.forgo(session);
    session.hadShared &&= gives;
    if (journal !== null) this.endStored(session, journal, done);
    else session.clear();
    this.directory.changed(clientId, session.epoch);
    if (journal === null) done();
  }

  private takeOut(session: Session): void {
    this.wheel.stop(session);
    for (const filter of session.subscriptions.keys()) this.router.unsubscribe(session, filter);
    session.subscriptions.clear();
    if (this.byId.get(session.clientId) === session) this.byId.delete(session.clientId);
  }

  rearm(session: Session): void {
    this.arm(session, this.turn.refresh());
  }

  private arm(session: Session, nowMs: number): void {
    const due = Math.min(session.willDueMs, session.endDueMs);
    if (due === Number.POSITIVE_INFINITY) this.wheel.stop(session);
    else this.wheel.set(session, Math.max(0, due - nowMs));
  }
}
