/** What all listeners have in common: what they are given, and what the front end sees of them. */
import type { Socket } from "node:net";
import type { Config } from "../../config/schema.js";
import type { Clock } from "../../lib/clock.js";
import type { Log } from "../../lib/log.js";
import type { TimerWheel } from "../../lib/timer-wheel.js";
import type { ListenerPolicy } from "../../session/listener-policy.js";
import type { ClientSocket } from "../client-socket.js";
import type { ListenerCounters } from "./counters.js";

/**
 * A client is through with everything that comes before MQTT. `address`: where it comes from, as a proxy
 * or the kind of listener says; null: as its socket says.
 */
export type OnClient = (
  socket: ClientSocket,
  policy: ListenerPolicy,
  address: string | null,
) => void;

export interface ListenerParts {
  readonly limits: Pick<Config["limits"], "connect_timeout" | "max_packet_before_connect">;
  readonly policy: ListenerPolicy;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly log: Log;
  readonly counters: ListenerCounters;
  readonly onClient: OnClient;
  /**
   * Is nobody let in who comes from this address? Counts it. Without an address it is not known, or the socket is
   * closed again. It is read only while some address is banned: that is a question to the system.
   */
  isBanned(from: Pick<Socket, "remoteAddress">): boolean;
  /** Has this node room for one more connection? */
  hasRoom(): boolean;
  /** A connection was turned away because there are too many. */
  onTurnedAway(): void;
}

export interface Listener {
  /** Address or path, and the port (0: none), once it listens. */
  readonly place: Place;
  /** Connections that are not through to MQTT yet. */
  readonly pending: number;
  /** Starts to listen. @throws Refusal when it cannot */
  listen(): Promise<void>;
  /** Accepts no more; resolves when all that were accepted are closed too. */
  close(): Promise<void>;
  /**
   * Reads certificates again, for new connections. Returns what is wrong with them, in which case the old
   * ones stay; null: nothing, or it has none.
   */
  reload(): string | null;
}

export interface Place {
  readonly address: string;
  readonly port: number;
}
