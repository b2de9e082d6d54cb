/**
 * Everything between MQTT clients and routing: listeners, connections and sessions. `limits.connections`
 * holds over all listeners.
 */
import { Authenticator } from "../auth/authenticator.js";
import type { Bans } from "../auth/bans/bans.js";
import type { Authorizer } from "../auth/acl/acl.js";
import type { Users } from "../auth/users.js";
import type { Directory } from "../cluster/directory-types.js";
import type { Config } from "../config/schema.js";
import type { Clock } from "../lib/clock.js";
import type { Log } from "../lib/log.js";
import type { Random } from "../lib/random.js";
import type { TimerWheel } from "../lib/timer-wheel.js";
import { ReasonCode } from "../protocol/reason-codes.js";
import type { AdoptingParts } from "../session/adoption/parts.js";
import type { ClientEvents } from "../session/client-events.js";
import type { JournalParts, SessionRouter } from "../session/host.js";
import type { RemotePort } from "../session/remote/ends.js";
import type { MovingParts } from "../session/move/parts.js";
import { Sessions } from "../session/sessions.js";
import type { WillNetwork } from "../session/will-parts.js";
import type { ListenerPolicy } from "../session/listener-policy.js";
import { Turn } from "../session/turn.js";
import { closeBanned } from "./banned.js";
import { Connection } from "./connection.js";
import type { ConnectionShare } from "./connection-share.js";
import type { ClientSocket } from "./client-socket.js";
import { NetCounters } from "./counters.js";
import { type Door, type DoorInfo, Doors } from "./doors.js";
import { FairReads } from "./fair-reads.js";
import { FrameEncoder } from "./frames.js";
import type { Place } from "./listeners/listener.js";
import { Mount, MountedConnection } from "./mount.js";
import { OutputShare } from "./output.js";
import { type StallSubject, StallWatch } from "./stall-watch.js";

export interface FrontEndParts {
  readonly config: Config;
  readonly router: SessionRouter;
  readonly directory: Directory;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly random: Random;
  readonly log: Log;
  readonly users: Users;
  readonly authorizer: Authorizer;
  readonly bans: Bans;
  /** Who tells of clients that come and go; left out: nobody. */
  readonly events?: ClientEvents;
  /** Most client connections at once: `limits.connections`, or what the system allows. */
  readonly connectionsMax: number;
  /** Null: sessions are kept in memory alone (`store.kind: memory`). */
  readonly journals: JournalParts | null;
  /** Where wills are held too; null: there are no other nodes. */
  readonly willNetwork: WillNetwork | null;
  /** Null: sessions never move to other nodes. */
  readonly moving?: MovingParts | null;
  /** Null: no node reaches another one's store. */
  readonly adopting?: AdoptingParts | null;
  /** Null: there are no other nodes. */
  readonly cluster: RemotePort | null;
}

/** What the connections of one listener share. */
interface DoorShare extends ConnectionShare {
  readonly mount: Mount | null;
}

export class FrontEnd {
  readonly counters = new NetCounters();
  readonly sessions: Sessions;
  readonly authenticator: Authenticator;
  /** Closed while this node is drained or leaves. */
  readonly gate = { reason: 0 };
  readonly stallWatch: StallWatch;
  private readonly connections = new Set<Connection>();
  private readonly share: Omit<ConnectionShare, "onGone" | "mount">;
  readonly doors: Doors;
  /** One for each listener: it is told of the connections that are gone. */
  private readonly shares = new Map<Door, DoorShare>();

