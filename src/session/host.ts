/** What sessions use of the node: one object for all of them. */
import type { Authorizer } from "../auth/acl/acl.js";
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import type { Router } from "../routing/router.js";
import type { Journaled } from "../store/journaled.js";
import type { Store, StoreFailure } from "../store/store.js";
import type { SessionCounters } from "./counters.js";
import type { ReplayTurns } from "./replay-turns.js";
import type { Session } from "./session.js";
import type { Turn } from "./turn.js";

/** What the session layer uses of the router. */
export type SessionRouter = Pick<
  Router,
  | "topics"
  | "publish"
  | "subscribe"
  | "unsubscribe"
  | "redispatch"
  | "whenSynced"
  | "retainedFor"
  | "targetsOf"
  | "countDownForward"
>;

/** What sessions use of group commits (store/commits.ts). */
export interface CommitGroups {
  /** Why nothing is committed at the moment; null: all is well. */
  readonly stalled: StoreFailure | null;
  touch(journaled: Journaled): void;
  /** Calls back when everything touched so far is durable. */
  whenCommitted(callback: () => void): void;
}

/** What makes persistent sessions durable. */
export interface JournalParts {
  readonly store: Store;
  readonly commits: CommitGroups;
  readonly clock: Clock;
  readonly log: Log;
  /** Of this node; higher at every start. Asked when the first identity is given. */
  readonly incarnation: () => number;
}

/** A session that takes the place of an older one has to know from when on it gets what. */
export interface SubscriptionWatch {
  /** Subscriptions of the session were made in this turn. */
  subscribing(session: Session): void;
  /** Those of a SUBSCRIBE are in force; it is answered when `ready` is called. */
  subscribed(session: Session, ready: () => void): void;
}

export interface SessionHost {
  readonly router: SessionRouter;
  readonly limits: Config["limits"];
  readonly authorizer: Authorizer;
  readonly counters: SessionCounters;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
  readonly replayTurns: ReplayTurns;
  /** Is told of subscriptions; null: there are no other nodes to hear of them. */
  readonly superseded: SubscriptionWatch | null;
  /** A will or the end of a session without connection may be due. */
  onSessionDeadline(session: Session): void;
}
