/** What the sessions of a node are made of. */
import type { AdoptingParts } from "./adoption/parts.js";
import type { Directory } from "../cluster/directory-types.js";
import type { JournalParts, SessionHost, SessionRouter } from "./host.js";
import type { MovingParts } from "./move/parts.js";
import type { EndsParts } from "./remote/ends.js";
import type { WillNetwork } from "./will-parts.js";

export interface SessionsParts
  extends Omit<SessionHost, "counters" | "replayTurns" | "onSessionDeadline" | "superseded"> {
  readonly router: SessionRouter;
  readonly directory: Directory;
  /** Null: sessions are kept in memory alone (`store.kind: memory`). */
  readonly journals: JournalParts | null;
  /** Where wills are held too; null: there are no other nodes. */
  readonly willNetwork: WillNetwork | null;
  /** Null: they never move. */
  readonly moving?: MovingParts | null;
  /** Null: no node reaches another one's store. */
  readonly adopting?: AdoptingParts | null;
  /** Null: there are no other nodes. */
  readonly remote: RemoteParts | null;
  /** How long wills wait for clients that this node closes for its own sake: `drain.will_grace`. */
  readonly willGraceMs?: number;
}

export type RemoteParts = Pick<EndsParts, "port" | "clock" | "log" | "placement">;
