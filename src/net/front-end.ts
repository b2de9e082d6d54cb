/**
 * Everything between MQTT clients and routing: listeners, connections and sessions. `limits.connections`
 * holds over all listeners.
 */
import type { Socket } from "node:net";
import { Authenticator } from "../auth/authenticator.js";
import type { Users } from "../auth/users.js";
import type { Directory } from "../cluster/directory-types.js";
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { SessionRouter } from "../session/host.js";
import { type FetchSession, Sessions } from "../session/sessions.js";
import { Turn } from "../session/turn.js";
import { Connection, type ConnectionShare } from "./connection.js";
import { NetCounters } from "./counters.js";
import { FrameEncoder } from "./frames.js";
import { type Address, TcpListener } from "./listeners/tcp.js";
import { OutputShare } from "./output.js";

export interface FrontEndParts {
  readonly config: Config;
  readonly router: SessionRouter;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly random: Random;
  readonly log: Log;
  readonly users: Users;
  /** Most client connections at once: `limits.connections`, or what the system allows. */
  readonly connectionsMax: number;
  readonly fetchSession: FetchSession;
}

export class FrontEnd {
  readonly counters = new NetCounters();
  readonly sessions: Sessions;
  readonly authenticator: Authenticator;
  private readonly connections = new Set<Connection>();
  private readonly share: ConnectionShare;
  private readonly tcp: TcpListener;
  private bound: Address | null = null;

  constructor(private readonly parts: FrontEndParts) {
    const { config, router, directory, clock, wheel, log, random, fetchSession } = parts;
    const turn = new Turn(clock);
    const { limits } = config;
    const sessions = new Sessions({ router, limits, wheel, turn, directory, fetchSession });
    this.sessions = sessions;
    const authenticator = new Authenticator({ settings: config.auth, users: parts.users, random });
    this.authenticator = authenticator;
    const frames = new FrameEncoder();
    const output = new OutputShare(clock, this.counters, limits.connection_output_bytes, () =>
      frames.forget(),
    );
    this.share = {
      ...{ config, router, clock, wheel, turn, log, random, sessions, output, frames },
      ...{ authenticator, counters: this.counters },
      onGone: (connection) => this.connections.delete(connection),
    };
    this.tcp = new TcpListener((socket) => this.onSocket(socket));
  }

  /** Connections open now. */
  get connected(): number {
    return this.connections.size;
  }

  /** The listeners and what is connected. */
  listeners(): { kind: "mqtt"; address: string; port: number; connections: number }[] {
    if (this.bound === null) return [];
    const { address, port } = this.bound;
    return [{ kind: "mqtt", address, port, connections: this.connections.size }];
  }

  /** Opens the listeners. Rejects when an address cannot be had. */
  async start(): Promise<Address> {
    const { bind, port } = this.parts.config.listeners.tcp;
    this.bound = await this.tcp.listen(bind, port);
    return this.bound;
  }

  /** Accepts no more clients and closes those there are (v5: DISCONNECT 0x8B). */
  async stop(): Promise<void> {
    const closed = this.bound === null ? Promise.resolve() : this.tcp.close();
    this.bound = null;
    for (const connection of this.connections) connection.close(ReasonCode.ServerShuttingDown);
    await closed;
  }

  private onSocket(socket: Socket): void {
    if (this.connections.size >= this.parts.connectionsMax) {
      this.counters.connectionsRefused++;
      socket.destroy();
      return;
    }
    this.counters.connectionsOpened++;
    const { anonymous } = this.parts.config.listeners.tcp;
    const policy = { name: "tcp", anonymous, certificateUser: null, mountPoint: "" };
    this.connections.add(new Connection(socket, this.share, policy));
  }
}
