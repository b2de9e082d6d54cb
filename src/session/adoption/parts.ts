/** What adopting the sessions of dead nodes uses of the rest of the node. */
import type { Cluster } from "../../cluster/cluster.js";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import type { Router } from "../../routing/router.js";
import type { SharedStore } from "../../store/shared.js";
import type { Journals } from "../journal/journals.js";
import type { MoveSessions } from "../move/parts.js";
import type { Moves } from "../move/moves.js";

export type AdoptionCluster = Pick<
  Cluster,
  | "name"
  | "ask"
  | "services"
  | "state"
  | "members"
  | "nextStamp"
  | "observeStamp"
  | "peer"
  | "table"
  | "sides"
  | "changes"
  | "directory"
  | "barriers"
>;

export interface AdoptionParts {
  readonly sessions: MoveSessions;
  readonly journals: Journals;
  readonly moves: Moves;
  readonly cluster: AdoptionCluster;
  readonly router: Pick<Router, "targetsOf" | "countDownForward" | "publish" | "redispatch">;
  readonly shared: SharedStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** What sessions need in order to be adopted by other nodes. */
export type AdoptingParts = Pick<AdoptionParts, "cluster" | "router" | "shared" | "clock" | "log">;

export class AdoptionCounters {
  /** Sessions that this node took over from dead ones, with so many messages. */
  sessions = 0;
  messages = 0;
  /** Messages for them that had waited for the dead node with their origins. */
  readdressed = 0;
  /** QoS 2 messages of their clients that were published again. */
  republished = 0;
  /** Messages that dead nodes had stored for this one. */
  leftBehind = 0;
  /** Share group messages that had waited for dead nodes, given to other members. */
  redispatched = 0;
  /** Dead nodes of which nothing is left to adopt. */
  nodes = 0;
  /** Sessions that another node took, or that could not be taken after all. */
  givenUp = 0;
  /** Connections that waited for their session to be adopted, and those that waited in vain. */
  waited = 0;
  waitedInVain = 0;
}

/** A pause before what cannot be done now is tried again. */
export const againMs = 200;
export const pollMs = 5;
/** Above every key of a partition. */
export const lastKey = "\u{10ffff}";
