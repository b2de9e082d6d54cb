/** What every part of the cluster is handed: time, chance, network, and who this node is. */
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { Commits } from "../store/commits.js";
import type { Identity } from "./handshake.js";
import type { Transport } from "./transport.js";

export interface ClusterSettings {
  /** Address to listen on for links, and the ports to try. */
  readonly bind: string;
  readonly portRange: readonly [first: number, last: number];
  /** Host and port told to peers instead of the name's host and the port listened on. */
  readonly advertiseHost: string | null;
  readonly advertisePort: number | null;
  readonly heartbeatIntervalMs: number;
  readonly suspectAfterMs: number;
  readonly confirmTimeoutMs: number;
  readonly redialMaxMs: number;
  readonly outputBytes: number;
  readonly ackTimeoutMs: number;
  readonly syncTimeoutMs: number;
  readonly takeoverTimeoutMs: number;
  readonly outboxMessages: number;
  readonly outboxBytes: number;
  /** How long what was deleted from a table that all share is remembered. */
  readonly forgetAfterMs: number;
  /** What has waited for a peer that is down for so long is dropped. */
  readonly outboxAgeMs: number;
  /** Longest frame taken from a proved peer. */
  readonly frameMax: number;
}

export interface ClusterContext {
  readonly name: string;
  readonly cookie: string;
  readonly settings: ClusterSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly transport: Transport;
  /** Null: nothing outlives this process but the list of members. */
  readonly commits: Pick<Commits, "touch"> | null;
  /** Who this node says it is. `token`: of the link that a data connection belongs to. */
  identity(token?: Buffer): Identity;
}

/** A token that belongs to no link. */
export const noToken: Buffer = Buffer.alloc(16);