  constructor(parts: FrontEndParts) {
    const { config, router, directory, clock, wheel, log, random, journals, bans } = parts;
    const { willNetwork } = parts;
    const turn = new Turn(clock);
    const { limits } = config;
    const sessions = new Sessions({
      ...{ router, limits, wheel, turn, directory, journals, willNetwork },
      ...{ authorizer: parts.authorizer, moving: parts.moving ?? null },
      willGraceMs: config.drain.will_grace,
      adopting: parts.adopting ?? null,
      remote:
        parts.cluster === null
          ? null
          : { port: parts.cluster, clock, log, placement: config.session },
    });
    this.sessions = sessions;
    const authenticator = new Authenticator({
      ...{ settings: config.auth, users: parts.users, random, clock, log },
    });
    this.authenticator = authenticator;
    const frames = new FrameEncoder();
    const output = new OutputShare(clock, this.counters, limits.connection_output_bytes, () =>
      frames.forget(),
    );
    this.share = {
      ...{ config, router, clock, wheel, turn, log, random, sessions, output, frames },
      gate: this.gate,
      ...{ authenticator, bans, counters: this.counters, fairReads: new FairReads() },
      onWithheld: () => this.stallWatch.noteWithheld(),
      events: parts.events ?? null,
    };
    const { stall_timeout: stallMs } = config.store;
    this.stallWatch = new StallWatch(clock, stallMs, () => this.waiters());
    if (sessions.remote !== null) {
      sessions.remote.withheld = () => this.stallWatch.noteWithheld();
    }
    bans.onAdded = () => closeBanned(this.connections, bans);
    this.doors = new Doors({
      isBanned: (from) => bans.anyAddresses && bans.refusesAddress(from.remoteAddress),
      ...{ config, clock, wheel, log },
      hasRoom: () => this.connections.size + this.doors.pending < parts.connectionsMax,
      onTurnedAway: () => {
        this.counters.connectionsRefused++;
      },
      onEntry: (door, socket, policy, address) => this.onEntry(door, socket, policy, address),
    });
  }

  /** Everybody who may wait for an answer of a session here. */
  private *waiters(): Iterable<StallSubject> {
    yield* this.connections;
    yield* this.sessions.remote?.allFar() ?? [];
  }

  /** Connections open now. */
  get connected(): number {
    return this.connections.size;
  }

  /** The clients that are connected now. */
  *clients(): Iterable<{ readonly clientId: string; readonly user: string }> {
    for (const { clientId, user, isOpen } of this.connections) {
      if (clientId !== undefined && isOpen) yield { clientId, user: user ?? "" };
    }
  }

  /** Nothing leaves to clients whose sessions are stored, for now or again: others may have those sessions. */
  silenceStored(isSilent: boolean): void {
    for (const { journal, channel } of this.sessions.all()) {
      if (journal !== null) channel?.silence(isSilent);
    }
  }

  /** Nothing more leaves to any client: what is said on closing is not heard either. */
  silenceAll(): void {
    for (const connection of this.connections) connection.silence(true);
  }

  /** Called at the end of a turn, before anything leaves to clients. */
  set beforeFlush(look: () => void) {
    this.share.output.beforeFlush = look;
  }

  /** The listeners and how many are connected through each. */
  listeners(): DoorInfo[] {
    return this.doors.list();
  }

  /** Opens the listeners; returns the place of the first. Rejects when one cannot be had. */
  async start(): Promise<Place> {
    await this.authenticator.open();
    await this.doors.open();
    return this.listeners()[0] ?? { address: "", port: 0 };
  }

  /** Accepts no more clients and closes those there are (v5: DISCONNECT 0x8B). */
  async stop(): Promise<void> {
    this.stallWatch.stop();
    const closed = this.doors.close();
    this.sessions.stopping();
    for (const connection of this.connections) connection.close(ReasonCode.ServerShuttingDown);
    this.sessions.remote?.close();
    await closed;
    this.authenticator.close();
  }

  private onEntry(
    door: Door,
    socket: ClientSocket,
    policy: ListenerPolicy,
    address: string | null,
  ): void {
    this.counters.connectionsOpened++;
    door.connections++;
    const share = this.shareOf(door, policy);
    const { mount } = share;
    this.connections.add(
      mount === null
        ? new Connection(socket, share, policy, address)
        : new MountedConnection(mount, socket, share, policy, address),
    );
  }

  private shareOf(door: Door, { mountPoint }: ListenerPolicy): DoorShare {
    let share = this.shares.get(door);
    if (share === undefined) {
      const onGone = (connection: Connection): void => {
        if (this.connections.delete(connection)) door.connections--;
      };
      const { topics } = this.share.router;
      const mount = mountPoint === "" ? null : new Mount(mountPoint, topics, this.counters);
      share = { ...this.share, onGone, mount };
      this.shares.set(door, share);
    }
    return share;
  }
}
