/**
 * All sessions in this node. One client id has one session and at most one connection here: a connection
 * is attached only with the directory's grant, after older ones are closed.
 */
import type {
  ClaimResult,
  ConnectionHost,
  Directory,
  DirectoryEntry,
} from "../cluster/directory-types.js";
import type { Access } from "../auth/acl/access.js";
import type { WillPacket } from "../protocol/packets.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { Message } from "../routing/message.js";
import type { Channel } from "./channel.js";
import { SessionCounters } from "./counters.js";
import type { JournalParts, SessionHost, SessionRouter } from "./host.js";
import { ReplayTurns } from "./replay-turns.js";
import { Session } from "./session.js";
import { importState, type SessionState } from "./state.js";
import { publishWill } from "./wills.js";

/** What a CONNECT asks for, after its limits were applied. */
export interface ConnectRequest {
  readonly clientId: string;
  readonly user: string;
  /** What the client may do; null: everything. */
  readonly access: Access | null;
  readonly clean: boolean;
  readonly expiryMs: number;
  readonly receiveMaximum: number;
  readonly will: WillPacket | null;
}

/** `reason` 0: the connection just closes. */
export type ConnectOutcome =
  | { readonly session: Session; readonly present: boolean }
  | { readonly session: null; readonly reason: number };

/** Takes over a session that lives in another node; null: it could not be had. */
export type FetchSession = (
  clientId: string,
  node: string,
  done: (state: SessionState | null) => void,
) => void;

export interface SessionsParts
  extends Omit<SessionHost, "counters" | "replayTurns" | "onSessionDeadline"> {
  readonly router: SessionRouter;
  readonly directory: Directory;
  readonly fetchSession: FetchSession;
  /** Null: sessions are kept in memory alone (`store.kind: memory`). */
  readonly journals: JournalParts | null;
}

export class Sessions implements SessionHost, ConnectionHost {
  readonly counters = new SessionCounters();
  readonly router: SessionRouter;
  readonly limits: SessionHost["limits"];
  readonly authorizer: SessionHost["authorizer"];
  readonly wheel: SessionHost["wheel"];
  readonly turn: SessionHost["turn"];
  readonly replayTurns: ReplayTurns;
  private readonly directory: Directory;
  private readonly fetchSession: FetchSession;
  private readonly byId = new Map<string, Session>();
  /** The will that the connection which is being closed right now left behind. */
  private lastWill: Message | null = null;

  constructor(parts: SessionsParts) {
    this.router = parts.router;
    this.limits = parts.limits;
    this.authorizer = parts.authorizer;
    this.wheel = parts.wheel;
    this.turn = parts.turn;
    this.replayTurns = new ReplayTurns((callback) => this.turn.defer(callback));
    this.directory = parts.directory;
    this.fetchSession = parts.fetchSession;
  }

  get size(): number {
    return this.byId.size;
  }

  get(clientId: string): Session | undefined {
    return this.byId.get(clientId);
  }

  all(): Iterable<Session> {
    return this.byId.values();
  }

  /**
   * Gets a connection its session. `done` is called once, possibly before this returns, unless the
   * connection closes first; after it (CONNACK leaves there) the session is attached.
   */
  connect(
    request: ConnectRequest,
    channel: Channel,
    done: (outcome: ConnectOutcome) => void,
  ): void {
    const { clientId, user } = request;
    this.directory.claim({ clientId, user }, (result) => {
      if (result.granted) this.granted(request, channel, result, done);
      else if (channel.isOpen) {
        this.counters.claimsRefused++;
        done({ session: null, reason: refusalReason(result.why) });
      }
    });
  }

  /**
   * The connection is closed. `willDue`: not by a DISCONNECT that discards the will. The session ends
   * now or when its expiry is over.
   */
  detach(session: Session, channel: Channel, willDue: boolean): void {
    if (session.channel !== channel) return;
    session.detach();
    const now = this.turn.refresh();
    this.lastWill = null;
    if (!willDue) session.will = null;
    const delayMs = (session.will?.delaySeconds ?? 0) * 1000;
    if (session.will !== null && (delayMs === 0 || !session.persistent)) {
      this.lastWill = publishWill(session);
    } else if (session.will !== null) session.willDueMs = now + delayMs;
    const { clientId, epoch, persistent } = session;
    if (persistent) {
      session.endDueMs = now + session.expiryMs;
      this.arm(session, now);
    } else this.end(session);
    this.directory.released(clientId, epoch, persistent);
  }

  /** Ends a session that has no connection, at an operator's wish. False: there is none. */
  delete(clientId: string): boolean {
    const session = this.byId.get(clientId);
    if (session === undefined) return false;
    session.channel?.close(ReasonCode.AdministrativeAction);
    if (this.byId.get(clientId) !== session) return true;
    this.end(session);
    this.directory.ended(clientId, session.epoch);
    return true;
  }

