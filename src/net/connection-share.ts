/** What connections use of the front end: one object for all of a listener. */
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import type { Router } from "../routing/router.js";
import type { ClientEvents } from "../session/client-events.js";
import type { ConnectParts } from "../session/handlers/connect.js";
import type { Turn } from "../session/turn.js";
import type { Connection } from "./connection.js";
import type { NetCounters } from "./counters.js";
import type { FairReads } from "./fair-reads.js";
import type { FrameEncoder } from "./frames.js";
import type { Mount } from "./mount.js";
import type { OutputShare } from "./output.js";

/** What all connections of a front end share. */
export interface ConnectionShare extends ConnectParts {
  readonly config: Config;
  readonly router: Pick<Router, "publish" | "topics">;
  /** Of the listener, if it has a mount point. */
  readonly mount: Pick<Mount, "connect" | "control" | "inbound"> | null;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly turn: Turn;
  readonly log: Log;
  readonly counters: NetCounters;
  readonly output: OutputShare;
  readonly frames: FrameEncoder;
  readonly fairReads: FairReads;
  /** A publish was refused to a client that cannot be told. */
  onWithheld(): void;
  readonly events: ClientEvents | null;
  /** The connection's socket is closed. */
  onGone(connection: Connection): void;
}
