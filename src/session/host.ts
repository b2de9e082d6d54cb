/** What sessions use of the node: one object for all of them. */
import type { Authorizer } from "../auth/acl/acl.js";
import type { Config } from "../config/schema.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import type { Router } from "../routing/router.js";
import type { SessionCounters } from "./counters.js";
import type { ReplayTurns } from "./replay-turns.js";
import type { Session } from "./session.js";
import type { Turn } from "./turn.js";

/** What the session layer uses of the router. */
export type SessionRouter = Pick<
  Router,
  "topics" | "publish" | "subscribe" | "unsubscribe" | "redispatch" | "whenSynced" | "retainedFor"
>;

export interface SessionHost {
  readonly router: SessionRouter;
  readonly limits: Config["limits"];
  readonly authorizer: Authorizer;
  readonly counters: SessionCounters;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
  readonly replayTurns: ReplayTurns;
  /** A will or the end of a session without connection may be due. */
  onSessionDeadline(session: Session): void;
}
