/** What moves of sessions use of the rest of the node. */
import type { Cluster } from "../../cluster/cluster.js";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import type { SessionHost } from "../host.js";
import type { Journals } from "../journal/journals.js";
import type { Session } from "../session.js";

export type MoveCluster = Pick<
  Cluster,
  | "name"
  | "ask"
  | "positions"
  | "barriers"
  | "services"
  | "state"
  | "members"
  | "nextStamp"
  | "common"
  | "observeStamp"
  | "peer"
  | "table"
  | "openStreams"
>;

/** The sessions of this node, as far as moves change them. */
export interface MoveSessions extends SessionHost {
  readonly journals: Journals | null;
  /** Null: what a node has that is down waits until it is back. */
  readonly adoptions: object | null;
  get(clientId: string): Session | undefined;
  /** The end of an earlier session of that client id is not stored yet. */
  isEnding(clientId: string): boolean;
  /** A session has come: it is one of ours from now on, without a connection; or its connection will come. */
  takeIn(session: Session): void;
  /**
   * A session is elsewhere: it goes without its will, and without giving anything away. `done` when that is durable.
   */
  letGo(session: Session, done: () => void): void;
  /** The connection of a session is gone: it goes on without, or ends. */
  lose(session: Session, willDue: boolean): void;
  /** The session stays: what was due to happen to it meanwhile happens now. */
  rearm(session: Session): void;
}

export interface MoveParts {
  readonly sessions: MoveSessions;
  readonly cluster: MoveCluster;
  readonly clock: Clock;
  readonly log: Log;
}

/** What sessions need in order to move between nodes. */
export type MovingParts = Omit<MoveParts, "sessions">;

/** A deadline of a session that is being moved is looked at again after so long. */
export const moveAgainMs = 1000;

export class MoveCounters {
  /** Sessions that came to this node, and that left it. */
  movedIn = 0;
  movedOut = 0;
  /** Moves to this node, and from it, that came to nothing. */
  failedIn = 0;
  failedOut = 0;
  /** Moves from this node whose outcome had to be asked for. */
  inDoubt = 0;
  messagesIn = 0;
  messagesOut = 0;
  /** Messages that came while their session was on its way to this node. */
  held = 0;
  /** Messages that members which had been down had for the old owners of sessions. */
  leftovers = 0;
  /** Connections that waited for the outcome of a move. */
  waited = 0;
}