  displace(clientId: string, epoch: number, done: () => void): void {
    const session = this.byId.get(clientId);
    if (session === undefined || session.channel === null || session.epoch >= epoch) {
      done();
      return;
    }
    this.counters.takenOver++;
    this.lastWill = null;
    session.channel.close(ReasonCode.SessionTakenOver);
    const will = this.lastWill as Message | null; // set by detach, within close
    if (will === null || will.pending === 0) done();
    else will.sink = { onAccepted: () => done() };
  }

  *entries(): Iterable<DirectoryEntry> {
    for (const session of this.byId.values()) yield entryOf(session);
  }

  entry(clientId: string): DirectoryEntry | undefined {
    const session = this.byId.get(clientId);
    return session === undefined ? undefined : entryOf(session);
  }

  onSessionDeadline(session: Session): void {
    const now = this.turn.refresh();
    if (session.willDueMs <= now) publishWill(session);
    if (session.endDueMs > now) {
      this.arm(session, now);
      return;
    }
    this.counters.sessionsExpired++;
    this.end(session);
    this.directory.ended(session.clientId, session.epoch);
  }

  private granted(
    request: ConnectRequest,
    channel: Channel,
    result: ClaimResult & { granted: true },
    done: (outcome: ConnectOutcome) => void,
  ): void {
    const { clientId } = request;
    const { epoch, sessionAt } = result;
    if (!channel.isOpen) {
      this.directory.released(clientId, epoch, this.byId.get(clientId)?.persistent ?? false);
      return;
    }
    // Still connected when the directory gave up waiting for its close.
    this.byId.get(clientId)?.channel?.close(ReasonCode.SessionTakenOver);
    if (sessionAt === null || this.byId.has(clientId)) {
      this.open(request, channel, epoch, null, done);
      return;
    }
    this.fetchSession(clientId, sessionAt, (state) => {
      if (channel.isOpen) this.open(request, channel, epoch, state, done);
      else {
        // What was fetched must not be lost with the connection that asked for it.
        const kept = state !== null && !this.byId.has(clientId);
        if (kept) this.keepFetched(state, epoch);
        this.directory.released(clientId, epoch, this.byId.get(clientId)?.persistent ?? false);
      }
    });
  }

  /** The session for this connection: the one there is, one that was fetched, or a new one. */
  private open(
    request: ConnectRequest,
    channel: Channel,
    epoch: number,
    fetched: SessionState | null,
    done: (outcome: ConnectOutcome) => void,
  ): void {
    const { clientId, clean, expiryMs, receiveMaximum, will } = request;
    const before = this.byId.get(clientId);
    if (clean && before !== undefined) this.end(before); // [MQTT-3.1.2-4]
    let session = clean ? undefined : before;
    if (session === undefined && fetched !== null && !clean) session = importState(fetched, this);
    const present = session !== undefined;
    if (session === undefined) {
      session = new Session(clientId, request.user, this);
      this.counters.sessionsCreated++;
    } else this.counters.sessionsResumed++;
    session.access = request.access;
    this.byId.set(clientId, session);
    done({ session, present });
    session.attach({ channel, epoch, expiryMs, receiveMaximum, will, resumed: present });
    this.directory.attached(clientId, epoch);
  }

  private keepFetched(state: SessionState, epoch: number): void {
    const session = importState(state, this);
    session.epoch = epoch;
    this.byId.set(session.clientId, session);
    const now = this.turn.refresh();
    session.endDueMs = now + session.expiryMs;
    this.arm(session, now);
  }

  /** Takes the session out of the node with all that it holds; a will that waits is due now. */
  private end(session: Session): void {
    this.wheel.stop(session);
    for (const filter of session.subscriptions.keys()) this.router.unsubscribe(session, filter);
    session.subscriptions.clear();
    this.counters.droppedSessionEnd += session.clear();
    if (this.byId.get(session.clientId) === session) this.byId.delete(session.clientId);
    if (session.will !== null) publishWill(session);
  }

  private arm(session: Session, nowMs: number): void {
    const due = Math.min(session.willDueMs, session.endDueMs);
    this.wheel.set(session, Math.max(0, due - nowMs));
  }
}

function refusalReason(why: "other-user" | "superseded" | "unavailable"): number {
  switch (why) {
    case "other-user":
      return ReasonCode.NotAuthorized;
    case "unavailable":
      return ReasonCode.ServerUnavailable;
    case "superseded":
      return 0;
  }
}

function entryOf(session: Session): DirectoryEntry {
  return {
    clientId: session.clientId,
    user: session.user,
    epoch: session.epoch,
    connected: session.channel !== null,
    persistent: session.persistent,
  };
}
